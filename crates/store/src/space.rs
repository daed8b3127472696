//! Watches the free space of the disk and holds a ballast file that is given up when it runs low.
//!
//! The engine stops for good when it meets a full disk, so writers must be refused before that. The ballast makes room
//! for what is already under way (flushes, compactions, votes, purges) the moment writers are refused.

use crate::StoreError;
use crate::locks::lock;
use crate::memory::MemoryDisk;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const BALLAST_FILE: &str = "ballast";
/// How long a measurement of free space is believed.
const BELIEVED: Duration = Duration::from_millis(200);

/// The room on the store's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still write, at most 200 ms ago.
    pub free_bytes: u64,
    /// Whether new entries are refused until space returns. Callers should refuse their own clients then.
    pub low: bool,
}

struct Measured {
    at: Option<Instant>,
    free: u64,
    low: bool,
    ballast: bool,
}

/// Where the free space is.
enum Volume {
    Directory { path: PathBuf, ballast: PathBuf },
    Memory(MemoryDisk),
}

impl Volume {
    fn free_bytes(&self) -> std::io::Result<u64> {
        match self {
            Self::Directory { path, .. } => free_bytes(path),
            Self::Memory(disk) => Ok(disk.free_bytes()),
        }
    }

    /// How long a measurement is believed: a disk in memory costs nothing to ask, and its time is not this process's.
    fn believed(&self) -> Duration {
        match self {
            Self::Directory { .. } => BELIEVED,
            Self::Memory(_) => Duration::ZERO,
        }
    }
}

pub(crate) struct SpaceWatch {
    volume: Volume,
    ballast_bytes: u64,
    min_free: u64,
    /// Whether the disk is to be taken for a full one.
    pretends_full: AtomicBool,
    measured: Mutex<Measured>,
}

impl SpaceWatch {
    pub(crate) fn new(dir: &Path, min_free: u64, ballast_bytes: u64) -> Self {
        let ballast_path = dir.join(BALLAST_FILE);
        let ballast = ballast_bytes > 0
            && std::fs::metadata(&ballast_path)
                .is_ok_and(|meta| meta.is_file() && meta.len() == ballast_bytes);
        // Starting as low without a ballast means that the first look makes one, if there is room for it.
        let measured = Measured { at: None, free: 0, low: ballast_bytes > 0 && !ballast, ballast };
        let volume = Volume::Directory { path: dir.to_owned(), ballast: ballast_path };
        Self::of(volume, min_free, ballast_bytes, measured)
    }

    pub(crate) fn of_memory(disk: MemoryDisk, min_free: u64) -> Self {
        let measured = Measured { at: None, free: 0, low: false, ballast: true };
        Self::of(Volume::Memory(disk), min_free, 0, measured)
    }

    fn of(volume: Volume, min_free: u64, ballast_bytes: u64, measured: Measured) -> Self {
        let (pretends_full, measured) = (AtomicBool::new(false), Mutex::new(measured));
        Self { volume, ballast_bytes, min_free, pretends_full, measured }
    }

    /// Takes the disk for a full one from the next look on, or for what it is again.
    pub(crate) fn pretend_full(&self, full: bool) {
        self.pretends_full.store(full, Ordering::Relaxed);
    }

    fn free_bytes(&self) -> std::io::Result<u64> {
        if self.pretends_full.load(Ordering::Relaxed) { Ok(0) } else { self.volume.free_bytes() }
    }

    pub(crate) fn current(&self) -> Space {
        let mut measured = lock(&self.measured);
        if measured.at.is_none_or(|at| at.elapsed() >= self.volume.believed()) {
            self.look(&mut measured);
        }
        Space { free_bytes: measured.free, low: measured.low }
    }

    /// # Errors
    /// `DiskFull` when new entries are to be refused.
    pub(crate) fn check_room(&self) -> Result<(), StoreError> {
        let space = self.current();
        if space.low {
            return Err(StoreError::DiskFull { free_bytes: space.free_bytes, min_free: self.min_free });
        }
        Ok(())
    }

