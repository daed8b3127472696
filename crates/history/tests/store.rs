//! The checkers against a simulated store: a correct one is never accused, and each seeded bug is caught.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use meridian_history::{
    Call, ClientId, Consistency, FinalState, FinalViolation, History, Key, OpId, Operation, Outcome, Reply,
    SessionViolation, Value, check_final, check_linearizable, loss_age, session_violations, stale_reads,
};
use meridian_types::{GroupId, Incarnation, Position};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What is wrong with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// Consistent reads answer from the state of a while ago.
    StaleReads,
    /// At the fault the state of a while ago comes back.
    LostWrites,
    /// Every retried append is applied twice.
    DuplicateAppends,
}

/// One request as drawn: who, which key, what kind, when it starts, how long it waits before and after it takes effect.
type Draw = (u32, usize, u8, u64, u64, u64);

const FAULT_AT: u64 = 5_000;
const LAG: u64 = 400;

fn draws() -> impl Strategy<Value = Vec<Draw>> {
    proptest::collection::vec((0u32..4, 0usize..2, 0u8..12, 0u64..100, 1u64..300, 1u64..300), 1..60)
}

/// Runs the draws, each client one request after another, against a store with the bug.
fn run(draws: &[Draw], bug: Bug) -> (History, FinalState) {
    let mut clocks = [0u64; 4];
    let mut requests = Vec::new();
    for &(client, key, kind, pause, before, after) in draws {
        let clock = &mut clocks[client as usize];
        let invoked = *clock + pause;
        *clock = invoked + before + after;
        requests.push((invoked + before, invoked, *clock, client, key, kind));
    }
    requests.sort_unstable();
    let mut store =
        Store { bug, states: vec![(0, BTreeMap::new())], lists: BTreeMap::new(), fault_to_come: true };
    let mut history = History::new();
    for (index, (at, invoked, returned, client, key, kind)) in (1u64..).zip(requests) {
        let key: Key = format!("k{key}").into();
        let (call, outcome) = store.serve(at, &key, kind, Value(index));
        let (client, after, position) = (ClientId(client), vec![], None);
        history.push(Operation { client, key, call, outcome, invoked, returned, after, position });
    }
    let registers = store.states.pop().unwrap().1;
    (history, FinalState { registers, lists: store.lists, ..FinalState::default() })
}

struct Store {
    bug: Bug,
    /// The registers after each change, with its time.
    states: Vec<(u64, BTreeMap<Key, Value>)>,
    lists: BTreeMap<Key, Vec<Value>>,
    fault_to_come: bool,
}

impl Store {
    fn state(&self, at: u64) -> &BTreeMap<Key, Value> {
        &self.states.iter().rev().find(|(time, _)| *time <= at).unwrap().1
    }

    fn set(&mut self, at: u64, key: &Key, value: Value) {
        let mut state = self.state(at).clone();
        state.insert(key.clone(), value);
        self.states.push((at, state));
    }

    fn serve(&mut self, at: u64, key: &Key, kind: u8, value: Value) -> (Call, Outcome) {
        if at >= FAULT_AT && self.fault_to_come && self.bug == Bug::LostWrites {
            self.states.push((at, self.state(at - LAG).clone()));
            self.fault_to_come = false;
        }
        let now = self.state(at).get(key).copied();
        match kind {
            0..=3 => {
                let lag = if self.bug == Bug::StaleReads { LAG } else { 0 };
                let seen = self.state(at.saturating_sub(lag)).get(key).copied();
                (Call::Read(Consistency::Consistent), Outcome::Ok(Reply::Saw(seen)))
            }
            4..=6 => {
                self.set(at, key, value);
                (Call::Write(value), if kind == 6 { Outcome::Unknown } else { Outcome::Ok(Reply::Done) })
            }
            7 => (Call::Write(value), Outcome::Unknown),
            8 => (Call::Write(value), Outcome::Failed),
            9 => {
                let expected = if value.0.is_multiple_of(2) { now } else { Some(Value(value.0 / 2)) };
                let fits = expected == now;
                if fits {
                    self.set(at, key, value);
                }
                let reply = if fits { Reply::Done } else { Reply::Refused };
                (Call::CompareAndSet(expected, value), Outcome::Ok(reply))
            }
            _ => {
                let list = self.lists.entry(key.clone()).or_default();
                list.push(value);
                if self.bug == Bug::DuplicateAppends && kind == 11 {
                    list.push(value);
                }
                (Call::Append(value), Outcome::Ok(Reply::Done))
            }
        }
    }
}

