//! `meridian dev --detach`: the same command once more as a background process, left alone when its cluster is ready.

use super::cluster_file::ClusterFile;
use super::folder::FolderError;
use super::run::{DevError, tail};
use crate::files::PRIVATE;
use crate::shutdown::Shutdown;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How much of the background process's log is shown when it fails.
const TAIL: u64 = 3000;

/// What became of the background process.
#[derive(Debug)]
pub enum Detached {
    /// Its cluster is ready.
    Ready(Box<ClusterFile>),
    /// It ended with this exit code; its last words are here.
    Failed(u8, String),
    /// It was told to end before its cluster was ready.
    Interrupted,
}

/// Starts `arguments` of this binary in the background and waits until its cluster in `dir` is ready.
///
/// The new process makes a session of its own (`--background`), so the terminal's end does not reach it.
///
/// # Errors
/// [`DevError::Folder`] when the folder cannot be made, [`DevError::Io`] when the process cannot be started.
pub async fn run_detached(
    arguments: Vec<OsString>,
    dir: &Path,
    shutdown: &Shutdown,
) -> Result<Detached, DevError> {
    fs::create_dir_all(dir).map_err(FolderError::unusable(dir))?;
    // Not among the nodes' logs, which --fresh discards.
    let path = dir.join("supervisor.log");
    let log = OpenOptions::new().create(true).write(true).truncate(true).mode(PRIVATE).open(&path)?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let mut interrupted = false;
    loop {
        if let Some(status) = child.try_wait()? {
            if interrupted {
                return Ok(Detached::Interrupted);
            }
            let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
            return Ok(Detached::Failed(code.max(1), tail(&path, TAIL)));
        }
        if let Some(file) =
            ClusterFile::find(dir).filter(|file| file.supervisor.pid == child.id() && !interrupted)
        {
            return Ok(Detached::Ready(Box::new(file)));
        }
        if shutdown.is_requested() && !interrupted {
            interrupted = true;
            if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
                // It may just have ended; the next look tells.
                _ = kill_process(pid, Signal::TERM);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Makes this process the leader of a new session, out of reach of the terminal that started it.
///
/// # Errors
/// When it leads a process group already, as it does when a shell starts it directly.
pub fn leave_terminal() -> std::io::Result<()> {
    rustix::process::setsid().map(|_| ()).map_err(Into::into)
}
