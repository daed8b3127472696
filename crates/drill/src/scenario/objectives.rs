//! What is good enough.

use meridian_types::Replication;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::collections::BTreeMap;

/// What is good enough, in seconds. `None` asks for nothing; a file says `"none"`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Objectives {
    /// The longest time until writes succeed again through every region that is expected to serve.
    #[serde(deserialize_with = "limit")]
    pub rto_s: Option<f64>,
    /// The greatest age of an acknowledged write that was lost. Left out, it is 0 for sync and semi-sync tables, and
    /// nothing is asked of async ones, which promise nothing.
    #[serde(deserialize_with = "limit")]
    pub rpo_s: Option<f64>,
    /// As `rto_s`, of consistent reads.
    #[serde(deserialize_with = "limit", skip_serializing_if = "Option::is_none")]
    pub read_rto_s: Option<f64>,
    /// The longest time without a successful write on any lane of a region that is expected to serve.
    #[serde(deserialize_with = "limit", skip_serializing_if = "Option::is_none")]
    pub pause_s: Option<f64>,
    /// With a service: the longest time until its users succeed again through every edge that is expected to run; left out, `rto_s`.
    #[serde(deserialize_with = "limit", skip_serializing_if = "Option::is_none")]
    pub edge_rto_s: Option<f64>,
    /// With a service: the longest time until users succeed again at the backends that DNS names to them; left out, 15.
    #[serde(deserialize_with = "limit", skip_serializing_if = "Option::is_none")]
    pub dns_rto_s: Option<f64>,
}

impl Default for Objectives {
    fn default() -> Self {
        Self {
            rto_s: Some(5.0),
            rpo_s: None,
            read_rto_s: None,
            pause_s: None,
            edge_rto_s: None,
            dns_rto_s: None,
        }
    }
}

/// Objectives that stand in place of the others for tables of a kind of replication.
pub type ObjectivesOf = BTreeMap<Replication, Objectives>;

fn limit<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected seconds, or \"none\"")]
    enum Limit {
        Seconds(f64),
        Word(String),
    }
    match Limit::deserialize(d)? {
        Limit::Seconds(seconds) => Ok(Some(seconds)),
        Limit::Word(word) if word == "none" => Ok(None),
        Limit::Word(word) => Err(de::Error::custom(format!("{word:?} is neither seconds nor \"none\""))),
    }
}