/// Whether a linearization exists, by trying every order of every choice of unknown writes.
fn brute_force(history: &History) -> bool {
    fn fits(left: &[&Operation], value: Option<Value>) -> bool {
        let answered = |op: &&&Operation| matches!(op.outcome, Outcome::Ok(_));
        if !left.iter().any(|op| answered(&op)) {
            return true;
        }
        let horizon = left.iter().filter(answered).map(|op| op.returned).min().unwrap();
        (0..left.len()).filter(|i| left[*i].invoked <= horizon).any(|i| {
            let after = match (&left[i].call, left[i].outcome) {
                (Call::Read(_), Outcome::Ok(Reply::Saw(seen))) => (seen == value).then_some(value),
                (Call::Write(new), _) => Some(Some(*new)),
                (Call::CompareAndSet(old, _), Outcome::Ok(Reply::Refused)) => {
                    (*old != value).then_some(value)
                }
                (Call::CompareAndSet(old, new), _) => (*old == value).then_some(Some(*new)),
                _ => None,
            };
            let rest: Vec<_> = left.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, op)| *op).collect();
            after.is_some_and(|value| fits(&rest, value))
        })
    }
    let judged =
        |op: &&Operation| op.outcome != Outcome::Failed && !matches!(op.call, Call::Append(_) | Call::Add(_));
    fits(&history.iter().map(|(_, op)| op).filter(judged).collect::<Vec<_>>(), None)
}

