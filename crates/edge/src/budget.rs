//! How many requests may be sent twice: a share of all, so that retries never become the load that they are to survive.
//!
//! Source: Finagle's `RetryBudget`.

/// What one request costs or brings, in thousandths.
const WHOLE: u64 = 1_000;
/// Retries that are possible before any request has brought its share.
const RESERVE: u64 = 100;
/// The most retries that are saved up.
const MOST: u64 = 1_000;

/// What may still be spent.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    share_permille: u64,
    balance: u64,
}

impl RetryBudget {
    /// A budget of this share of all requests, in thousandths.
    #[must_use]
    pub fn new(share_permille: u32) -> Self {
        let share_permille = u64::from(share_permille);
        // Without a share there is no reserve either: retries are off.
        Self { share_permille, balance: if share_permille == 0 { 0 } else { RESERVE * WHOLE } }
    }

    /// Counts a request.
    pub fn request(&mut self) {
        self.balance = (self.balance + self.share_permille).min(MOST * WHOLE);
    }

    /// Takes one retry, if there is one.
    pub fn take(&mut self) -> bool {
        match self.balance.checked_sub(WHOLE) {
            Some(rest) => {
                self.balance = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn retries_are_a_share_of_requests(share in 0_u32..1_000, steps in proptest::collection::vec(any::<bool>(), 0..3_000)) {
            let mut budget = RetryBudget::new(share);
            let (mut requests, mut retries) = (0_u64, 0_u64);
            for request in steps {
                if request {
                    budget.request();
                    requests += 1;
                } else if budget.take() {
                    retries += 1;
                }
                let reserve = if share == 0 { 0 } else { RESERVE };
                prop_assert!(retries * 1_000 <= requests * u64::from(share) + reserve * 1_000);
            }
        }
    }

    #[test]
    fn a_share_comes_back() {
        let mut budget = RetryBudget::new(200);
        while budget.take() {}
        (0..4).for_each(|_| budget.request());
        assert!(!budget.take());
        budget.request();
        assert!(budget.take() && !budget.take());
    }
}
