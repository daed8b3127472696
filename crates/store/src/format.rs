//! The store's directory: its format file, its lock, and the crash-safe creation of the engine inside.
//!
//! - `VERSION` names the format; written before anything else
//! - `LOCK` is held while the store is open
//! - `engine/` has the engine's own files
//! - `synced` says how many fsyncs had succeeded, see [`crate::journal`]
//! - `ballast`, see [`crate::space`]

use crate::StoreError;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The newest format that this version reads and writes.
///
/// It is also the number of the newest level of a cluster that this version knows: what a level brings reaches the disk only once the
/// cluster is there, and from then on an older version must not open it.
pub const FORMAT: u32 = 2;
/// The oldest, in which a new store is made.
const OLDEST_FORMAT: u32 = 1;

const VERSION_FILE: &str = "VERSION";
const VERSION_TITLE: &str = "meridian-store";
const LOCK_FILE: &str = "LOCK";
const ENGINE_DIR: &str = "engine";
const ENGINE_IN_CREATION: &str = "engine.new";

/// A directory that this process has to itself until this is dropped.
#[derive(Debug)]
pub(crate) struct StoreDir {
    path: PathBuf,
    format: AtomicU32,
    _lock: File,
}

impl StoreDir {
    /// Creates or takes the directory and checks its format.
    pub(crate) fn acquire(path: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(path).map_err(StoreError::io("create directory", path))?;
        let lock_path = path.join(LOCK_FILE);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(StoreError::io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { dir: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", lock_path)(error)),
        }
        let dir = Self { path: path.to_owned(), format: AtomicU32::new(OLDEST_FORMAT), _lock: lock };
        dir.format.store(dir.check_format()?, Ordering::Relaxed);
        Ok(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn engine(&self) -> PathBuf {
        self.path.join(ENGINE_DIR)
    }

    /// Has only versions that know the format open the directory from now on. On disk when this returns.
    pub(crate) fn raise_format(&self, to: u32) -> Result<(), StoreError> {
        if to <= self.format.load(Ordering::Acquire) {
            return Ok(());
        }
        self.write_format(to)?;
        self.format.store(to, Ordering::Release);
        Ok(())
    }

    fn write_format(&self, format: u32) -> Result<(), StoreError> {
        let path = self.path.join(VERSION_FILE);
        let text = format!("{VERSION_TITLE} {format}\n");
        write_whole(&path, text.as_bytes()).map_err(StoreError::io("write", &path))
    }

    fn check_format(&self) -> Result<u32, StoreError> {
        let version_path = self.path.join(VERSION_FILE);
        let unknown =
            |found: String| StoreError::UnknownFormat { dir: self.path.clone(), found, supported: FORMAT };
        match std::fs::read_to_string(&version_path) {
            Ok(text) => {
                let known = (OLDEST_FORMAT..=FORMAT)
                    .find(|format| text.trim_end() == format!("{VERSION_TITLE} {format}"));
                known.ok_or_else(|| unknown(format!("{:?}", text.chars().take(64).collect::<String>())))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if self.engine().exists() {
                    return Err(unknown("no VERSION file".to_owned()));
                }
                self.write_format(OLDEST_FORMAT)?;
                Ok(OLDEST_FORMAT)
            }
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Err(unknown("not text".to_owned()))
            }
            Err(error) => Err(StoreError::io("read", version_path)(error)),
        }
    }

    /// Makes sure that the engine's directory exists and is whole. A creation that a crash cut short is begun anew,
    /// which the engine itself does not survive.
    pub(crate) fn ensure_engine(
        &self,
        create: impl FnOnce(&Path) -> Result<(), StoreError>,
    ) -> Result<PathBuf, StoreError> {
        let engine = self.engine();
        if engine.exists() {
            return Ok(engine);
        }
        let draft = self.path.join(ENGINE_IN_CREATION);
        if draft.exists() {
            std::fs::remove_dir_all(&draft).map_err(StoreError::io("remove", &draft))?;
        }
        create(&draft)?;
        std::fs::rename(&draft, &engine).map_err(StoreError::io("rename", &draft))?;
        sync_dir(&self.path).map_err(StoreError::io("sync", &self.path))?;
        Ok(engine)
    }
}

/// Writes a small file so that a crash leaves the old one or the new one.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = File::create(&draft)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = StoreDir::acquire(dir.path()).unwrap();
        let error = StoreDir::acquire(dir.path()).unwrap_err();
        assert!(error.to_string().contains("in use by another process"), "{error}");
        drop(held);
        StoreDir::acquire(dir.path()).unwrap();
    }

    #[test]
    fn unknown_formats_are_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let version = dir.path().join(VERSION_FILE);
        for text in ["meridian-store 3\n", "meridian-store 0\n", "something else", ""] {
            std::fs::write(&version, text).unwrap();
            let error = StoreDir::acquire(dir.path()).unwrap_err();
            assert!(matches!(error, StoreError::UnknownFormat { .. }), "{error}");
            assert_eq!(std::fs::read_to_string(&version).unwrap(), text);
        }
        std::fs::write(&version, [0xff, 0xfe]).unwrap();
        assert!(matches!(StoreDir::acquire(dir.path()), Err(StoreError::UnknownFormat { .. })));
        std::fs::remove_file(&version).unwrap();
        std::fs::create_dir(dir.path().join(ENGINE_DIR)).unwrap();
        let error = StoreDir::acquire(dir.path()).unwrap_err();
        assert!(error.to_string().contains("no VERSION file"), "{error}");
    }

    #[test]
    fn a_format_is_raised_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let version = || std::fs::read_to_string(dir.path().join(VERSION_FILE)).unwrap();
        let held = StoreDir::acquire(dir.path()).unwrap();
        assert_eq!(version(), "meridian-store 1\n", "the version before may open it");
        held.raise_format(2).unwrap();
        held.raise_format(1).unwrap();
        assert_eq!(version(), "meridian-store 2\n");
        drop(held);
        StoreDir::acquire(dir.path()).unwrap().raise_format(1).unwrap();
        assert_eq!(version(), "meridian-store 2\n");
    }

    #[test]
    fn a_creation_cut_short_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let held = StoreDir::acquire(dir.path()).unwrap();
        let half = |path: &Path| {
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join("half"), "x").unwrap();
            Err(StoreError::Closed)
        };
        assert!(held.ensure_engine(half).is_err());
        let engine = held
            .ensure_engine(|path| {
                assert!(!path.exists());
                std::fs::create_dir(path).unwrap();
                Ok(())
            })
            .unwrap();
        assert_eq!(std::fs::read_dir(&engine).unwrap().count(), 0);
        held.ensure_engine(|_| panic!("exists already")).unwrap();
    }
}
