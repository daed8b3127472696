//! One BGP session (RFC 4271) with a router's BGP speaker, over which a node announces service addresses and takes them back.
//!
//! The session has neither a socket nor a clock: bytes and milliseconds go in, bytes come out. It only ever announces: what the speaker
//! sends is read for form and forgotten. Nothing is asked for that would keep an announcement alive without the node (no graceful restart), so
//! an address is gone from the speaker when the connection ends, and after the hold time when the node is frozen.
//!
//! The wire format is `zettabgp`'s; what is not here: when an address should be announced, which is `meridian_steering`'s to say.

mod message;
mod session;

pub use session::{Ended, NextHops, Session, Speaker, State};

/// The shortest hold time that the protocol knows, in seconds.
pub const MIN_HOLD_TIME_S: u16 = 3;
