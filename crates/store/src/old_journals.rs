//! Gives the blocks of removed journals back a little at a time.
//!
//! To remove 64 MiB at once keeps a file system, and the core that does it, busy for some 60 ms, in which other nodes' and this node's syncs wait. So each
//! journal is kept open from when it is written to; once the engine has removed its name, it is cut shorter step by step.

use crate::locks::lock;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What is given back in one step.
const STEP: u64 = 1024 * 1024;
/// Removed journals that are cut at once; with more the oldest goes whole, so that the room which they take is bounded.
const MAX_REMOVED: usize = 2;

/// Journals that are not written to any more.
#[derive(Default)]
pub(crate) struct OldJournals(Mutex<Vec<(PathBuf, File)>>);

impl OldJournals {
    /// Takes a journal of this name, which may be removed from now on and is never written to again.
    pub(crate) fn add(&self, path: PathBuf, file: File) {
        lock(&self.0).push((path, file));
    }

    /// Cuts one step off each that was removed; whether any of those is left.
    pub(crate) fn shrink(&self) -> bool {
        let mut journals = lock(&self.0);
        let mut removed = Vec::new();
        for (number, (path, file)) in journals.iter().enumerate() {
            match removed_length(path, file) {
                Ok(None) => {}
                Ok(Some(length)) => removed.push((number, length)),
                // Closed, it is the file system's to give back, at once.
                Err(_) => removed.push((number, 0)),
            }
        }
        let whole = removed.len().saturating_sub(MAX_REMOVED);
        let mut left = false;
        for (at, (number, length)) in removed.into_iter().enumerate().rev() {
            let shorter = length.saturating_sub(STEP);
            let cut = at >= whole && shorter > 0;
            if cut && journals.get(number).is_some_and(|(_, file)| file.set_len(shorter).is_ok()) {
                left = true;
            } else {
                journals.remove(number);
            }
        }
        left
    }
}

/// The length of a journal whose name is gone; `None` while it is there.
fn removed_length(path: &Path, file: &File) -> io::Result<Option<u64>> {
    let meta = file.metadata()?;
    // Both, since not every file system counts names, and a journal that is needed must not be cut.
    let gone = meta.nlink() == 0
        && std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    Ok(gone.then_some(meta.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_cut_once_its_name_is_gone_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let journals = OldJournals::default();
        let [needed, gone] = ["1.jnl", "2.jnl"].map(|name| dir.path().join(name));
        for path in [&needed, &gone] {
            std::fs::write(path, vec![7; 5 << 20]).unwrap();
            journals.add(path.clone(), File::options().write(true).open(path).unwrap());
        }
        assert!(!journals.shrink());
        let watched = File::open(&gone).unwrap();
        std::fs::remove_file(&gone).unwrap();
        for left in [4, 3, 2, 1] {
            assert!(journals.shrink());
            assert_eq!(watched.metadata().unwrap().len(), left << 20);
        }
        assert!(!journals.shrink(), "the last step closes it");
        assert_eq!(std::fs::read(&needed).unwrap(), vec![7; 5 << 20]);
        assert_eq!(lock(&journals.0).len(), 1);
    }

    #[test]
    fn the_room_that_removed_journals_take_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let journals = OldJournals::default();
        for number in 0..5 {
            let path = dir.path().join(number.to_string());
            std::fs::write(&path, vec![7; 3 << 20]).unwrap();
            journals.add(path.clone(), File::options().write(true).open(&path).unwrap());
            std::fs::remove_file(&path).unwrap();
        }
        assert!(journals.shrink());
        let left: Vec<_> =
            lock(&journals.0).iter().map(|(path, _)| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(left, ["3", "4"]);
    }
}
