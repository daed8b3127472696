//! Habits of the workspace as code. [`tidy`] runs every check; each module is one habit.
//!
//! Everything here reads; only [`ratchet::lower`] writes, and only its own file. What the compiler, rustfmt or clippy already check is
//! not here.

use anyhow::Result;
use std::fmt;
use std::path::{Path, PathBuf};

pub mod arrows;
pub mod commands;
pub mod decisions;
pub mod licences;
pub mod links;
pub mod metadata;
pub mod ratchet;
pub mod sources;
pub mod text;
pub mod tree;

use metadata::Metadata;
use tree::Tree;

/// One thing that is not as it should be, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Where, relative to the root of the workspace.
    pub at: String,
    /// What is wrong and how to mend it.
    pub what: String,
}

impl Finding {
    /// A finding at a file, crate or `file:line`.
    pub fn new(at: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self { at: at.to_string(), what: what.to_string() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// The root of the workspace that this program was built from.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Runs every check on the workspace at `root`; no finding means tidy.
///
/// # Errors
/// When the workspace cannot be read at all, which says nothing about its tidiness.
pub fn tidy(root: &Path) -> Result<Vec<Finding>> {
    let tree = Tree::read(root)?;
    let metadata = Metadata::read(root)?;
    let ratchet = ratchet::Ratchet::read(root)?;
    let mut findings = arrows::check(&metadata, &tree);
    findings.extend(sources::check(&tree));
    findings.extend(ratchet::check(&tree, &ratchet));
    findings.extend(text::check(&tree));
    findings.extend(links::check(&tree));
    findings.extend(decisions::check(&tree));
    findings.extend(licences::check(&metadata, root)?);
    findings.sort();
    Ok(findings)
}
