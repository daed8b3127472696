//! What the process that started a node may tell it, over the node's standard input: a line of JSON each. Its end, which
//! comes however that process ends, ends the node.
//!
//! This is the only way to a [`Pretence`]: no configuration, environment or API leads to one, and a node that was not started
//! with `--exit-with-parent` does not listen.

use crate::shutdown::Trigger;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Read};
use tokio::sync::watch;

/// The longest line that is listened to.
const MAX_LINE: u64 = 4096;

/// What a node is made to take for true of its machine, for a drill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pretence {
    /// How far its wall clock is shifted, in milliseconds.
    pub clock_shift_ms: i64,
    /// Whether its disk has no room.
    pub disk_full: bool,
}

/// Follows the parent: what it says appears in the channel, and its end fires `trigger`.
pub fn follow(trigger: Trigger) -> watch::Receiver<Pretence> {
    let (tell, told) = watch::channel(Pretence::default());
    // A thread, since reading standard input cannot be cancelled and must not hold up a runtime's end.
    std::thread::spawn(move || {
        listen(&mut std::io::stdin().lock(), &tell);
        trigger.fire();
    });
    told
}

/// Takes in lines until the end.
fn listen(input: &mut impl BufRead, tell: &watch::Sender<Pretence>) {
    loop {
        let mut line = String::new();
        match input.take(MAX_LINE).read_line(&mut line) {
            Ok(0) => return,
            Ok(_) => match serde_json::from_str(&line) {
                Ok(pretence) => _ = tell.send_replace(pretence),
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
        let (tell, told) = watch::channel(Pretence::default());
        listen(&mut "{\"clock_shift_ms\":-5}\nwhat?\n{\"disk_ful\":true}\n".as_bytes(), &tell);
        assert_eq!(*told.borrow(), Pretence { clock_shift_ms: -5, disk_full: false });
        listen(&mut "{\"disk_full\":true}\n".as_bytes(), &tell);
        assert_eq!(*told.borrow(), Pretence { clock_shift_ms: 0, disk_full: true });
        let long = format!("{}{{}}\n", " ".repeat(5_000));
        listen(&mut long.as_bytes(), &tell);
        assert!(!told.borrow().disk_full, "the rest of a line that is too long is a line");
    }
}
