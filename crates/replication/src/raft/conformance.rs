//! openraft's own conformance suite, run on the store.

use super::{LogStore, Machine, RaftTypes};
use meridian_store::{Store, StoreOptions};
use meridian_types::{GroupId, Incarnation};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use std::sync::atomic::{AtomicU32, Ordering};

/// Gives every case a group of its own in one store, as a node does.
struct Builder {
    store: Store,
    next: AtomicU32,
}

impl StoreBuilder<RaftTypes, LogStore, Machine> for Builder {
    async fn build(&self) -> Result<((), LogStore, Machine), StorageError<RaftTypes>> {
        let group = self.store.group(GroupId(self.next.fetch_add(1, Ordering::Relaxed)));
        let (machine, _) = Machine::open(group.clone(), Incarnation(0)).expect("a pristine group opens");
        Ok(((), LogStore::new(group), machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_conforms_to_openraft() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(dir.path(), &StoreOptions::default()).expect("a new store opens");
    let builder = Builder { store, next: AtomicU32::new(1) };
    Suite::test_all(builder).await.expect("every case passes");
}
