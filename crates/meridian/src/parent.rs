//! What the process that started a node may tell it, over the node's standard input: a line of JSON each. Its end, which
//! comes however that process ends, ends the node.
//!
//! A development cluster also tells a node through which relay it reaches nodes that joined after it started.
//!
//! This is the only way to a [`Pretence`]: no configuration, environment or API leads to one, and a node that was not started
//! with `--exit-with-parent` does not listen.

use crate::shutdown::Trigger;
use meridian_types::NodeName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, Read};
use tokio::sync::watch;

/// The longest line that is listened to.
const MAX_LINE: u64 = 64 << 10;

/// What a node is made to take for true of its machine, for a drill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pretence {
    /// How far its wall clock is shifted, in milliseconds.
    pub clock_shift_ms: i64,
    /// Whether its disk has no room.
    pub disk_full: bool,
}

/// Where a node reaches its peers instead of where the cluster knows them, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routes {
    /// `host:port` by the peer's name; all that there are.
    pub routes: BTreeMap<NodeName, String>,
}

/// What a line says.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Routes(Routes),
    Pretence(Pretence),
}

/// All that the parent has told.
pub struct Told {
    /// What is to be taken for true.
    pub pretence: watch::Receiver<Pretence>,
    /// Where peers are reached.
    pub routes: watch::Receiver<Routes>,
}

struct Tell {
    pretence: watch::Sender<Pretence>,
    routes: watch::Sender<Routes>,
}

fn channels() -> (Tell, Told) {
    let (tell_pretence, pretence) = watch::channel(Pretence::default());
    let (tell_routes, routes) = watch::channel(Routes::default());
    (Tell { pretence: tell_pretence, routes: tell_routes }, Told { pretence, routes })
}

/// Follows the parent: what it says appears in the channels, and its end fires `trigger`.
pub fn follow(trigger: Trigger) -> Told {
    let (tell, told) = channels();
    // A thread, since reading standard input cannot be cancelled and must not hold up a runtime's end.
    std::thread::spawn(move || {
        listen(&mut std::io::stdin().lock(), &tell);
        trigger.fire();
    });
    told
}

/// Takes in lines until the end.
fn listen(input: &mut impl BufRead, tell: &Tell) {
    loop {
        let mut line = String::new();
        match input.take(MAX_LINE).read_line(&mut line) {
            Ok(0) => return,
            Ok(_) => match serde_json::from_str(&line) {
                Ok(Line::Routes(routes)) => _ = tell.routes.send_replace(routes),
                Ok(Line::Pretence(pretence)) => _ = tell.pretence.send_replace(pretence),
                Err(error) => tracing::warn!(%error, "a line of the parent is not understood"),
            },
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_is_understood_counts() {
        let (tell, told) = channels();
        let now = || *told.pretence.borrow();
        listen(&mut "{\"clock_shift_ms\":-5}\nwhat?\n{\"disk_ful\":true}\n".as_bytes(), &tell);
        assert_eq!(now(), Pretence { clock_shift_ms: -5, disk_full: false });
        listen(&mut "{\"disk_full\":true}\n".as_bytes(), &tell);
        assert_eq!(now(), Pretence { clock_shift_ms: 0, disk_full: true });
        let long = format!("{}{{}}\n", " ".repeat(70_000));
        listen(&mut long.as_bytes(), &tell);
        assert!(!now().disk_full, "the rest of a line that is too long is a line");
    }

    #[test]
    fn routes_are_told_whole_and_leave_the_rest_alone() {
        let (tell, told) = channels();
        let lines = "{\"disk_full\":true}\n{\"routes\":{\"n2\":\"127.0.0.1:9\"}}\n";
        listen(&mut lines.as_bytes(), &tell);
        let name = NodeName::new("n2").expect("a name");
        assert_eq!(told.routes.borrow().routes.get(&name).map(String::as_str), Some("127.0.0.1:9"));
        assert!(told.pretence.borrow().disk_full);
    }
}
