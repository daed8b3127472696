//! The evaluators of a node that serves tables: the simulation's own for its own requests, the shipped one for everything else.

use crate::cluster::Up;
use crate::register::{Registers, is_own};
use bytes::Bytes;
use meridian::tables::{Catalogs, DynamoEvaluator, Guard, ReplicatedTables, moving, tend_active};
use meridian_api::ServedBy;
use meridian_replication::runtime::Process;
use meridian_replication::{Evaluation, Evaluator, Replication, View};
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What a node of a real cluster allows.
const GUARD: Guard = Guard { max_clock_offset: Duration::from_millis(500) };

/// Both evaluators; that of tables is set once the node has started, as in the binary.
#[derive(Default)]
pub struct Evaluators(OnceLock<DynamoEvaluator>);

impl Evaluators {
    /// Serves tables from now on, with all that a node does for them in the background but expiry.
    pub fn serve(
        &self,
        process: &Process,
        replication: &Arc<Replication>,
        here: ServedBy,
    ) -> Arc<ReplicatedTables> {
        let tables = process.within(|| {
            let catalogs = Arc::new(Catalogs::new(replication.watch_system()));
            let _ = self.0.set(DynamoEvaluator::new(Arc::clone(&catalogs), GUARD));
            Arc::new(ReplicatedTables::new(Arc::clone(replication), catalogs, here))
        });
        drop(process.spawn(moving::run(Arc::clone(replication))));
        drop(process.spawn(tend_active(Arc::clone(&tables))));
        tables
    }

    fn of_tables(&self) -> io::Result<&DynamoEvaluator> {
        self.0.get().ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the node is starting"))
    }
}

impl Evaluator for Evaluators {
    fn write(&self, request: &[u8], view: &dyn View) -> io::Result<Evaluation> {
        if is_own(request) { Registers.write(request, view) } else { self.of_tables()?.write(request, view) }
    }

    fn read(&self, request: &[u8], view: &dyn View) -> io::Result<Bytes> {
        if is_own(request) { Registers.read(request, view) } else { self.of_tables()?.read(request, view) }
    }
}

impl Up {
    /// The node's tables.
    ///
    /// # Panics
    /// In a run without tables.
    #[must_use]
    pub fn tables(&self) -> Arc<ReplicatedTables> {
        self.tables.clone().unwrap_or_else(|| unreachable!("the run has no tables"))
    }
}
