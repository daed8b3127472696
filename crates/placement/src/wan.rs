//! Measured round-trip times between the regions of a public cloud: the built-in answer to "how far".
//!
//! Used to find a region's nearest neighbours when nothing better is configured, and as the `realistic` WAN model of a
//! development cluster. Lists facts only; what to make of an unlisted pair is decided in [`crate::Distances`].

/// Where and when [`rtt_ms`]'s figures were measured, in words for reports.
pub const SOURCE: &str =
    "cloudping.co, TCP round trips between AWS regions, median over one year, read in mid-2025";

/// The regions that the table knows.
pub const REGIONS: [&str; 22] = [
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "ca-central-1",
    "sa-east-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-central-1",
    "eu-north-1",
    "eu-south-1",
    "af-south-1",
    "me-south-1",
    "me-central-1",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-east-1",
];

/// Row k: milliseconds from `REGIONS[k]` to each region before it.
///
/// Source: the matrix that cloudping.co publishes (`/api/latencies?percentile=p_50&timeframe=1Y`), rounded to whole
/// milliseconds. The two directions of a pair agree within a few milliseconds; where they do not (us-west-2 with
/// me-south-1, eu-west-1 with ap-east-1) the mean of both is taken.
#[rustfmt::skip]
const ROWS: [&[u16]; 22] = [
    &[],
    &[16],
    &[64, 52],
    &[64, 51, 22],
    &[16, 27, 80, 61],
    &[115, 125, 175, 175, 126],
    &[70, 80, 130, 119, 69, 178],
    &[78, 88, 148, 129, 79, 187, 14],
    &[84, 95, 144, 136, 86, 196, 20, 12],
    &[93, 103, 153, 142, 93, 204, 27, 18, 12],
    &[112, 123, 172, 155, 105, 223, 40, 31, 32, 23],
    &[102, 112, 162, 152, 102, 213, 36, 28, 21, 13, 32],
    &[226, 236, 286, 273, 223, 337, 158, 150, 145, 155, 174, 189],
    &[162, 172, 222, 239, 163, 273, 99, 89, 87, 87, 106, 114, 251],
    &[194, 205, 257, 257, 197, 307, 131, 123, 116, 117, 137, 108, 285, 17],
    &[190, 200, 232, 222, 191, 301, 125, 117, 109, 129, 148, 110, 274, 38, 30],
    &[219, 204, 171, 161, 215, 328, 179, 170, 167, 161, 181, 152, 317, 98, 90, 64],
    &[200, 188, 139, 141, 198, 312, 256, 266, 280, 252, 272, 242, 409, 189, 180, 155, 95],
    &[150, 136, 109, 99, 147, 258, 202, 213, 219, 228, 247, 218, 358, 175, 169, 134, 71, 107],
    &[180, 165, 134, 124, 176, 289, 233, 244, 250, 232, 250, 222, 387, 167, 163, 135, 74, 145, 36],
    &[154, 142, 110, 100, 151, 264, 208, 219, 225, 234, 253, 225, 375, 171, 163, 138, 77, 120, 10, 25],
    &[198, 185, 156, 146, 203, 316, 242, 205, 201, 194, 213, 184, 353, 131, 125, 98, 38, 128, 52, 39, 47],
];

/// The measured round-trip time between two regions in milliseconds; 0 within one region, `None` when either is not in
/// the table.
#[must_use]
pub fn rtt_ms(a: &str, b: &str) -> Option<u32> {
    let index = |name: &str| REGIONS.iter().position(|region| *region == name);
    let (a, b) = (index(a)?, index(b)?);
    if a == b {
        return Some(0);
    }
    ROWS.get(a.max(b))?.get(a.min(b)).map(|&rtt| u32::from(rtt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole_symmetric_and_plausible() {
        for (k, row) in ROWS.iter().enumerate() {
            assert_eq!(row.len(), k, "row of {}", REGIONS[k]);
        }
        for a in REGIONS {
            for b in REGIONS {
                let rtt = rtt_ms(a, b).unwrap();
                assert_eq!(rtt_ms(b, a), Some(rtt));
                assert_eq!(rtt == 0, a == b);
                assert!(rtt < 450, "{a} {b}");
            }
        }
        assert_eq!(rtt_ms("us-east-1", "mars-1"), None);
    }

    #[test]
    fn figures_of_the_default_regions_are_pinned() {
        assert_eq!(rtt_ms("us-east-1", "eu-west-1"), Some(70));
        assert_eq!(rtt_ms("us-east-1", "ap-southeast-1"), Some(219));
        assert_eq!(rtt_ms("eu-west-1", "ap-southeast-1"), Some(179));
    }
}
