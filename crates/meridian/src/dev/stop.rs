//! `meridian dev stop`: ends the supervisor of a folder, and whatever outlived an earlier one.

use super::folder::{Folder, FolderError, holder};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longer than the supervisor gives its nodes.
const LIMIT: Duration = Duration::from_secs(25);

/// Why the cluster could not be stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// Nothing runs there.
    #[error("no cluster is running in {}; name its folder with --dir", .0.display())]
    NotRunning(PathBuf),
    /// The supervisor cannot be told.
    #[error("cannot signal process {pid}: {source}")]
    Signal {
        /// The supervisor.
        pid: u32,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The supervisor ended, its nodes before it.
    Cleanly,
    /// The supervisor did not end in time and was killed; its nodes end with it.
    Killed,
    /// There was no supervisor, but this many nodes that had outlived it.
    Leftovers(usize),
}

/// Stops the cluster of `dir` and waits until it has ended.
///
/// # Errors
/// [`StopError`].
pub async fn stop(dir: &Path) -> Result<Stopped, StopError> {
    let Some(pid) = holder(dir) else {
        let leftovers = if dir.is_dir() { Folder::take(dir)?.end_leftovers() } else { 0 };
        if leftovers > 0 {
            return Ok(Stopped::Leftovers(leftovers));
        }
        return Err(StopError::NotRunning(dir.to_owned()));
    };
    signal(pid, Signal::TERM)?;
    if ends(dir, LIMIT).await {
        return Ok(Stopped::Cleanly);
    }
    signal(pid, Signal::KILL)?;
    ends(dir, LIMIT).await;
    _ = Folder::take(dir)?.end_leftovers();
    Ok(Stopped::Killed)
}

fn signal(pid: u32, signal: Signal) -> Result<(), StopError> {
    let Some(process) = Pid::from_raw(pid.cast_signed()) else { return Ok(()) };
    kill_process(process, signal).map_err(|error| StopError::Signal { pid, source: error.into() })
}

/// Waits until nobody holds the folder.
async fn ends(dir: &Path, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while holder(dir).is_some() {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}
