//! The stretch of a leadership within which this node may evaluate writes and serve consistent reads.

use super::LeaderId;

/// One leadership, from an entry on that its leader has applied: all that was proposed before is then decided.
///
/// A leadership has a new session whenever one of its proposals was refused. What had been evaluated on top of the
/// refused one must not take effect: the state machine skips it, since every entry says its session and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// The leadership.
    pub(crate) leader: LeaderId,
    /// The index of the barrier with which the session began; no other session has it.
    pub(crate) barrier: u64,
}
