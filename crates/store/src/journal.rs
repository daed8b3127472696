//! Makes the engine's journal durable, and remembers outside of it how far that got.
//!
//! The engine can fsync its journal itself, but holds its write lock meanwhile: nobody could append or apply during an
//! fsync. So the store asks the engine only to hand its buffer to the operating system, and syncs the newest journal file
//! through a descriptor of its own. That covers everything written before, because the engine syncs a journal before it
//! starts the next one.
//!
//! The blocks of a journal file are taken when the file is first seen, so that what is already promised can be written even
//! while another program eats the disk.
//!
//! After each fsync the number of fsyncs so far is written to the `synced` file, unsynced: what survives of it is never too
//! high. The same number is in the journal, behind everything that the fsync covered. A journal that comes back with a
//! smaller number has lost data that was acknowledged; the engine would cut it there without a word.

use crate::StoreError;
use crate::old_journals::OldJournals;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MARK_FILE: &str = "synced";
const JOURNAL_SUFFIX: &str = ".jnl";
/// The length to which the engine extends a new journal, without taking its blocks.
const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;

/// Syncs whichever journal file of the engine is the newest.
pub(crate) struct JournalFile {
    dir: PathBuf,
    open: Option<(u64, File)>,
    old: Arc<OldJournals>,
}

impl JournalFile {
    /// The journals in the engine's folder; those that were synced and are not the newest any more go to `old`.
    pub(crate) fn new(engine_dir: PathBuf, old: Arc<OldJournals>) -> Self {
        Self { dir: engine_dir, open: None, old }
    }

    /// Makes durable what the engine has handed to the operating system before this call.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        // Listed each time: the engine starts and removes journals on its own.
        let journals = journals(&self.dir).map_err(StoreError::io("list", &self.dir))?;
        let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, "the engine has no journal file");
        let id = journals
            .into_iter()
            .max()
            .ok_or_else(missing)
            .map_err(StoreError::io("sync journals in", &self.dir))?;
        let path = journal_path(&self.dir, id);
        let file = match self.open.take() {
            Some((open, file)) if open == id => file,
            before => {
                if let Some((open, file)) = before {
                    self.old.add(journal_path(&self.dir, open), file);
                }
                let file = File::options().write(true).open(&path).map_err(StoreError::io("open", &path))?;
                reserve(&file, &path);
                file
            }
        };
        let (_, file) = self.open.insert((id, file));
        file.sync_data().map_err(StoreError::io("fsync", path))
    }
}

/// Takes the blocks that the engine will write, without changing the file's length. On a disk that is too full for them,
/// or a file system that cannot, writes go on into the blocks that there are.
fn reserve(file: &File, path: &Path) {
    if let Err(error) = rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, JOURNAL_BYTES) {
        tracing::warn!(%error, path = %path.display(), "cannot reserve the journal's blocks");
    }
}

/// The numbers of the engine's journal files, in any order.
pub(crate) fn journals(engine_dir: &Path) -> std::io::Result<Vec<u64>> {
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(engine_dir)? {
        let name = entry?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(JOURNAL_SUFFIX));
        ids.extend(stem.and_then(|id| id.parse::<u64>().ok()));
    }
    Ok(ids)
}

/// Where the engine keeps a journal.
pub(crate) fn journal_path(engine_dir: &Path, id: u64) -> PathBuf {
    engine_dir.join(format!("{id}{JOURNAL_SUFFIX}"))
}

/// The number of fsyncs that are known to have succeeded.
pub(crate) struct SyncMark {
    path: PathBuf,
    file: File,
}

impl SyncMark {
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(MARK_FILE);
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(StoreError::io("open", &path))?;
        Ok(Self { path, file })
    }

    /// The last number stored; zero when there is none or it did not survive.
    pub(crate) fn load(&self) -> u64 {
        let mut bytes = [0; 12];
        if self.file.read_exact_at(&mut bytes, 0).is_err() {
            return 0;
        }
        let (number, crc) = bytes.split_at(8);
        if crc != crc32fast::hash(number).to_le_bytes() {
            tracing::warn!(path = %self.path.display(), "the file is damaged, lost journal data cannot be noticed");
            return 0;
        }
        number.try_into().map_or(0, u64::from_le_bytes)
    }

    pub(crate) fn store(&self, number: u64) -> Result<(), StoreError> {
        let mut bytes = [0; 12];
        let (head, crc) = bytes.split_at_mut(8);
        head.copy_from_slice(&number.to_le_bytes());
        crc.copy_from_slice(&crc32fast::hash(head).to_le_bytes());
        self.file.write_all_at(&bytes, 0).map_err(StoreError::io("write", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_survives_and_damage_reads_as_zero() {
        let dir = tempfile::tempdir().unwrap();
        let mark = SyncMark::open(dir.path()).unwrap();
        assert_eq!(mark.load(), 0);
        mark.store(77).unwrap();
        assert_eq!(SyncMark::open(dir.path()).unwrap().load(), 77);
        std::fs::write(dir.path().join(MARK_FILE), [1; 12]).unwrap();
        assert_eq!(mark.load(), 0);
    }

    #[test]
    fn the_blocks_of_a_journal_are_taken_and_its_length_stays() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = journal_path(dir.path(), 0);
        File::create(&path).unwrap().set_len(4096).unwrap();
        JournalFile::new(dir.path().to_owned(), Arc::default()).sync().unwrap();
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!(meta.len(), 4096);
        // A file system that cannot reserve has at most the blocks of the length.
        assert!(meta.blocks() * 512 >= JOURNAL_BYTES || meta.blocks() * 512 <= 4096);
    }

    #[test]
    fn the_newest_journal_is_found_by_number_not_by_name() {
        let dir = tempfile::tempdir().unwrap();
        assert!(JournalFile::new(dir.path().to_owned(), Arc::default()).sync().is_err());
        for name in ["9.jnl", "10.jnl", "x.jnl", "lock", "11.jnl.bak"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let mut file = JournalFile::new(dir.path().to_owned(), Arc::default());
        file.sync().unwrap();
        assert_eq!(file.open.as_ref().unwrap().0, 10);
        std::fs::remove_file(dir.path().join("10.jnl")).unwrap();
        std::fs::write(dir.path().join("12.jnl"), "").unwrap();
        file.sync().unwrap();
        assert_eq!(
            file.open.as_ref().unwrap().0,
            12,
            "a new journal is taken even when the last one is gone"
        );
    }
}
