//! The wide-area network of a development cluster: a TCP relay between regions with real delays.
//!
//! Every ordered pair of nodes in different regions has a listener that the first dials to reach the second. The relay
//! runs inside the supervisor, so a frozen or killed node does not disturb the links of the others.
//! What it emulates is what TCP shows to programs: delay, jitter, bandwidth, and loss as the time that repairing it takes.
//! Nodes of one region, and all nodes under `--wan none`, dial each other directly.
//!
//! What is not here: lost, changed or reordered bytes, which TCP never shows.

mod connection;
mod link;
mod model;
mod pipe;
mod relay;
mod timer;

pub use model::{LinkSpec, WanError, WanModel};
pub use relay::{StartError, Wan, WanNode};
