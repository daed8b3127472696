//! Shares of clients by hash: the same client goes the same way on every node, and a change moves only its share.
//!
//! Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998 (highest random weight), with weights by
//! Schindelhauer and Schomaker, "Weighted distributed hash tables", 2005.

use meridian_types::RegionName;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The largest number that a draw can be, plus one: 53 bits, what a float holds exactly.
const DRAWS: f64 = (1_u64 << 53) as f64;

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
