//! An authoritative name server that answers with the region which should serve the client.
//!
//! A message is answered by one pure function, [`respond`], from a [`View`]: zones made of services, their verdicts and zone files
//! ([`zone`]), and where clients are ([`geo`]), signed where zones have keys ([`dnssec`]). Which region serves is `meridian_steering`'s to say, as it is for every other way in. The wire
//! format is hickory's; the loops around it are in [`server`].
//!
//! Architecture invariants: nothing but [`server`] has a socket, a clock or a thread. No recursion: what is not ours is refused. One message
//! costs a bounded amount of memory and work, whatever is in it.

mod answer;
pub mod dnssec;
pub mod geo;
mod limit;
mod respond;
pub mod server;
pub mod zone;

pub use answer::Question;
pub use limit::{Limiter, Verdict as LimitVerdict};
pub use respond::{Kind, Outcome, Transport, respond};

use geo::Locator;
use zone::Zones;

/// All that answers are made of: replaced as a whole when any of it changes.
#[derive(Debug, Default)]
pub struct View {
    /// The zones.
    pub zones: Zones,
    /// Where clients are.
    pub locator: Locator,
    /// What this server says it is called, to those who ask (RFC 5001).
    pub nsid: Vec<u8>,
}
