//! The files of the workspace that people write, read once.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Folders that are built, fetched or generated, wherever they stand.
const SKIPPED: [&str; 8] =
    ["target", ".git", "meridian-dev", "__pycache__", ".pytest_cache", "corpus", "artifacts", "node_modules"];
/// Endings of files that are text.
const TEXT: [&str; 12] =
    ["rs", "toml", "md", "py", "sh", "json", "yml", "yaml", "proto", "txt", "cfg", "ini"];
/// Text files without an ending.
const NAMED: [&str; 4] = ["justfile", ".ci/run", ".gitignore", ".cargo/config.toml"];
/// A larger file is data, not text.
const MAX_BYTES: u64 = 1 << 20;

/// Text files by their path relative to the root, with forward slashes.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads the workspace at `root`.
    ///
    /// # Errors
    /// When a folder or file cannot be read.
    pub fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.walk(root, root)?;
        Ok(tree)
    }

    /// A tree of given files, for tests of the checks.
    #[must_use]
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect() }
    }

    fn walk(&mut self, root: &Path, folder: &Path) -> Result<()> {
        for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if kind.is_dir() {
                if !SKIPPED.contains(&name.as_str()) {
                    self.walk(root, &path)?;
                }
                continue;
            }
            let relative = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
            let text = NAMED.contains(&relative.as_str())
                || path.extension().is_some_and(|end| TEXT.iter().any(|known| end == *known));
            if kind.is_file() && text && entry.metadata()?.len() <= MAX_BYTES {
                let content =
                    fs::read_to_string(&path).with_context(|| format!("reading {relative} as text"))?;
                self.files.insert(relative, content);
            }
        }
        Ok(())
    }

    /// All files: path and content.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The files whose name ends in `.ending`.
    pub fn ending(&self, ending: &str) -> impl Iterator<Item = (&str, &str)> {
        let dotted = format!(".{ending}");
        self.files().filter(move |(path, _)| path.ends_with(&dotted))
    }

    /// One file's content.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }
}

/// `path:line` of a byte offset.
pub(crate) fn line_of(path: &str, text: &str, offset: usize) -> String {
    let line = text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1;
    format!("{path}:{line}")
}
