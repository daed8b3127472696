//! A process that writes is killed at random moments; whatever it had acknowledged is there afterwards.
//!
//! `MERIDIAN_CRASH_ROUNDS` sets the number of kills, `MERIDIAN_CRASH_SEED` repeats a run's choices.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::{Rng, assert_proves, open, proving_entry};
use meridian_store::{GroupStore, StateOp};
use meridian_types::GroupId;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::ops::Bound;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const GROUPS: u32 = 4;
const STATE_KEYS: u64 = 40;
const CHILD_DIR: &str = "MERIDIAN_CRASH_CHILD_DIR";
const CHILD_SEED: &str = "MERIDIAN_CRASH_CHILD_SEED";

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// What the child had said before it died. Intents to remove count from the moment they are printed.
#[derive(Default)]
struct Acknowledged {
    entries: BTreeMap<(u32, u64), u32>,
    votes: BTreeMap<u32, u64>,
    installs: BTreeMap<u32, u64>,
}

impl Acknowledged {
    /// Takes note of a line; true when it acknowledges something.
    fn hear(&mut self, line: &str) -> bool {
        let mut words = line.split(' ');
        let verb = words.next().unwrap_or_default();
        let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        let group = numbers.first().map(|group| u32::try_from(*group).unwrap());
        match (verb, group, numbers.as_slice()) {
            ("ack", Some(group), [_, index, crc]) => {
                self.entries.insert((group, *index), u32::try_from(*crc).unwrap());
            }
            ("truncate", Some(group), [_, after]) => {
                self.entries.retain(|(g, index), _| *g != group || index <= after);
            }
            ("purge", Some(group), [_, upto]) => {
                self.entries.retain(|(g, index), _| *g != group || index > upto);
            }
            ("vote", Some(group), [_, vote]) => {
                self.votes.insert(group, *vote);
            }
            ("install", Some(group), [_, generation]) => {
                self.installs.insert(group, *generation);
            }
            // The test harness of the child prints lines of its own.
            _ => return false,
        }
        !matches!(verb, "truncate" | "purge")
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let rounds = variable("MERIDIAN_CRASH_ROUNDS", 30);
    let seed = variable("MERIDIAN_CRASH_SEED", u64::from(std::process::id()));
    eprintln!("{rounds} rounds, MERIDIAN_CRASH_SEED={seed}");
    let mut rng = Rng(seed);
    let mut dir = tempfile::tempdir().unwrap();
    let mut heard = Acknowledged::default();
    let mut acknowledged = 0;
    for round in 0..rounds {
        if round % 400 == 399 {
            dir = tempfile::tempdir().unwrap();
            heard = Acknowledged::default();
        }
        acknowledged += kill_one(dir.path(), &mut rng, &mut heard);
        // Left open by a panic, the directory helps to find out more.
        let verified = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| verify(dir.path(), &heard)));
        if let Err(panic) = verified {
            eprintln!("round {round}, kept {}", dir.keep().display());
            std::panic::resume_unwind(panic);
        }
    }
    eprintln!("{acknowledged} acknowledged writes were there after {rounds} kills");
    assert!(acknowledged > rounds, "the child has to get something done");
}

/// Runs the child for a random while, kills it, and notes what it had said. Returns the number of acknowledgements.
fn kill_one(dir: &Path, rng: &mut Rng, heard: &mut Acknowledged) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_writes_until_killed", "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .env(CHILD_SEED, rng.next().to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    // Mostly while it writes, sometimes while it opens.
    let while_opening = rng.below(5) == 0;
    let patience = Duration::from_micros(rng.below(if while_opening { 20_000 } else { 100_000 }));
    let (opened, is_open) = std::sync::mpsc::channel();
    let killer = std::thread::spawn(move || {
        if !while_opening {
            is_open.recv_timeout(Duration::from_secs(60)).unwrap();
        }
        std::thread::sleep(patience);
        child.kill().unwrap();
        child.wait().unwrap()
    });
    let mut count = 0;
    let mut reader = BufReader::new(stdout);
    let mut line = String::new();
    // A line without its end was cut by the kill and said nothing.
    while reader.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
        if line.trim_end() == "open" {
            // The killer may have been impatient and gone.
            let _ = opened.send(());
        } else {
            count += u64::from(heard.hear(line.trim_end()));
        }
        line.clear();
    }
    let status = killer.join().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "the child ended by itself");
    count
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}

/// Marker of an apply: the generation of the state and the index of the last applied entry.
fn marker(generation: u64, index: u64) -> Vec<u8> {
    [generation.to_le_bytes(), index.to_le_bytes()].concat()
}

