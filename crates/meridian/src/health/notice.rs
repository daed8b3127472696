//! What nodes tell each other about health, as bytes.

use bytes::Bytes;
use meridian_steering::Report;
use meridian_types::RegionName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Another version is another message: a node of one version takes no notice of the other's.
const VERSION: u8 = 1;

/// All that one node observes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notice {
    version: u8,
    /// What it finds up and down.
    pub report: Report,
    /// Its round trips to the nearest node of each region, in milliseconds.
    pub round_trips_ms: BTreeMap<RegionName, u32>,
}

impl Notice {
    pub(super) fn new(report: Report, round_trips_ms: BTreeMap<RegionName, u32>) -> Self {
        Self { version: VERSION, report, round_trips_ms }
    }

    pub(super) fn encode(&self) -> Result<Bytes, postcard::Error> {
        postcard::to_stdvec(self).map(Bytes::from)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        match bytes.first() {
            Some(&VERSION) => postcard::from_bytes(bytes),
            _ => Err(postcard::Error::DeserializeBadEncoding),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_steering::{Observation, Target};

    #[test]
    fn a_notice_comes_back_and_garbage_does_not() {
        let region = RegionName::new("a").unwrap();
        let seen = Observation { up: false, error_permille: Some(7), detail: "refused".to_owned() };
        let notice = Notice::new(vec![(Target::Region(region.clone()), seen)], [(region, 80)].into());
        let bytes = notice.encode().unwrap();
        assert_eq!(Notice::decode(&bytes), Ok(notice));
        for length in 0..bytes.len() {
            Notice::decode(&bytes[..length]).unwrap_err();
        }
        Notice::decode(&[2; 40]).unwrap_err();
        Notice::decode(&[1, 255, 255, 255, 255, 15]).unwrap_err();
    }
}
