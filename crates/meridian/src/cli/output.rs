//! Writing results: JSON, or tables that are aligned and coloured on a terminal and tab-separated elsewhere.

use super::failure::Failure;
use clap::ValueEnum;
use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// The `--output` flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// For programs; stable
    Json,
}

fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether standard error may be coloured.
pub(super) fn stderr_colour() -> bool {
    std::io::stderr().is_terminal() && wants_colour()
}

/// Writes to standard output. A reader that has gone, such as `head`, is no error.
pub(super) fn emit(text: &str) {
    let mut out = std::io::stdout().lock();
    _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes an error to standard error.
pub(super) fn complain(message: &str) {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let label = if stderr_colour() { format!("{style}error:{style:#}") } else { "error:".to_owned() };
    _ = writeln!(std::io::stderr().lock(), "{label} {message}");
}

/// Writes a line about progress to standard error.
pub(super) fn note(line: &str) {
    _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes a value as JSON on standard output.
pub(super) fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::failed(format!("the result cannot be written as JSON: {error}")))?;
    emit(&(text + "\n"));
    Ok(())
}

/// What a cell's colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Doubtful,
    Bad,
}

impl Tone {
    fn style(self) -> Style {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        match self {
            Self::Plain => Style::new(),
            Self::Good => colour(AnsiColor::Green),
            Self::Doubtful => colour(AnsiColor::Yellow),
            Self::Bad => colour(AnsiColor::Red),
        }
    }
}

/// A table being filled.
pub(super) struct Grid {
    header: Vec<String>,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Grid {
    pub(super) fn new(header: &[&str]) -> Self {
        Self { header: header.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row of plain cells.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.toned(cells.into_iter().map(|cell| (cell, Tone::Plain)).collect());
    }

    /// Adds a row with a tone for each cell.
    pub(super) fn toned(&mut self, cells: Vec<(String, Tone)>) {
        self.rows.push(cells);
    }

    /// Writes the table to standard output.
    pub(super) fn emit(&self) {
        let terminal = std::io::stdout().is_terminal();
        emit(&self.render(terminal, terminal && wants_colour()));
    }

    fn render(&self, aligned: bool, coloured: bool) -> String {
        let mut out = String::new();
        let header: Vec<_> = self.header.iter().map(|name| (name.clone(), Tone::Plain)).collect();
        let lines: Vec<_> = std::iter::once(&header).chain(&self.rows).collect();
        let width = |k: usize| {
            lines.iter().filter_map(|line| line.get(k)).map(|(cell, _)| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..self.header.len()).map(|k| width(k).unwrap_or(0)).collect();
        for (number, line) in lines.iter().enumerate() {
            for (k, (cell, tone)) in line.iter().enumerate() {
                let last = k + 1 == line.len();
                let style = if number == 0 { Style::new().bold() } else { tone.style() };
                let shown = if coloured { format!("{style}{cell}{style:#}") } else { cell.clone() };
                out.push_str(&shown);
                if !last && aligned {
                    let used = cell.chars().count();
                    let width = widths.get(k).copied().unwrap_or(used);
                    out.extend(std::iter::repeat_n(' ', width.saturating_sub(used) + 2));
                } else if !last {
                    out.push('\t');
                }
            }
            out.push('\n');
        }
        out
    }
}

/// Names joined by commas; a dash for none.
pub(super) fn joined<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "-".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// A value or a dash.
pub(super) fn or_dash<T: ToString>(value: Option<&T>) -> String {
    value.map_or_else(|| "-".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid = Grid::new(&["NAME", "HEALTH"]);
        grid.row(vec!["us-east-1".to_owned(), "-".to_owned()]);
        grid.toned(vec![("eu".to_owned(), Tone::Plain), ("lost".to_owned(), Tone::Bad)]);
        grid
    }

    #[test]
    fn programs_get_tabs_and_people_get_columns() {
        assert_eq!(grid().render(false, false), "NAME\tHEALTH\nus-east-1\t-\neu\tlost\n");
        assert_eq!(grid().render(true, false), "NAME       HEALTH\nus-east-1  -\neu         lost\n");
        assert!(grid().render(true, true).contains("\u{1b}[31mlost\u{1b}[0m\n"));
    }

    #[test]
    fn nothing_is_a_dash() {
        assert_eq!((joined::<u8>(&[]), joined(&[1, 2])), ("-".to_owned(), "1,2".to_owned()));
        assert_eq!(or_dash::<u8>(None), "-");
    }
}
