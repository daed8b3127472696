//! A page as the tests read it: sections by heading, rows of their tables, blocks of code.

/// A heading and what stands under it, down to the next heading of any level.
pub(crate) struct Section<'a> {
    pub(crate) title: &'a str,
    lines: Vec<&'a str>,
}

/// The sections of a page; what stands in code blocks is left out.
pub(crate) fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections = vec![Section { title: "", lines: Vec::new() }];
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if in_code {
            // A command there may begin with `#`.
        } else if line.starts_with('#') {
            sections.push(Section { title: line.trim_start_matches('#').trim(), lines: Vec::new() });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push(line);
        }
    }
    sections
}

impl<'a> Section<'a> {
    /// The rows of the section's tables that begin with code: its text, and the rest of the row.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.lines.iter().filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
    }

    /// The row whose code begins with the word `name`.
    pub(crate) fn row(&self, name: &str) -> Option<&'a str> {
        self.rows().find(|(code, _)| first_word(code) == name).map(|(_, rest)| rest)
    }
}

/// `--dir DIR` is the option `--dir`.
pub(crate) fn first_word(code: &str) -> &str {
    code.split(' ').next().unwrap_or_default()
}

/// The code blocks of a language.
pub(crate) fn code_blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    let opening = format!("```{language}");
    while lines.by_ref().any(|line| line == opening) {
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(block.join("\n"));
    }
    blocks
}

#[test]
fn sections_end_at_headings_and_code_is_no_heading() {
    let text =
        "# A\n| `--x N` | `1` | it |\n```sh\n# no heading\n| `--no` | |\n```\n## B\n| plain | |\n| `y` | |\n";
    let found = sections(text);
    assert_eq!(found.iter().map(|section| section.title).collect::<Vec<_>>(), ["", "A", "B"]);
    assert_eq!(found[1].row("--x"), Some(" | `1` | it |"));
    assert_eq!(found[1].rows().count(), 1);
    assert_eq!(found[2].rows().collect::<Vec<_>>(), [("y", " | |")]);
}

#[test]
fn blocks_of_one_language_are_found() {
    let text = "```toml\na = 1\nb = 2\n```\n```sh\nls\n```\n```toml\n```\n";
    assert_eq!(code_blocks(text, "toml"), ["a = 1\nb = 2", ""]);
}