    fn look(&self, measured: &mut Measured) {
        match self.free_bytes() {
            Ok(free) => measured.free = free,
            Err(error) => {
                tracing::warn!(%error, "cannot measure free space");
                measured.at = Some(Instant::now());
                return;
            }
        }
        if !measured.low && measured.free < self.min_free {
            measured.low = true;
            tracing::error!(
                free = measured.free,
                min_free = self.min_free,
                "disk nearly full, refusing writes"
            );
            self.release_ballast(measured);
        } else if measured.low && measured.free >= self.enough(measured.ballast) {
            // Low ends only together with a ballast in place, so that the next shortage has its reserve too.
            if measured.ballast || self.make_ballast(measured) {
                measured.low = false;
                tracing::info!(free = measured.free, "disk has room, accepting writes");
            }
        }
        measured.at = Some(Instant::now());
    }

    /// Free space at which writes are taken again: the limit, the ballast to be made, and a margin against flapping.
    fn enough(&self, ballast: bool) -> u64 {
        let to_make = if ballast { 0 } else { self.ballast_bytes };
        self.min_free.saturating_add(self.min_free / 8).saturating_add(to_make)
    }

    fn release_ballast(&self, measured: &mut Measured) {
        let Volume::Directory { ballast, .. } = &self.volume else { return };
        match std::fs::remove_file(ballast) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(%error, "cannot give up the ballast file"),
        }
        measured.ballast = false;
        measured.free = self.free_bytes().unwrap_or(measured.free);
    }

    fn make_ballast(&self, measured: &mut Measured) -> bool {
        let Volume::Directory { ballast, .. } = &self.volume else { return true };
        if self.ballast_bytes == 0 {
            return true;
        }
        match allocate(ballast, self.ballast_bytes) {
            Ok(()) => {
                measured.ballast = true;
                measured.free = self.volume.free_bytes().unwrap_or(measured.free);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "cannot make the ballast file");
                self.release_ballast(measured);
                false
            }
        }
    }
}

fn free_bytes(dir: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// A file whose blocks are really taken, not a sparse one.
fn allocate(path: &Path, bytes: u64) -> std::io::Result<()> {
    let file = File::create(path)?;
    match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => write_zeros(&file, bytes),
        Err(error) => Err(error.into()),
    }
}

fn write_zeros(mut file: &File, bytes: u64) -> std::io::Result<()> {
    use std::io::{Read, Write};
    let mut zeros = std::io::repeat(0).take(bytes);
    std::io::copy(&mut zeros, &mut file)?;
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_a_ballast_of_real_blocks_and_is_not_low() {
        let dir = tempfile::tempdir().unwrap();
        let watch = SpaceWatch::new(dir.path(), 1024, 1 << 20);
        let space = watch.current();
        assert!(!space.low && space.free_bytes > 1024);
        let meta = std::fs::metadata(dir.path().join(BALLAST_FILE)).unwrap();
        assert_eq!(meta.len(), 1 << 20);
        assert!(std::os::unix::fs::MetadataExt::blocks(&meta) * 512 >= 1 << 20, "blocks are allocated");
    }

    #[test]
    fn gives_the_ballast_up_when_low_and_stays_low() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!SpaceWatch::new(dir.path(), 0, 1 << 20).current().low);
        assert!(dir.path().join(BALLAST_FILE).exists());
        let watch = SpaceWatch::new(dir.path(), u64::MAX / 4, 1 << 20);
        assert!(watch.current().low);
        assert!(!dir.path().join(BALLAST_FILE).exists());
        assert!(matches!(watch.check_room(), Err(StoreError::DiskFull { .. })));
    }

    #[test]
    fn a_disk_that_is_taken_for_full_is_low_until_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let watch = SpaceWatch::new(dir.path(), 1024, 1 << 20);
        let looked = |full| {
            watch.pretend_full(full);
            std::thread::sleep(BELIEVED);
            watch.current()
        };
        assert_eq!(looked(true), Space { free_bytes: 0, low: true });
        let space = looked(false);
        assert!(!space.low && space.free_bytes > 1024);
        assert!(dir.path().join(BALLAST_FILE).exists());
    }

    #[test]
    fn works_without_limits() {
        let dir = tempfile::tempdir().unwrap();
        let watch = SpaceWatch::new(dir.path(), 0, 0);
        assert!(watch.check_room().is_ok());
        assert!(!dir.path().join(BALLAST_FILE).exists());
    }

    #[test]
    fn zeros_are_written_where_the_file_system_cannot_allocate() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zeros");
        write_zeros(&File::create(&path).unwrap(), 12_345).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 12_345);
    }
}