/// Small histories of one key with answers drawn at random: some right, most wrong.
fn guessed() -> impl Strategy<Value = History> {
    let op = (0u8..7, 0u64..5, 0u64..5, 0u64..12, 0u64..8);
    proptest::collection::vec(op, 1..7).prop_map(|ops| {
        let mut history = History::new();
        for (index, (kind, seen, expected, invoked, length)) in (1u64..).zip(ops) {
            let some = |n: u64| (n > 0).then_some(Value(n));
            let value = Value(index);
            let (call, outcome) = match kind {
                0..=1 => (Call::Read(Consistency::Consistent), Outcome::Ok(Reply::Saw(some(seen)))),
                2 | 3 => (Call::Write(value), Outcome::Ok(Reply::Done)),
                4 => (Call::Write(value), Outcome::Unknown),
                5 => (Call::CompareAndSet(some(expected), value), Outcome::Ok(Reply::Done)),
                _ => (Call::CompareAndSet(some(expected), value), Outcome::Ok(Reply::Refused)),
            };
            let (client, key, returned) = (ClientId(0), "k".into(), invoked + length);
            history.push(Operation {
                client,
                key,
                call,
                outcome,
                invoked,
                returned,
                after: vec![],
                position: None,
            });
        }
        history
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_correct_store_is_never_accused(draws in draws()) {
        let (history, state) = run(&draws, Bug::None);
        prop_assert_eq!(check_final(&history, &state), vec![]);
        prop_assert_eq!(stale_reads(&history), vec![]);
        prop_assert_eq!(session_violations(&history), vec![]);
        prop_assert!(check_linearizable(&history, 100_000).is_linearizable());
    }

    #[test]
    fn the_search_agrees_with_trying_everything(history in guessed()) {
        let verdict = check_linearizable(&history, 100_000);
        prop_assert_eq!(verdict.undecided.len(), 0);
        prop_assert_eq!(verdict.is_linearizable(), brute_force(&history));
    }

    #[test]
    fn what_is_certainly_stale_is_not_linearizable(draws in draws()) {
        let (history, _) = run(&draws, Bug::StaleReads);
        if !stale_reads(&history).is_empty() {
            prop_assert!(!check_linearizable(&history, 100_000).is_linearizable());
        }
    }
}

/// A long fixed run: every client writes, reads and appends in turn.
fn busy(bug: Bug) -> (History, FinalState) {
    let kinds = [4, 0, 10, 5, 1, 11, 9, 2];
    let draws: Vec<Draw> = (0..400u32)
        .map(|n| (n % 4, (n / 4 % 2) as usize, kinds[(n / 3 % 8) as usize], u64::from(n % 7), 20, 30))
        .collect();
    run(&draws, bug)
}

#[test]
fn every_seeded_bug_is_caught_by_its_checker() {
    let (history, state) = busy(Bug::None);
    assert!(check_final(&history, &state).is_empty() && stale_reads(&history).is_empty());
    assert!(check_linearizable(&history, 100_000).is_linearizable());

    let (history, _) = busy(Bug::StaleReads);
    assert!(!stale_reads(&history).is_empty());
    assert!(!check_linearizable(&history, 100_000).violations.is_empty());
    assert!(
        session_violations(&history).iter().any(|v| matches!(v, SessionViolation::ReadYourWrites { .. }))
    );

    let (history, _) = busy(Bug::LostWrites);
    assert!(!check_linearizable(&history, 100_000).violations.is_empty());

    let (history, state) = busy(Bug::DuplicateAppends);
    let found = check_final(&history, &state);
    assert!(!found.is_empty());
    assert!(found.iter().all(|v| matches!(v, FinalViolation::Duplicate { times: 2, .. })), "{found:?}");
}

/// A history made by hand, on one key.
struct Script(History);

impl Script {
    fn op(&mut self, client: u32, call: Call, outcome: Outcome, at: (u64, u64), after: &[OpId]) -> OpId {
        let (invoked, returned) = at;
        let (client, key, after) = (ClientId(client), "k".into(), after.to_vec());
        self.0.push(Operation { client, key, call, outcome, invoked, returned, after, position: None })
    }

    fn write(&mut self, client: u32, value: u64, at: (u64, u64)) -> OpId {
        self.op(client, Call::Write(Value(value)), Outcome::Ok(Reply::Done), at, &[])
    }

    fn read(
        &mut self,
        client: u32,
        consistency: Consistency,
        seen: u64,
        at: (u64, u64),
        after: &[OpId],
    ) -> OpId {
        self.op(client, Call::Read(consistency), Outcome::Ok(Reply::Saw(Some(Value(seen)))), at, after)
    }
}

#[test]
fn a_rollback_loses_what_is_newer_than_what_is_left() {
    let mut script = Script(History::new());
    script.write(0, 1, (0, 10));
    let second = script.write(0, 2, (20, 30));
    let third = script.write(0, 3, (40, 50));
    let mut state = FinalState::default();
    state.registers.insert("k".into(), Value(1));
    let found = check_final(&script.0, &state);
    assert_eq!(found.iter().filter_map(FinalViolation::lost).collect::<Vec<_>>(), [second, third]);
    assert_eq!(loss_age(&script.0, &found, 100), 70);
    assert_eq!(loss_age(&script.0, &found, 25), 0);
    state.registers.insert("k".into(), Value(3));
    assert_eq!(check_final(&script.0, &state), vec![]);
    state.registers.clear();
    assert_eq!(check_final(&script.0, &state).len(), 3, "an empty register has lost everything");
    state.unread.insert("k".into());
    assert_eq!(check_final(&script.0, &state), vec![]);
}

#[test]
fn an_unknown_write_may_be_there_or_not_and_a_failed_one_may_not() {
    let mut script = Script(History::new());
    script.write(0, 1, (0, 10));
    script.op(0, Call::Write(Value(2)), Outcome::Unknown, (20, 30), &[]);
    script.op(0, Call::Write(Value(3)), Outcome::Failed, (40, 50), &[]);
    script.op(0, Call::Append(Value(7)), Outcome::Failed, (60, 70), &[]);
    let mut state = FinalState::default();
    for (holds, wrong) in [(1, 0), (2, 0), (3, 1), (9, 1)] {
        state.registers.insert("k".into(), Value(holds));
        assert_eq!(check_final(&script.0, &state).len(), wrong, "{holds}");
    }
    state.registers.insert("k".into(), Value(1));
    state.lists.insert("k".into(), vec![Value(7), Value(8)]);
    let phantom = |value| FinalViolation::Phantom { key: "k".into(), value: Value(value) };
    assert_eq!(check_final(&script.0, &state), vec![phantom(7), phantom(8)]);
}

#[test]
fn a_counter_lies_between_what_was_acknowledged_and_what_may_have_happened() {
    let mut script = Script(History::new());
    script.op(0, Call::Add(10), Outcome::Ok(Reply::Done), (0, 1), &[]);
    script.op(0, Call::Add(5), Outcome::Unknown, (2, 3), &[]);
    script.op(0, Call::Add(-2), Outcome::Unknown, (4, 5), &[]);
    script.op(0, Call::Add(100), Outcome::Failed, (6, 7), &[]);
    let mut state = FinalState::default();
    for (value, wrong) in [(8, 0), (10, 0), (15, 0), (7, 1), (16, 1), (20, 1)] {
        state.counters.insert("k".into(), value);
        assert_eq!(check_final(&script.0, &state).len(), wrong, "{value}");
    }
    state.counters.clear();
    assert_eq!(check_final(&script.0, &state).len(), 1, "a missing counter is 0");
}

#[test]
fn sessions_and_tokens_are_judged_and_plain_eventual_reads_are_not() {
    use Consistency::Eventual;
    let mut script = Script(History::new());
    script.write(0, 1, (0, 10));
    let second = script.write(0, 2, (20, 30));
    script.read(1, Eventual, 1, (40, 41), &[]);
    assert_eq!(session_violations(&script.0), vec![], "another client without a token may see the past");
    assert_eq!(stale_reads(&script.0), vec![]);
    let read = script.read(1, Eventual, 1, (50, 51), &[second]);
    let stale = SessionViolation::StaleToken { read, write: second };
    assert_eq!(session_violations(&script.0), vec![stale]);
    let read = script.read(0, Eventual, 1, (60, 61), &[]);
    let own = SessionViolation::ReadYourWrites { read, write: second };
    assert_eq!(session_violations(&script.0), vec![stale, own]);
    let earlier = script.read(2, Eventual, 2, (70, 71), &[]);
    let read = script.read(2, Eventual, 1, (80, 81), &[]);
    let backwards = SessionViolation::MonotonicReads { read, earlier };
    assert_eq!(session_violations(&script.0), vec![stale, own, backwards]);
    let read = script.read(3, Consistency::Consistent, 1, (90, 91), &[]);
    assert_eq!(stale_reads(&script.0), vec![(read, second)]);
}

#[test]
fn a_read_in_the_nanosecond_of_the_answer_comes_after_it_for_the_same_client() {
    let mut script = Script(History::new());
    script.write(0, 1, (0, 10));
    let write = script.write(0, 2, (20, 30));
    let read = script.read(0, Consistency::Eventual, 1, (30, 31), &[]);
    assert_eq!(session_violations(&script.0), vec![SessionViolation::ReadYourWrites { read, write }]);
}

#[test]
fn positions_order_writes_that_overlapped() {
    let mut history = History::new();
    for (value, index) in [(1, 7), (2, 6)] {
        history.push(Operation {
            client: ClientId(value),
            key: "k".into(),
            call: Call::Write(Value(u64::from(value))),
            outcome: Outcome::Ok(Reply::Done),
            invoked: 0,
            returned: 10,
            after: vec![],
            position: Some(Position { group: GroupId(1), incarnation: Incarnation(0), index }),
        });
    }
    let mut state = FinalState::default();
    state.registers.insert("k".into(), Value(2));
    assert_eq!(check_final(&history, &state), vec![FinalViolation::Lost { key: "k".into(), op: OpId(0) }]);
    state.registers.insert("k".into(), Value(1));
    assert_eq!(check_final(&history, &state), vec![]);
}

#[test]
fn the_search_is_bounded_and_names_what_does_not_fit() {
    let mut script = Script(History::new());
    for n in 0..12u32 {
        script.write(n, u64::from(n) + 1, (0, 100));
    }
    let odd = script.read(20, Consistency::Consistent, 99, (200, 210), &[]);
    let verdict = check_linearizable(&script.0, 500);
    assert_eq!((verdict.violations.len(), verdict.undecided.len()), (0, 1));
    let verdict = check_linearizable(&script.0, 1_000_000);
    assert_eq!(verdict.violations, vec![("k".into(), odd)]);
}

#[test]
fn a_long_history_is_judged_quickly() {
    let mut script = Script(History::new());
    for n in 0..20_000u64 {
        let at = n * 10;
        script.write(0, n + 1, (at, at + 8));
        script.read(1, Consistency::Consistent, n + 1, (at + 9, at + 10), &[]);
        if n % 100 == 0 {
            script.op(2, Call::Write(Value(1_000_000 + n)), Outcome::Unknown, (at, at + 5), &[]);
        }
    }
    assert!(check_linearizable(&script.0, 1_000_000).is_linearizable());
    assert_eq!(stale_reads(&script.0), vec![]);
}
