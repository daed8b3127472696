//! A disk that really fills up: a small tmpfs. Skipped, with a notice, where mounting is not permitted.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::{Rng, assert_proves, proving_entry};
use meridian_store::{GroupStore, StateOp, Store, StoreError, StoreOptions};
use meridian_types::GroupId;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const MIB: u64 = 1024 * 1024;

/// A file system of its own, gone when dropped.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(size: u64) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self { dir });
        }
        eprintln!("SKIPPED: mounting a tmpfs is not permitted here");
        None
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn filler(&self) -> PathBuf {
        self.dir.path().join("filler")
    }

    /// Takes space until at most `left` bytes are free.
    fn fill(&self, left: u64) {
        let mut file = std::fs::File::options().create(true).append(true).open(self.filler()).unwrap();
        let block = vec![1; 64 * 1024];
        loop {
            let stat = rustix::fs::statvfs(self.dir.path()).unwrap();
            let excess = (stat.f_bavail * stat.f_frsize).saturating_sub(left);
            let len = usize::try_from(excess.min(block.len() as u64)).unwrap();
            if len == 0 || file.write_all(&block[..len]).is_err() {
                return;
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.dir.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("cannot unmount {}", self.dir.path().display());
        }
    }
}

fn options() -> StoreOptions {
    StoreOptions {
        min_free: 48 * MIB,
        ballast_bytes: 16 * MIB,
        memtable_bytes: 2 * MIB,
        ..StoreOptions::default()
    }
}

fn next_index(group: &GroupStore) -> u64 {
    group.bounds().last.map_or(1, |last| last + 1)
}

fn append(group: &GroupStore, rng: &mut Rng) -> Result<u64, StoreError> {
    let index = next_index(group);
    group.append_durable(vec![(index, proving_entry(1, index, rng))])?;
    group.apply(&[StateOp::put("last", Bytes::copy_from_slice(&index.to_le_bytes()))], b"m")?;
    Ok(index)
}

fn assert_whole(group: &GroupStore, acknowledged: u64) {
    let entries = group.entries(1..acknowledged + 1).unwrap();
    assert_eq!(entries.len() as u64, acknowledged);
    for (index, entry) in entries {
        assert_proves(1, index, &entry);
    }
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(5), "not within 5 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ballast_exists(store: &Path) -> bool {
    store.join("ballast").exists()
}

#[test]
fn writes_are_refused_before_the_disk_is_full_and_taken_again_after() {
    let Some(disk) = SmallDisk::mount(256 * MIB) else { return };
    let mut rng = Rng(1);
    let mut acknowledged = 0;
    {
        let store = Store::open(disk.store(), &options()).unwrap();
        let group = store.group(GroupId(1));
        for _ in 0..500 {
            acknowledged = append(&group, &mut rng).unwrap();
        }
        assert!(!store.space().low && ballast_exists(&disk.store()));

        for left in [47 * MIB, 0] {
            disk.fill(left);
            eventually("the store notices", || store.space().low);
            assert!(!ballast_exists(&disk.store()), "the ballast is given up");
            let error = append(&group, &mut rng).unwrap_err();
            assert!(matches!(error, StoreError::DiskFull { .. }) && error.is_retryable(), "{error}");
            assert!(matches!(group.begin_install(), Err(StoreError::DiskFull { .. })));
            assert_eq!(next_index(&group), acknowledged + 1, "a refused append leaves nothing");
            assert_whole(&group, acknowledged);
            assert!(group.get(b"last").unwrap().is_some());
            if left > 0 {
                // What is needed to go on and to get out of it still works.
                group.save_vote(b"vote").unwrap();
                group.apply(&[StateOp::put("k", "v")], b"m2").unwrap();
            }
        }

        std::fs::remove_file(disk.filler()).unwrap();
        eventually("the store takes writes again", || !store.space().low);
        assert!(ballast_exists(&disk.store()), "the ballast is made again");
        for _ in 0..500 {
            acknowledged = append(&group, &mut rng).unwrap();
        }
    }
    let store = Store::open(disk.store(), &options()).unwrap();
    assert_whole(&store.group(GroupId(1)), acknowledged);
    assert_eq!(store.group(GroupId(1)).vote().unwrap().unwrap(), "vote");
}

#[test]
fn a_disk_that_fills_at_once_stops_the_store_and_loses_nothing() {
    // With the watch off, the engine itself meets the full disk, at another point of its work each time.
    for round in 0..12 {
        let Some(disk) = SmallDisk::mount(96 * MIB) else { return };
        let off = StoreOptions { min_free: 0, ballast_bytes: 0, memtable_bytes: MIB, ..options() };
        let mut rng = Rng(round);
        let mut acknowledged = 0;
        {
            let store = Store::open(disk.store(), &off).unwrap();
            let group = store.group(GroupId(1));
            for _ in 0..rng.below(600) {
                acknowledged = append(&group, &mut rng).unwrap();
            }
            disk.fill(rng.below(3 * MIB));
            let start = Instant::now();
            let error = loop {
                match append(&group, &mut rng) {
                    Ok(index) => acknowledged = index,
                    Err(error) => break error,
                }
                assert!(start.elapsed() < Duration::from_secs(60), "the disk never filled");
            };
            assert!(matches!(error, StoreError::Failed { .. }), "{error}");
            assert!(matches!(group.save_vote(b"v"), Err(StoreError::Failed { .. })));
            assert!(matches!(group.get(b"last"), Err(StoreError::Failed { .. })));
            assert!(matches!(store.health(), Err(StoreError::Failed { .. })));
        }
        std::fs::remove_file(disk.filler()).unwrap();
        let store = Store::open(disk.store(), &off).unwrap();
        let group = store.group(GroupId(1));
        assert_whole(&group, acknowledged);
        append(&group, &mut rng).unwrap();
    }
}
