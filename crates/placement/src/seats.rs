//! How many votes each failure domain (region or zone) gets, so that losing any one of them leaves a majority.

use alloc::vec;
use alloc::vec::Vec;

/// Shares an odd number of votes, at most `max`, among domains of `sizes` nodes each, in order of preference.
///
/// Votes are dealt round by round, one a domain, so the preferred domains get the extra ones: three regions of two nodes with
/// `max` 5 get 2, 2, 1, and then the first region also survives a zone. The largest odd number is taken that leaves a
/// majority whichever single domain is lost; with fewer than three domains no number does, and the largest that the
/// nodes allow is taken. All zero when there are no nodes.
pub(crate) fn seats(sizes: &[usize], max: usize) -> Vec<usize> {
    let nodes = sizes.iter().sum::<usize>().min(max);
    let domains = sizes.iter().filter(|size| **size > 0).count();
    (1..=nodes)
        .rev()
        .filter(|total| total % 2 == 1)
        .map(|total| deal(sizes, total))
        .find(|dealt| domains < 3 || survives_any_domain(dealt))
        .unwrap_or_else(|| vec![0; sizes.len()])
}

/// Whether the domains other than any single one hold a majority of all votes.
pub(crate) fn survives_any_domain(seats: &[usize]) -> bool {
    let total: usize = seats.iter().sum();
    seats.iter().all(|lost| total - lost > total / 2)
}

fn deal(sizes: &[usize], total: usize) -> Vec<usize> {
    let mut dealt = vec![0; sizes.len()];
    let mut left = total;
    while left > 0 {
        let before = left;
        for (seats, size) in dealt.iter_mut().zip(sizes) {
            if left > 0 && *seats < *size {
                *seats += 1;
                left -= 1;
            }
        }
        if left == before {
            break;
        }
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shapes_that_people_deploy() {
        for (sizes, max, expected) in [
            (&[1usize, 1, 1][..], 5, &[1usize, 1, 1][..]),
            (&[3, 3, 3], 5, &[2, 2, 1]),
            (&[2, 1, 1], 5, &[1, 1, 1]),
            (&[2, 2, 1], 5, &[2, 2, 1]),
            (&[1, 1, 1, 1], 5, &[1, 1, 1, 0]),
            (&[2, 1, 1, 1], 5, &[2, 1, 1, 1]),
            (&[1, 1, 1, 1, 1, 1], 5, &[1, 1, 1, 1, 1, 0]),
            (&[1, 1], 5, &[1, 0]),
            (&[2, 2], 5, &[2, 1]),
            (&[3], 3, &[3]),
            (&[2], 3, &[1]),
            (&[3, 1, 1], 5, &[1, 1, 1]),
            (&[0, 0], 3, &[0, 0]),
            (&[], 3, &[]),
        ] {
            assert_eq!(seats(sizes, max), expected, "{sizes:?}");
        }
    }

    proptest! {
        #[test]
        fn three_domains_survive_any_one(sizes in proptest::collection::vec(1usize..6, 3..9), max in 3usize..10) {
            let dealt = seats(&sizes, max);
            let total: usize = dealt.iter().sum();
            prop_assert!(survives_any_domain(&dealt));
            prop_assert!(total % 2 == 1 && (3..=max).contains(&total));
            prop_assert!(dealt.iter().zip(&sizes).all(|(seats, size)| seats <= size));
        }
    }
}
