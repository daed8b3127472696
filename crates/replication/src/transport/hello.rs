//! What both sides of a new stream say of themselves before anything else, and who may come in.
//!
//! The rule of versions: a node speaks the protocols [`OLDEST_PROTOCOL`] to [`PROTOCOL`], the newest and the one before it, so nodes
//! can be upgraded one by one. It uses what a protocol has brought once that is the cluster's level, and lets nobody in from then on
//! who does not speak it. Words of a greeting that are not known are passed over; new ones may be added.

use meridian_types::{NodeId, NodeName};
use std::fmt;
use std::str::FromStr;

/// The protocol that this version speaks, and the highest level that it can take a cluster to: the messages between nodes, the
/// commands and entries in their logs, and what is on their disks. One more with the first change since a release that a node of
/// that release would misread.
pub const PROTOCOL: u32 = meridian_store::FORMAT;
/// The oldest protocol that this version still understands.
pub const OLDEST_PROTOCOL: u32 = 1;

/// A node's greeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Its number.
    pub node: NodeId,
    /// Its name, which its certificate carries.
    pub name: NodeName,
    /// The cluster that it belongs to.
    pub cluster: String,
    /// The disk that it has.
    pub disk: u64,
    /// The disk that it knows the other side by, if it does.
    pub expects: Option<u64>,
    /// The oldest protocol that it speaks.
    pub oldest: u32,
    /// The newest.
    pub newest: u32,
}

/// Why a peer is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    /// In words, with the fix.
    pub why: String,
    /// Whether no later try can end otherwise: the peer should give up.
    pub for_good: bool,
}

impl Refusal {
    /// For now.
    #[must_use]
    pub fn now(why: impl Into<String>) -> Self {
        Self { why: why.into(), for_good: false }
    }

    /// For good.
    #[must_use]
    pub fn for_good(why: impl Into<String>) -> Self {
        Self { why: why.into(), for_good: true }
    }
}

/// Knows the nodes of the cluster: greets peers, and says who may come in.
pub trait Doorman: Send + Sync + 'static {
    /// What this node says to `peer`.
    fn hello(&self, peer: NodeId) -> Hello;

    /// Whether the peer that greets so is let in.
    ///
    /// # Errors
    /// [`Refusal`].
    fn admit(&self, hello: &Hello) -> Result<(), Refusal>;

    /// How a peer is reached on the given try, counted from 0; `None` when it is no peer any more.
    fn address(&self, peer: NodeId, attempt: usize) -> Option<super::PeerAddress>;

    /// A peer has said that this node is not to come back.
    fn expelled(&self, why: &str);
}

impl fmt::Display for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, name, cluster, disk, expects, oldest, newest } = self;
        write!(f, "protocol={oldest}-{newest} node={node} name={name} cluster={cluster} disk={disk:016x}")?;
        expects.map_or(Ok(()), |expects| write!(f, " expects={expects:016x}"))
    }
}

impl FromStr for Hello {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let word = |key: &str| {
            let mut words = text.split(' ').filter_map(|word| word.split_once('='));
            words.find(|(found, _)| *found == key).map(|(_, value)| value)
        };
        let unread = |key: &str| Refusal::now(format!("the greeting has no usable {key:?}"));
        let read = |key: &'static str| word(key).ok_or_else(|| unread(key));
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let range =
            read("protocol")?.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let (oldest, newest) = range.ok_or_else(|| unread("protocol"))?;
        Ok(Self {
            node: NodeId(read("node")?.parse().map_err(|_| unread("node"))?),
            name: NodeName::new(read("name")?).map_err(|_| unread("name"))?,
            cluster: read("cluster")?.to_owned(),
            disk: hex(read("disk")?).ok_or_else(|| unread("disk"))?,
            expects: word("expects").map(|text| hex(text).ok_or_else(|| unread("expects"))).transpose()?,
            oldest,
            newest,
        })
    }
}

impl Hello {
    /// Whether both sides speak a common protocol and belong to the same cluster.
    ///
    /// # Errors
    /// [`Refusal`], with the fix.
    pub fn understands(&self, other: &Hello) -> Result<(), Refusal> {
        if other.newest < self.oldest || self.newest < other.oldest {
            return Err(Refusal::now(format!(
                "node {} speaks protocols {} to {}, node {} speaks {} to {}: run the newer version on both, upgrading one version at a time",
                other.name, other.oldest, other.newest, self.name, self.oldest, self.newest
            )));
        }
        if self.cluster != other.cluster {
            return Err(Refusal::now(format!(
                "node {} belongs to cluster {:?}, node {} to {:?}; correct cluster.name",
                other.name, other.cluster, self.name, self.cluster
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            node: NodeId(3),
            name: NodeName::new("eu-1").expect("a name"),
            cluster: "shop".to_owned(),
            disk: 0xab,
            expects: Some(7),
            oldest: 1,
            newest: 2,
        }
    }

    #[test]
    fn a_greeting_survives_the_wire_and_words_of_a_later_version() {
        let said = hello().to_string();
        assert_eq!(said.parse(), Ok(hello()));
        assert_eq!(format!("{said} mood=good =x").parse(), Ok(hello()));
        let without = Hello { expects: None, ..hello() };
        assert_eq!(without.to_string().parse(), Ok(without));
        for broken in
            ["", "node=3", "protocol=1 node=3 name=a cluster=b disk=1", "protocol=1-1 node=x name=a"]
        {
            assert!(broken.parse::<Hello>().is_err(), "{broken}");
        }
    }

    #[test]
    fn versions_that_overlap_understand_each_other() {
        let at = |oldest, newest| Hello { oldest, newest, ..hello() };
        assert_eq!(at(1, 2).understands(&at(2, 3)), Ok(()));
        assert_eq!(at(2, 3).understands(&at(1, 2)), Ok(()));
        let refused = at(1, 2).understands(&at(3, 4)).expect_err("too far apart");
        assert!(refused.why.contains("one version at a time") && !refused.for_good, "{refused}");
        let foreign = Hello { cluster: "other".to_owned(), ..hello() };
        assert!(hello().understands(&foreign).expect_err("not ours").why.contains("cluster.name"));
    }
}