fn verify(dir: &Path, heard: &Acknowledged) {
    let store = open(dir);
    for ((id, index), crc) in &heard.entries {
        let found = store.group(GroupId(*id)).entries(*index..index + 1).unwrap();
        let [(_, entry)] = found.as_slice() else { panic!("group {id} lost acknowledged entry {index}") };
        assert_eq!(crc32fast::hash(entry), *crc, "group {id} has another entry at {index}");
    }
    for id in 0..GROUPS {
        let group = store.group(GroupId(id));
        let bounds = group.bounds();
        for (index, entry) in group.entries(0..u64::MAX).unwrap() {
            assert_proves(id, index, &entry);
        }
        let vote = group.vote().unwrap().map_or(0, |vote| number(&vote));
        assert!(vote >= heard.votes.get(&id).copied().unwrap_or(0), "group {id} went back to vote {vote}");

        let (generation, applied) =
            group.applied().unwrap().map_or((0, 0), |m| (number(&m), number(&m[8..])));
        let purged = bounds.purged.map_or(0, |purged| purged.index);
        let last = bounds.last.unwrap_or(purged);
        assert!(applied <= last, "group {id} applied {applied}, but its log ends at {last}");
        assert!(applied >= purged, "group {id} purged {purged}, but applied only {applied}");
        assert!(generation >= heard.installs.get(&id).copied().unwrap_or(0), "group {id} lost an install");
        verify_state(&group, generation, applied);
    }
}

/// The state is that of its marker, whole: every key of the generation, and both halves of the last apply.
fn verify_state(group: &GroupStore, generation: u64, applied: u64) {
    let mut keys = 0;
    for item in group.scan(Bound::Included(b"k"), Bound::Excluded(b"l"), false).unwrap() {
        assert_eq!(number(&item.unwrap().1), generation);
        keys += 1;
    }
    assert_eq!(keys, if generation == 0 { 0 } else { STATE_KEYS });
    let [left, right] = [b"left", b"right" as &[u8]].map(|key| group.get(key).unwrap().map(|v| number(&v)));
    assert_eq!(left, right);
    if applied > 0 {
        assert_eq!(left, Some(applied));
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

#[test]
#[ignore = "the process that the crash test kills"]
fn child_writes_until_killed() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let seed = variable(CHILD_SEED, 0);
    let store = open(Path::new(&dir));
    // The test harness has begun a line.
    say("\nopen");
    let threads: Vec<_> = (0..GROUPS)
        .map(|id| {
            let group = store.group(GroupId(id));
            std::thread::spawn(move || write_forever(id, &group, &mut Rng(seed ^ (u64::from(id) << 40))))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

fn write_forever(id: u32, group: &GroupStore, rng: &mut Rng) {
    let applied = group.applied().unwrap();
    let (mut generation, mut applied) = applied.map_or((0, 0), |m| (number(&m), number(&m[8..])));
    let mut vote = group.vote().unwrap().map_or(0, |vote| number(&vote));
    loop {
        let bounds = group.bounds();
        let last = bounds.last.or(bounds.purged.map(|purged| purged.index)).unwrap_or(0);
        match rng.below(40) {
            0 => {
                vote += 1;
                group.save_vote(&vote.to_le_bytes()).unwrap();
                say(&format!("vote {id} {vote}"));
            }
            1 | 2 if last > applied => {
                // Acknowledgements under way come first: said afterwards they would be about entries that may be gone.
                group.store().sync().unwrap();
                let after = applied + rng.below(last - applied + 1);
                say(&format!("truncate {id} {after}"));
                group.truncate_after(Some(after)).unwrap();
            }
            3 | 4 if applied > 0 => {
                group.store().sync().unwrap();
                let upto = applied.saturating_sub(rng.below(50));
                say(&format!("purge {id} {upto}"));
                group.purge_upto(upto, b"marker").unwrap();
            }
            5 => {
                let mut install = group.begin_install().unwrap();
                let abandon = rng.below(4) == 0;
                for key in 0..STATE_KEYS {
                    let key = Bytes::from(format!("k{key:03}"));
                    let value = Bytes::copy_from_slice(&(generation + 1).to_le_bytes());
                    install.put_chunk(&[(key, value)]).unwrap();
                }
                let index = Bytes::copy_from_slice(&applied.to_le_bytes());
                install.put_chunk(&[("left".into(), index.clone()), ("right".into(), index)]).unwrap();
                if !abandon {
                    generation += 1;
                    install.commit(&marker(generation, applied), &[]).unwrap();
                    say(&format!("install {id} {generation}"));
                }
            }
            _ => {
                let count = 1 + rng.below(8);
                let entries: Vec<_> =
                    (last + 1..=last + count).map(|index| (index, proving_entry(id, index, rng))).collect();
                let lines: Vec<_> = entries
                    .iter()
                    .map(|(index, entry)| format!("ack {id} {index} {}", crc32fast::hash(entry)))
                    .collect();
                group
                    .append(
                        entries,
                        Box::new(move |result| {
                            result.unwrap();
                            say(&lines.join("\n"));
                        }),
                    )
                    .unwrap();
                // Applied before it is durable: the journal's order has to keep the state behind the log.
                applied = (last + 1 + rng.below(count)).max(applied);
                let index = Bytes::copy_from_slice(&applied.to_le_bytes());
                let ops = [StateOp::put("left", index.clone()), StateOp::put("right", index)];
                group.apply(&ops, &marker(generation, applied)).unwrap();
            }
        }
    }
}
