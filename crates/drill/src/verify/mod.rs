//! After the fault: reads every write back through every region, and says what is missing and what is there twice.

mod losses;
mod read_back;

pub use losses::{Losses, Verification};

use crate::client::Client;
use crate::cluster::ClusterFile;
use crate::sample::WriteId;
use crate::sample::{End, Kind, Sample};
use crate::workload::item::{Items, lanes_of};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Reads back what `samples` say was written. Everything is read with consistent reads, through each region in turn;
/// reads that fail are repeated until `limit` has passed.
pub async fn verify(
    cluster: &ClusterFile,
    items: &Items,
    samples: &[Sample],
    limit: Duration,
) -> Verification {
    let deadline = Instant::now() + limit;
    let items = Arc::new(items.clone());
    let lanes = lanes_of(samples);
    let counters: BTreeSet<u16> =
        samples.iter().filter(|one| one.kind == Kind::Add).map(|one| one.lane).collect();
    let mut verification = Verification::default();
    let mut shown_by_region = Vec::new();
    for path in 0..cluster.regions.len() {
        let client = |node: usize| cluster.target(path, node).map(|target| Client::new(&target));
        let shown = read_back::lanes(&items, &lanes, client, deadline).await;
        if shown.unread.is_empty() {
            shown_by_region.push(shown.writes);
        }
        verification.unread.extend(shown.unread);
        let Some(mut client) = client(0) else { continue };
        for counter in &counters {
            match read_back::counter(&items, *counter, &mut client, deadline).await {
                Ok(value) => widen(&mut verification.counters, *counter, value),
                Err(reason) => verification.unread.push(format!("counter {counter}: {reason}")),
            }
        }
    }
    compare(samples, &shown_by_region, &mut verification);
    verification
}

/// Takes in which writes each region shows, and how often.
fn compare(samples: &[Sample], shown_by_region: &[BTreeMap<WriteId, u32>], verification: &mut Verification) {
    // A region that could not be read to the end says nothing about what is missing.
    if shown_by_region.is_empty() {
        return;
    }
    for (one, id) in samples.iter().filter_map(|one| Some((one, one.id()?))) {
        let times = || shown_by_region.iter().map(|shown| shown.get(&id).copied().unwrap_or(0));
        let (least, most) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
        if least < most {
            verification.disagreeing.insert(id);
        }
        if most > 1 {
            verification.repeated.insert(id, most - 1);
        }
        if most == 0 && one.end == End::Done {
            verification.lost.insert(id);
        }
        if most > 0 && one.end == End::Refused {
            verification.refused_but_present.insert(id);
        }
    }
}

fn widen(counters: &mut BTreeMap<u16, (u64, u64)>, counter: u16, value: u64) {
    let (lowest, highest) = counters.entry(counter).or_insert((value, value));
    *lowest = value.min(*lowest);
    *highest = value.max(*highest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(sequence: u32, end: End) -> Sample {
        Sample {
            path: 0,
            lane: 0,
            kind: Kind::Put,
            end,
            invoked: 0,
            returned: 1,
            sequence,
            value: 0,
            floor: 0,
        }
    }

    #[test]
    fn lost_is_what_no_region_shows_and_a_difference_between_regions_is_a_stale_read() {
        let samples = [
            put(0, End::Done),
            put(1, End::Done),
            put(2, End::Done),
            put(3, End::Unknown),
            put(4, End::Refused),
            put(5, End::Refused),
            put(6, End::Refused),
            Sample { kind: Kind::Append, ..put(7, End::Unknown) },
        ];
        let ids: Vec<WriteId> = samples.iter().filter_map(Sample::id).collect();
        let shows = |counts: &[(usize, u32)]| counts.iter().map(|(at, times)| (ids[*at], *times)).collect();
        let mut verification = Verification::default();
        let regions =
            [shows(&[(0, 1), (1, 1), (4, 1), (6, 1), (7, 3)]), shows(&[(0, 1), (4, 1), (6, 1), (7, 3)])];
        compare(&samples, &regions, &mut verification);
        let expected = Verification {
            lost: BTreeSet::from([ids[2]]),
            disagreeing: BTreeSet::from([ids[1]]),
            repeated: BTreeMap::from([(ids[7], 2)]),
            refused_but_present: BTreeSet::from([ids[4], ids[6]]),
            ..Verification::default()
        };
        assert_eq!(verification, expected);
        let mut unread = Verification::default();
        compare(&samples, &[], &mut unread);
        assert_eq!(unread, Verification::default());
    }
}
