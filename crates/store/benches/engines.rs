//! The store beside redb, on the work that Meridian gives it. Prints one table.
//!
//!     cargo bench -p meridian-store                  about two minutes
//!     cargo bench -p meridian-store -- --test        a moment, to see that it runs
//!
//! `MERIDIAN_BENCH_DIR` names the disk to measure (default: the system's temporary directory).
#![allow(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use bytes::Bytes;
use meridian_store::{StateOp, Store, StoreOptions};
use meridian_types::GroupId;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

const ENTRY_BYTES: usize = 300;
const WRITERS: [u32; 3] = [1, 16, 64];
const LOG: TableDefinition<'_, (u32, u64), &[u8]> = TableDefinition::new("log");
const STATE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("state");

/// How much work to do.
struct Scale {
    /// Time for one measurement of appends.
    time: Duration,
    /// Items for the measurements of the state.
    items: u64,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let scale = if quick {
        Scale { time: Duration::from_millis(50), items: 1000 }
    } else {
        Scale { time: Duration::from_secs(5), items: 200_000 }
    };
    let root = std::env::var_os("MERIDIAN_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let dir = |_: &str| tempfile::tempdir_in(&root).unwrap();

    println!("disk: {}", root.display());
    fdatasync_latency(dir("raw").path(), if quick { 10 } else { 2000 });
    idle(dir("idle").path());
    for writers in WRITERS {
        let appends = [
            ("store, group commit", store_appends(dir("store").path(), writers, scale.time)),
            ("redb, a transaction each", redb_appends(dir("redb").path(), writers, scale.time)),
            ("redb, group commit", redb_grouped(dir("redb").path(), writers, scale.time)),
        ];
        for (engine, rate) in appends {
            println!("append + fsync, {writers} writers, {ENTRY_BYTES} B | {engine} | {rate}");
        }
    }
    println!(
        "append, 64 in flight from one thread | store | {}",
        store_pipelined(dir("p").path(), scale.time)
    );
    store_state(dir("store").path(), scale.items);
    redb_state(dir("redb").path(), scale.items);
}

/// Appends per second, latency percentiles of one append, and appends for each fsync when known.
struct Rate {
    per_second: f64,
    p50: Duration,
    p99: Duration,
    per_sync: Option<f64>,
}

impl Rate {
    fn of(mut latencies: Vec<Duration>, time: Duration, syncs: Option<u64>) -> Self {
        latencies.sort_unstable();
        let at = |percent: usize| latencies[(latencies.len() * percent / 100).min(latencies.len() - 1)];
        let count = precise(latencies.len() as u64);
        Self {
            per_second: count / time.as_secs_f64(),
            p50: at(50),
            p99: at(99),
            per_sync: syncs.map(|syncs| count / precise(syncs.max(1))),
        }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0}/s, p50 {:?}, p99 {:?}", self.per_second, self.p50, self.p99)?;
        self.per_sync.map_or(Ok(()), |per_sync| write!(f, ", {per_sync:.1} an fsync"))
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
fn precise(count: u64) -> f64 {
    count as f64
}

fn per_second(what: &str, engine: &str, count: u64, start: Instant) {
    println!("{what} | {engine} | {:.0}/s", precise(count) / start.elapsed().as_secs_f64());
}

fn options() -> StoreOptions {
    StoreOptions { min_free: 0, ballast_bytes: 0, ..StoreOptions::default() }
}

fn entry(seed: u64) -> Bytes {
    // Neither constant nor random: what a serialized item looks like to a compressor.
    let mut bytes = Vec::with_capacity(ENTRY_BYTES);
    let mut x = seed;
    while bytes.len() < ENTRY_BYTES {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend(format!("\"field\":{:08x},", x >> 32).bytes());
    }
    bytes.truncate(ENTRY_BYTES);
    Bytes::from(bytes)
}

fn fdatasync_latency(dir: &Path, rounds: u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::create(dir.join("raw")).unwrap();
    file.set_len(64 << 20).unwrap();
    let start = Instant::now();
    let latencies = (0..rounds)
        .map(|round| {
            file.write_all_at(&entry(round), round * ENTRY_BYTES as u64).unwrap();
            let start = Instant::now();
            file.sync_data().unwrap();
            start.elapsed()
        })
        .collect();
    println!("write + fdatasync of {ENTRY_BYTES} B | file | {}", Rate::of(latencies, start.elapsed(), None));
}

fn status(field: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

fn idle(dir: &Path) {
    let before = (status("VmRSS"), status("Threads"));
    let start = Instant::now();
    let store = Store::open(dir, &options()).unwrap();
    let created = start.elapsed();
    for id in 0..200 {
        store.group(GroupId(id)).append_durable(vec![(1, entry(1))]).unwrap();
    }
    let after = (status("VmRSS"), status("Threads"));
    drop(store);
    let start = Instant::now();
    drop(Store::open(dir, &options()).unwrap());
    println!(
        "idle store with 200 groups | store | resident {} -> {}, threads {} -> {}, created in {created:?}, opened in {:?}",
        before.0,
        after.0,
        before.1,
        after.1,
        start.elapsed()
    );
}

/// Runs `writers` threads that call `append(writer, sequence)` until the time is over; latencies of all.
fn closed_loop(writers: u32, time: Duration, append: impl Fn(u32, u64) + Sync) -> (Vec<Duration>, Duration) {
    let stop = AtomicBool::new(false);
    let all = Mutex::new(Vec::new());
    let start = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let (stop, all, append) = (&stop, &all, &append);
            scope.spawn(move || {
                let mut latencies = Vec::new();
                for sequence in 1.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let start = Instant::now();
                    append(writer, sequence);
                    latencies.push(start.elapsed());
                }
                all.lock().unwrap().extend(latencies);
            });
        }
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
    (all.into_inner().unwrap(), start.elapsed())
}

fn store_appends(dir: &Path, writers: u32, time: Duration) -> Rate {
    let store = Store::open(dir, &options()).unwrap();
    let groups: Vec<_> = (0..writers).map(|id| store.group(GroupId(id))).collect();
    let before = store.stats().syncs;
    let (latencies, elapsed) = closed_loop(writers, time, |writer, index| {
        groups[writer as usize].append_durable(vec![(index, entry(index))]).unwrap();
    });
    Rate::of(latencies, elapsed, Some(store.stats().syncs - before))
}

fn store_pipelined(dir: &Path, time: Duration) -> Rate {
    let store = Store::open(dir, &options()).unwrap();
    let group = store.group(GroupId(1));
    let before = store.stats().syncs;
    let (sender, receiver) = mpsc::channel();
    let start = Instant::now();
    let mut latencies = Vec::new();
    let mut index = 0;
    while start.elapsed() < time {
        while index < latencies.len() as u64 + 64 {
            index += 1;
            let sender = sender.clone();
            let begun = Instant::now();
            let done = Box::new(move |result: Result<(), _>| {
                result.unwrap();
                // The last ones find nobody listening.
                let _ = sender.send(begun.elapsed());
            });
            group.append(vec![(index, entry(index))], done).unwrap();
        }
        latencies.push(receiver.recv().unwrap());
        latencies.extend(receiver.try_iter());
    }
    Rate::of(latencies, start.elapsed(), Some(store.stats().syncs - before))
}

fn redb(dir: &Path) -> Database {
    let db = Database::builder().set_cache_size(64 << 20).create(dir.join("redb")).unwrap();
    let transaction = db.begin_write().unwrap();
    transaction.open_table(LOG).unwrap();
    transaction.open_table(STATE).unwrap();
    transaction.commit().unwrap();
    db
}

fn redb_insert(db: &Database, entries: &[(u32, u64, Bytes)]) {
    let transaction = db.begin_write().unwrap();
    {
        let mut log = transaction.open_table(LOG).unwrap();
        for (writer, index, entry) in entries {
            log.insert((*writer, *index), &**entry).unwrap();
        }
    }
    transaction.commit().unwrap();
}

fn redb_appends(dir: &Path, writers: u32, time: Duration) -> Rate {
    let db = redb(dir);
    let (latencies, elapsed) = closed_loop(writers, time, |writer, index| {
        redb_insert(&db, &[(writer, index, entry(index))]);
    });
    Rate::of(latencies, elapsed, None)
}

type Waiting = (u32, u64, Bytes, mpsc::SyncSender<()>);

/// Redb behind a thread that puts all who wait into one transaction: what the store would do on redb.
fn redb_grouped(dir: &Path, writers: u32, time: Duration) -> Rate {
    let db = redb(dir);
    let syncs = Arc::new(AtomicU64::new(0));
    let (queue, waiting) = mpsc::channel::<Waiting>();
    let committer = std::thread::spawn({
        let syncs = Arc::clone(&syncs);
        move || {
            while let Ok(first) = waiting.recv() {
                let batch: Vec<_> = std::iter::once(first).chain(waiting.try_iter()).collect();
                let entries: Vec<_> = batch.iter().map(|(w, i, e, _)| (*w, *i, e.clone())).collect();
                redb_insert(&db, &entries);
                syncs.fetch_add(1, Ordering::Relaxed);
                for (.., done) in batch {
                    done.send(()).unwrap();
                }
            }
        }
    });
    let (latencies, elapsed) = closed_loop(writers, time, |writer, index| {
        let (done, committed) = mpsc::sync_channel(1);
        queue.send((writer, index, entry(index), done)).unwrap();
        committed.recv().unwrap();
    });
    drop(queue);
    committer.join().unwrap();
    Rate::of(latencies, elapsed, Some(syncs.load(Ordering::Relaxed)))
}

fn key(item: u64) -> Bytes {
    Bytes::from(format!("table/{:016x}", item.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

const BATCHES: [u64; 2] = [1, 64];

fn store_state(dir: &Path, items: u64) {
    let store = Store::open(dir, &options()).unwrap();
    let group = store.group(GroupId(1));
    for batch in BATCHES {
        let start = Instant::now();
        for first in (0..items).step_by(usize::try_from(batch).unwrap()) {
            let ops: Vec<_> = (first..first + batch).map(|i| StateOp::put(key(i), entry(i))).collect();
            group.apply(&ops, &first.to_le_bytes()).unwrap();
        }
        per_second(&format!("apply items of {ENTRY_BYTES} B, {batch} a call"), "store", items, start);
    }
    let start = Instant::now();
    for item in 0..items {
        assert!(group.get(&key(item * 7919 % items)).unwrap().is_some());
    }
    per_second("get, random", "store", items, start);
    let start = Instant::now();
    let found = group.scan(Bound::Unbounded, Bound::Unbounded, false).unwrap().map(Result::unwrap).count();
    assert!(found as u64 >= items);
    per_second("scan, items", "store", items, start);
    println!(
        "after {items} items twice | store | resident {}, {} MiB on disk",
        status("VmRSS"),
        store.stats().disk_bytes >> 20
    );
}

fn redb_state(dir: &Path, items: u64) {
    let db = redb(dir);
    for batch in BATCHES {
        // Without fsync a commit each is as costly, so the small batch gets fewer items.
        let items = if batch == 1 { items / 4 } else { items };
        let start = Instant::now();
        for first in (0..items).step_by(usize::try_from(batch).unwrap()) {
            let mut transaction = db.begin_write().unwrap();
            transaction.set_durability(Durability::None).unwrap();
            {
                let mut state = transaction.open_table(STATE).unwrap();
                for item in first..first + batch {
                    state.insert(&*key(item), &*entry(item)).unwrap();
                }
                state.insert(b"applied".as_slice(), first.to_le_bytes().as_slice()).unwrap();
            }
            transaction.commit().unwrap();
        }
        per_second(&format!("apply items of {ENTRY_BYTES} B, {batch} a call"), "redb", items, start);
    }
    let read = db.begin_read().unwrap();
    let state = read.open_table(STATE).unwrap();
    let start = Instant::now();
    for item in 0..items {
        let value = state.get(&*key(item * 7919 % items)).unwrap().unwrap();
        assert_eq!(Bytes::copy_from_slice(value.value()).len(), ENTRY_BYTES);
    }
    per_second("get, random", "redb", items, start);
    let start = Instant::now();
    let mut found = 0;
    for item in state.iter().unwrap() {
        let (key, value) = item.unwrap();
        // Copied, as the store's scan does.
        let (key, value) = (Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value()));
        found += u64::from(key.len() < value.len());
    }
    assert!(found >= items);
    per_second("scan, items", "redb", items, start);
    let disk = std::fs::metadata(dir.join("redb")).unwrap().len() >> 20;
    println!("after {items} items twice | redb | resident {}, {disk} MiB on disk", status("VmRSS"));
}
