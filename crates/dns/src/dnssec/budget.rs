//! How many signatures questions may cost that anybody can send in anybody's name.
//!
//! A name that is made up has a proof of its own that it is not there, and a signature takes longer than all the rest of an answer. So beyond
//! what honest resolvers need, whoever asks has to come over a stream, which shows that the address is the client's.

/// Signatures a second that are made for datagrams, for one zone: a tenth of a core or so. Those that are made already are not counted.
const PER_SECOND: u32 = 5_000;

/// Counts the signatures of a second.
#[derive(Debug, Default)]
pub(super) struct Budget {
    second: u64,
    made: u32,
}

impl Budget {
    /// Whether one more may be made at `now_s`; then it is counted.
    pub(super) fn take(&mut self, now_s: u64) -> bool {
        if self.second != now_s {
            *self = Self { second: now_s, made: 0 };
        }
        let left = self.made < PER_SECOND;
        self.made += u32::from(left);
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own() {
        let mut budget = Budget::default();
        for now_s in [7, 8, 3] {
            let taken = (0..3 * PER_SECOND).filter(|_| budget.take(now_s)).count();
            assert_eq!(taken, PER_SECOND as usize, "at {now_s}");
        }
    }
}
