//! The load: each connection sends its next request when the last one was answered, or when it is due.
//!
//! A request that could not be sent when it was due, because the one before it took so long, is timed from then on all the same: a system
//! that stands still must not be spared the requests that would have come meanwhile.

use super::Operation;
use super::system::{Access, Conn};
use hdrhistogram::Histogram;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The longest that one request may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest latency that the histogram tells apart, in microseconds.
const MAX_MICROS: u64 = 20_000_000;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) operation: Operation,
    pub(super) connections: usize,
    /// Requests a second, evenly spread; as many as are answered without one.
    pub(super) rate: Option<u32>,
    pub(super) keys: u32,
    pub(super) value_bytes: usize,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Latencies of answered requests, in microseconds.
    pub(super) latency: Histogram<u64>,
    pub(super) errors: u64,
    /// One of the errors, for a person.
    pub(super) first_error: Option<String>,
    /// From the end of the warm-up to the last answer.
    pub(super) elapsed: Duration,
}

/// Puts every key once.
pub(super) async fn fill(access: &Access, load: &Load) -> Result<(), String> {
    let mut tasks = JoinSet::new();
    let connections = load.connections.min(load.keys as usize).max(1);
    for number in 0..connections {
        let mut conn = access.open(number).await?;
        let (keys, value) = (load.keys, value(load.value_bytes));
        tasks.spawn(async move {
            for index in (0..keys).skip(number).step_by(connections) {
                conn.put(&key(index), &value, LIMIT).await?;
            }
            Ok::<_, String>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    Ok(())
}

/// Runs the load and measures it. Requests sent within the warm-up are not counted.
pub(super) async fn run(access: &Access, load: Load) -> Result<Outcome, String> {
    let mut conns = Vec::new();
    for number in 0..load.connections {
        conns.push(access.open(number).await?);
    }
    let begin = Instant::now() + load.warm_up;
    let end = begin + load.duration;
    let mut tasks = JoinSet::new();
    for (number, conn) in conns.into_iter().enumerate() {
        let first = begin - load.warm_up + load.step() * u32::try_from(number).unwrap_or(u32::MAX);
        tasks.spawn(one_connection(conn, number as u64, load, Times { first, begin, end }));
    }
    let mut total = Outcome { latency: histogram()?, errors: 0, first_error: None, elapsed: Duration::ZERO };
    while let Some(ended) = tasks.join_next().await {
        let part = ended.map_err(|error| error.to_string())??;
        total.latency.add(&part.latency).map_err(|error| error.to_string())?;
        total.errors += part.errors;
        total.first_error = total.first_error.or(part.first_error);
    }
    total.elapsed = begin.elapsed();
    Ok(total)
}

impl Load {
    /// How long after a request the next one is due, on whichever connection.
    fn step(&self) -> Duration {
        self.rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.max(1))
    }
}

/// When the first request is due, when counting begins, and when it ends.
struct Times {
    first: Instant,
    begin: Instant,
    end: Instant,
}

async fn one_connection(
    mut conn: Conn,
    number: u64,
    load: Load,
    Times { first, begin, end }: Times,
) -> Result<Outcome, String> {
    let mut outcome =
        Outcome { latency: histogram()?, errors: 0, first_error: None, elapsed: Duration::ZERO };
    let value = value(load.value_bytes);
    let mut turn = 0u64;
    let every = load.step() * u32::try_from(load.connections).unwrap_or(u32::MAX);
    let mut due = first;
    loop {
        let sent = if load.rate.is_some() {
            tokio::time::sleep_until(due.min(end)).await;
            due
        } else {
            Instant::now()
        };
        due += every;
        if sent >= end {
            return Ok(outcome);
        }
        turn += 1;
        // The same keys in the same order for every system: a hash of the connection and the turn.
        let random = xxh3_64_with_seed(&turn.to_le_bytes(), number);
        let key = key(u32::try_from(random % u64::from(load.keys.max(1))).unwrap_or(0));
        let is_put = match load.operation {
            Operation::Put => true,
            Operation::Get => false,
            // A bit that does not choose the key.
            Operation::Mixed => random >> 63 == 1,
        };
        let answered = if is_put { conn.put(&key, &value, LIMIT).await } else { conn.get(&key, LIMIT).await };
        if sent < begin {
            continue;
        }
        match answered {
            Ok(()) => {
                let micros = u64::try_from(sent.elapsed().as_micros()).unwrap_or(MAX_MICROS);
                outcome.latency.saturating_record(micros.max(1));
            }
            Err(reason) => {
                outcome.errors += 1;
                outcome.first_error.get_or_insert(reason);
                // A system that refuses at once must not be asked in a tight loop.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

fn histogram() -> Result<Histogram<u64>, String> {
    Histogram::new_with_bounds(1, MAX_MICROS, 3).map_err(|error| error.to_string())
}

fn key(index: u32) -> String {
    format!("bench-{index:08}")
}

fn value(bytes: usize) -> String {
    "v".repeat(bytes)
}
