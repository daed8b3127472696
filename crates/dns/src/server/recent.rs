//! Answers of one thread to what was asked lately: the same bytes from the same address have the same answer for as long as the view is the same.
//!
//! A resolver asks for the same few names again and again. What is asked once, as in a flood of made-up names, takes no room: an answer is kept
//! when its question comes for the second time.

use crate::respond::Outcome;
use std::net::IpAddr;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Questions that have a place. What falls on the same one drives the other out.
const PLACES: usize = 4_096;
/// The longest question and the longest answer that are kept: with them a thread keeps 6 MiB at most.
const LONGEST_QUESTION: usize = 256;
const LONGEST_ANSWER: usize = 1_232;
/// For how long an answer is kept, in seconds: signatures in it last for days.
const KEPT_S: u64 = 10;
/// The number of a message, which the answer repeats.
const ID: usize = 2;

#[derive(Debug)]
struct Answer {
    question: Box<[u8]>,
    bytes: Box<[u8]>,
    outcome: Outcome,
    view: u64,
    at_s: u64,
}

#[derive(Debug, Default)]
struct Place {
    /// The hash of what was asked here last and had no answer yet.
    asked: u64,
    answer: Option<Answer>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Recent {
    places: Vec<Place>,
    seed: u64,
    key: Vec<u8>,
    hash: u64,
}

impl Recent {
    /// Nothing yet. `seed` is any number that strangers do not know.
    pub(super) fn new(seed: u64) -> Self {
        let mut places = Vec::new();
        places.resize_with(PLACES, Place::default);
        Self { places, seed, key: Vec::new(), hash: 0 }
    }

    /// Copies the answer to a message into `out`, if it is known for this version of the view.
    pub(super) fn find(
        &mut self,
        from: IpAddr,
        message: &[u8],
        view: u64,
        now_s: u64,
        out: &mut Vec<u8>,
    ) -> Option<Outcome> {
        self.key.clear();
        let (id, question) = message.split_at_checked(ID)?;
        if question.len() > LONGEST_QUESTION {
            return None;
        }
        match from {
            IpAddr::V4(address) => self.key.extend_from_slice(&address.octets()),
            IpAddr::V6(address) => self.key.extend_from_slice(&address.octets()),
        }
        self.key.extend_from_slice(question);
        self.hash = xxh3_64_with_seed(&self.key, self.seed);
        let answer = self.places.get(self.number())?.answer.as_ref()?;
        let fresh = answer.view == view && now_s.saturating_sub(answer.at_s) < KEPT_S;
        if !fresh || *answer.question != *self.key {
            return None;
        }
        out.clear();
        out.extend_from_slice(id);
        out.extend_from_slice(answer.bytes.get(ID..)?);
        Some(answer.outcome)
    }

    /// Keeps the answer to the message that was last looked for, if there is one and it was asked before.
    pub(super) fn keep(&mut self, bytes: &[u8], outcome: Outcome, view: u64, at_s: u64) {
        if self.key.is_empty() || outcome == Outcome::Nothing || bytes.len() > LONGEST_ANSWER {
            return;
        }
        let number = self.number();
        let Some(place) = self.places.get_mut(number) else { return };
        if place.asked == self.hash {
            let (question, bytes) = (self.key.as_slice().into(), bytes.into());
            place.answer = Some(Answer { question, bytes, outcome, view, at_s });
        } else {
            place.asked = self.hash;
        }
    }

    fn number(&self) -> usize {
        usize::try_from(self.hash % PLACES as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::respond::Kind;

    const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const REPLY: Outcome = Outcome::Reply { kind: Kind::Answer, truncated: false, fail_open: false };

    /// Asks, and gives `answer` where none is known; whether one was.
    fn ask(recent: &mut Recent, message: &[u8], (view, now_s): (u64, u64), answer: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![9; 9];
        match recent.find(FROM, message, view, now_s, &mut out) {
            Some(outcome) => {
                assert_eq!(outcome, REPLY);
                Some(out)
            }
            None => {
                recent.keep(answer, REPLY, view, now_s);
                None
            }
        }
    }

    #[test]
    fn what_is_asked_again_is_answered_with_its_own_number() {
        let mut recent = Recent::new(7);
        assert_eq!(ask(&mut recent, b"1-who", (1, 0), b"1-you"), None);
        assert_eq!(ask(&mut recent, b"2-who", (1, 0), b"2-you"), None, "kept the second time");
        assert_eq!(ask(&mut recent, b"3-who", (1, 1), b""), Some(b"3-you".to_vec()));
        assert_eq!(ask(&mut recent, b"3-whO", (1, 1), b"3-YOU"), None);
        assert_eq!(recent.find(IpAddr::from([127, 0, 0, 2]), b"3-who", 1, 1, &mut Vec::new()), None);
    }

    #[test]
    fn another_view_and_time_end_an_answer() {
        let mut recent = Recent::new(7);
        (0..2).for_each(|_| drop(ask(&mut recent, b"1-who", (1, 0), b"1-you")));
        assert!(ask(&mut recent, b"1-who", (1, KEPT_S - 1), b"").is_some());
        assert_eq!(ask(&mut recent, b"1-who", (1, KEPT_S), b"1-you"), None);
        assert!(ask(&mut recent, b"1-who", (1, KEPT_S), b"").is_some(), "it was asked before");
        assert_eq!(ask(&mut recent, b"1-who", (2, KEPT_S), b"1-me"), None);
        assert_eq!(ask(&mut recent, b"1-who", (2, KEPT_S), b""), Some(b"1-me".to_vec()));
    }

    #[test]
    fn what_is_too_long_or_too_short_is_not_kept() {
        let mut recent = Recent::new(7);
        let long = [1; ID + LONGEST_QUESTION + 1];
        for message in [&long[..], b"1", b""] {
            (0..3).for_each(|_| assert_eq!(ask(&mut recent, message, (1, 0), b"1-you"), None));
        }
        (0..3).for_each(|_| assert_eq!(ask(&mut recent, b"1-who", (1, 0), &[1; LONGEST_ANSWER + 1]), None));
    }
}
