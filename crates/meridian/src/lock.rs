//! Taking locks.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes the lock of a value that is whole after every statement of those who change it: a panic elsewhere has left nothing half-done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
