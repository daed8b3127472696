//! Which backend a request goes to next.

use std::num::Wrapping;

/// A backend as the choice sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The place of its region in the order that steering gave.
    pub rank: usize,
    /// How much it may be asked, in thousandths; 0 while it is out.
    pub share_permille: u64,
    /// Requests that it is at.
    pub in_flight: usize,
    /// Whether it is at as many as it may be.
    pub full: bool,
    /// Whether this request has been there.
    pub tried: bool,
}

/// The next backend for a request, by its number, or none. `draw` is any number, a new one each time.
///
/// The first region that was not tried comes first; in it the less busy of two that are drawn. One that has just returned is passed over as
/// its share says. When all that is left is out, it is asked all the same: a judge that errs must not take the service down by itself.
#[must_use]
pub fn pick(candidates: &[Candidate], draw: u64) -> Option<usize> {
    let first = candidates.iter().all(|c| !c.tried);
    let tried_rank = |rank| !first && candidates.iter().any(|c| c.tried && c.rank == rank);
    let class = |index: usize| {
        let c = candidates.get(index).filter(|c| !c.tried && !c.full)?;
        let passed_over = scatter(draw, index) % 1_000 >= c.share_permille;
        // A region where the request has failed comes after those where it was not.
        Some((c.share_permille == 0, passed_over, tried_rank(c.rank), c.rank))
    };
    let best = (0..candidates.len()).filter_map(class).min()?;
    let equals = || (0..candidates.len()).filter(|index| class(*index) == Some(best));
    let length = u64::try_from(equals().count()).ok()?;
    let at = |salt: usize| {
        let place = scatter(draw, salt).checked_rem(length)?;
        equals().nth(usize::try_from(place).ok()?)
    };
    let busy = |index: usize| candidates.get(index).map_or(usize::MAX, |c| c.in_flight);
    // Source: Mitzenmacher, "The power of two choices in randomized load balancing", 1996.
    let (one, other) = (at(usize::MAX)?, at(usize::MAX - 1)?);
    Some(if busy(other) < busy(one) { other } else { one })
}

/// SplitMix64.
fn scatter(draw: u64, salt: usize) -> u64 {
    let mut z = Wrapping(draw) + Wrapping(salt as u64) * Wrapping(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)) * Wrapping(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)) * Wrapping(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(rank: usize) -> Candidate {
        Candidate { rank, share_permille: 1_000, in_flight: 0, full: false, tried: false }
    }

    #[test]
    fn the_first_region_then_another() {
        let mut candidates = [candidate(0), candidate(0), candidate(1)];
        assert!((0..100).all(|draw| pick(&candidates, draw).unwrap() < 2));
        candidates[0].tried = true;
        assert_eq!(pick(&candidates, 1), Some(2), "another region before the rest of this one");
        candidates[2].tried = true;
        assert_eq!(pick(&candidates, 1), Some(1));
        candidates[1].full = true;
        assert_eq!(pick(&candidates, 1), None);
    }

    #[test]
    fn who_is_out_is_asked_last_and_who_is_back_now_and_then() {
        let mut candidates = [candidate(0), candidate(1)];
        candidates[0].share_permille = 0;
        assert!((0..100).all(|draw| pick(&candidates, draw) == Some(1)));
        candidates[1].tried = true;
        assert_eq!(pick(&candidates, 1), Some(0));
        candidates[1].tried = false;
        candidates[0].share_permille = 100;
        let first = (0..10_000).filter(|draw| pick(&candidates, *draw) == Some(0)).count();
        assert!((800..1_200).contains(&first), "{first}");
    }

    #[test]
    fn the_busy_are_spared() {
        let mut candidates = [candidate(0), candidate(0)];
        candidates[0].in_flight = 9;
        let first = (0..10_000).filter(|draw| pick(&candidates, *draw) == Some(0)).count();
        assert!((2_200..2_800).contains(&first), "both draws must fall on it: {first}");
    }

    proptest! {
        #[test]
        fn nobody_is_asked_twice_or_beyond_what_they_can(
            list in proptest::collection::vec((0_usize..4, 0_u64..=1_000, any::<bool>(), any::<bool>()), 0..12),
            draw in any::<u64>(),
        ) {
            let candidates: Vec<Candidate> = list.into_iter()
                .map(|(rank, share_permille, full, tried)| Candidate { rank, share_permille, in_flight: 0, full, tried })
                .collect();
            match pick(&candidates, draw) {
                Some(index) => {
                    let c = candidates[index];
                    prop_assert!(!c.full && !c.tried);
                    let better = |other: &&Candidate| !other.full && !other.tried && other.share_permille > 0;
                    prop_assert!(c.share_permille > 0 || candidates.iter().find(better).is_none());
                }
                None => prop_assert!(candidates.iter().all(|c| c.full || c.tried)),
            }
        }
    }
}
