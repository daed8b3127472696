//! What can go wrong in the store, in words that say what to do about it.

use meridian_types::GroupId;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a call to the store did not do what it was asked.
///
/// Cloneable, because one failed fsync answers every writer that waited for it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file or directory of the store could not be used.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: Arc<std::io::Error>,
    },
    /// Another process (or another `Store` of this process) has the directory open.
    #[error("the store in {} is in use by another process", dir.display())]
    Locked {
        /// The store's directory.
        dir: PathBuf,
    },
    /// The directory holds a store of a format that this version does not read, or no store at all.
    #[error("{} holds an unknown store format ({found}); this version reads formats 1 to {supported}. If a newer version wrote it, run that one", dir.display())]
    UnknownFormat {
        /// The store's directory.
        dir: PathBuf,
        /// What the format file says.
        found: String,
        /// The newest format that this version reads and writes.
        supported: u32,
    },
    /// Bytes on disk are not what was written. They are never served; fetch the data from a peer again.
    #[error("corrupt data{}: {detail}", at(*group, *index))]
    Corrupt {
        /// The group whose data is damaged, when it is known.
        group: Option<GroupId>,
        /// The log index of the damaged record, when it is one.
        index: Option<u64>,
        /// What does not fit.
        detail: String,
    },
    /// A log entry that lies between the first and the last one is not there.
    #[error("the log of group {group} has no entry {index}")]
    Hole {
        /// The group.
        group: GroupId,
        /// The index of the missing entry.
        index: u64,
    },
    /// Appended entries do not follow the last entry of the log. Nothing was written.
    #[error("the log of group {group} goes on at {expected}, not at {found}")]
    NotContiguous {
        /// The group.
        group: GroupId,
        /// The index that the next entry must have.
        expected: u64,
        /// The index that was given.
        found: u64,
    },
    /// Too little space is left on the disk. Nothing was written; try again once space was made.
    #[error("the disk is nearly full: {free_bytes} bytes free, writes need {min_free}")]
    DiskFull {
        /// Bytes free for this process.
        free_bytes: u64,
        /// Below this the store takes no new entries.
        min_free: u64,
    },
    /// The engine cannot keep up with flushing; nothing was written. Try again later.
    #[error("the storage engine is behind with flushing and compaction")]
    Busy,
    /// An argument is beyond a limit of the store. Nothing was written.
    #[error("{what} of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A state is already being installed into this group.
    #[error("group {group} is already installing a state")]
    InstallRunning {
        /// The group.
        group: GroupId,
    },
    /// The group was destroyed through another handle.
    #[error("group {group} was destroyed")]
    Destroyed {
        /// The group.
        group: GroupId,
    },
    /// The engine reported an error while reading.
    #[error("{action}: {source}")]
    Engine {
        /// What was attempted.
        action: &'static str,
        /// The engine's error.
        source: Arc<fjall::Error>,
    },
    /// An earlier write or fsync failed, so what is on disk is unknown. The store takes no more calls; restart
    /// the process and let recovery establish the truth.
    #[error("the store has stopped: {reason}")]
    Failed {
        /// The first failure.
        reason: Arc<str>,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

fn at(group: Option<GroupId>, index: Option<u64>) -> String {
    match (group, index) {
        (Some(group), Some(index)) => format!(" in group {group} at index {index}"),
        (Some(group), None) => format!(" in group {group}"),
        _ => String::new(),
    }
}

impl StoreError {
    /// Whether the same call may succeed later without anybody touching the process.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::DiskFull { .. } | Self::Busy | Self::InstallRunning { .. })
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source: Arc::new(source) }
    }

    /// An error met while reading: damage is told apart from everything else.
    pub(crate) fn reading(
        action: &'static str,
        group: Option<GroupId>,
        index: Option<u64>,
    ) -> impl FnOnce(fjall::Error) -> Self {
        move |source| {
            if is_damage(&source) {
                Self::Corrupt { group, index, detail: format!("{action}: {source}") }
            } else {
                Self::Engine { action, source: Arc::new(source) }
            }
        }
    }
}

fn is_damage(error: &fjall::Error) -> bool {
    use fjall::{Error, LsmError};
    match error {
        Error::JournalRecovery(_)
        | Error::Decompress(_)
        | Error::InvalidTrailer
        | Error::InvalidTag(_)
        | Error::Unrecoverable => true,
        Error::Storage(inner) => !matches!(inner, LsmError::Io(_)),
        _ => false,
    }
}
