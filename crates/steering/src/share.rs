//! Shares of clients by hash: the same client goes the same way on every node, and a change moves only its share.
//!
//! Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998 (highest random weight), with weights by
//! Schindelhauer and Schomaker, "Weighted distributed hash tables", 2005.

use core::net::IpAddr;
use meridian_types::RegionName;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The largest number that a draw can be, plus one: 53 bits, what a float holds exactly.
const DRAWS: f64 = (1_u64 << 53) as f64;

/// Clients of one network of this size are one client where clients are shared out.
const SHARED_FOUR: u8 = 24;
/// As [`SHARED_FOUR`], for IPv6.
const SHARED_SIX: u8 = 56;

/// What stands for a client of whose address `prefix` bits are known, and how many of them are in it.
#[must_use]
pub fn client_key(address: IpAddr, prefix: u8) -> (u64, u8) {
    match address {
        IpAddr::V4(four) => {
            let prefix = prefix.min(SHARED_FOUR);
            let network = u32::from(four) & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            (xxh3_64(&network.to_be_bytes()), prefix)
        }
        IpAddr::V6(six) => {
            let prefix = prefix.min(SHARED_SIX);
            let network = u128::from(six) & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            (xxh3_64(&network.to_be_bytes()), prefix)
        }
    }
}

/// A client's draw for a region: above 0, at most 1, and even over clients.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
pub(crate) fn draw(client: u64, region: &RegionName) -> f64 {
    let hash = xxh3_64_with_seed(region.as_str().as_bytes(), client);
    ((hash >> 11) + 1) as f64 / DRAWS
}

/// A client's score for a region: the region with the least one is the client's. A region of weight `w` is first for `w` of the
/// sum of all weights; one of weight 0 is behind all others.
pub(crate) fn score(client: u64, region: &RegionName, weight: u32) -> f64 {
    if weight == 0 {
        return f64::INFINITY;
    }
    // A draw is at most 1, so no score is below 0.
    -libm::log(draw(client, region)) / f64::from(weight)
}
