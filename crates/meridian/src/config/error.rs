//! Why a configuration was refused. Every message says where and what to change.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A configuration that cannot be used. Commands end with exit code 2 on it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}; {}", file.display(), advice(source))]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not TOML, or not of the expected shape.
    #[error("{place}: {message}")]
    Parse {
        /// `FILE:LINE:COLUMN`, or the file and the overrides when no line can be named.
        place: String,
        /// What is wrong there.
        message: String,
    },
    /// An environment override that names no field.
    #[error("environment variable {variable}: {message}")]
    Environment {
        /// The variable.
        variable: String,
        /// What is wrong with it.
        message: String,
    },
    /// Well formed, but not meaningful: all that is wrong, one line each.
    #[error("{}", list(file, problems))]
    Invalid {
        /// The file.
        file: PathBuf,
        /// One message each.
        problems: Vec<String>,
    },
}

impl ConfigError {
    pub(crate) fn read(file: &Path, source: std::io::Error) -> Self {
        Self::Read { file: file.to_owned(), source }
    }

    /// A TOML error with its place in `text` as line and column.
    pub(crate) fn parse(file: &Path, text: &str, error: &toml::de::Error) -> Self {
        let message = error.message().trim_end().replace('\n', "; ");
        let shown = file.display();
        let place = match error.span() {
            Some(span) => {
                let before = text.get(..span.start).unwrap_or(text);
                let line = before.matches('\n').count() + 1;
                let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
                format!("{shown}:{line}:{column}")
            }
            None => shown.to_string(),
        };
        Self::Parse { place, message }
    }
}

/// What to do about a file that cannot be read.
fn advice(source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind as Kind;
    match source.kind() {
        Kind::NotFound => "correct the path, or make the file",
        Kind::PermissionDenied => "let this user read it",
        Kind::IsADirectory => "name a file in it",
        Kind::InvalidData => "is it the right file?",
        _ => "see to the disk it is on",
    }
}

fn list(file: &Path, problems: &[String]) -> String {
    let mut out = file.display().to_string();
    match problems {
        [one] => _ = write!(out, ": {one}"),
        many => {
            out.push(':');
            for problem in many {
                _ = write!(out, "\n  - {problem}");
            }
        }
    }
    out
}
