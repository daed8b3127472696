//! What goes on with the tables of a run, and what is wrong with them in the end.

use super::items::Items;
use super::{LEDGER, SHARED, expulsion, moves};
use crate::cluster::Cluster;
use crate::faults;
use crate::judge;
use crate::rng::Rng;
use crate::run::{RECOVERY, until};
use crate::workload::{Client, Notes};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Clients a table.
const CLIENTS_OF_TABLE: u32 = 3;
/// Of a hundred runs with tables, in so many are regions expelled.
const EXPELLING: u64 = 50;

/// What goes on with tables.
pub struct Work {
    notes: Notes,
    items: Vec<Items>,
    /// Whether the ledger may be in groups that may lose what they have acknowledged.
    loose: bool,
    work: Vec<JoinHandle<()>>,
    rng: Rng,
}

impl Work {
    /// Makes the tables and has everybody begin, until `end`; `decisions` are the notes of what the cluster decides.
    ///
    /// # Errors
    /// When the tables cannot be made.
    pub async fn begin(
        cluster: &Cluster,
        decisions: &Notes,
        mut rng: Rng,
        end: Instant,
    ) -> Result<Self, String> {
        let ledger = moves::choices(cluster, LEDGER, &mut rng);
        let loose = ledger.iter().any(|policy| policy == "async");
        let first = |choices: &[String], rng: &mut Rng| rng.pick(choices).cloned().unwrap_or_default();
        let shared = moves::choices(cluster, SHARED, &mut rng);
        let made = [(LEDGER, first(&ledger, &mut rng)), (SHARED, first(&shared, &mut rng))];
        super::create(cluster, &made, RECOVERY).await?;
        let notes = Notes::default();
        let mut work = Vec::new();
        for id in 0..CLIENTS_OF_TABLE {
            let nodes = cluster.shape().nodes();
            let Some(home) = nodes.get(id as usize % nodes.len()).map(|node| node.id) else { continue };
            let client = Client::of_table((id, home), LEDGER, cluster, (&notes, decisions), rng.fork());
            work.push(tokio::spawn(client.run(end)));
        }
        let items = vec![Items::of(LEDGER), Items::of(SHARED)];
        work.extend(
            items.iter().map(|items| tokio::spawn(items.clone().work(cluster.clone(), rng.fork(), end))),
        );
        for (table, choices) in [(LEDGER, ledger), (SHARED, shared)] {
            work.push(tokio::spawn(moves::order(cluster.clone(), (table, choices), rng.fork(), end)));
        }
        if rng.chance(EXPELLING) {
            work.push(tokio::spawn(expulsion::order(cluster.clone(), rng.fork(), end)));
        }
        Ok(Self { notes, items, loose, work, rng })
    }

    /// Waits until all work is done and everything is at rest.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn end(mut self, cluster: &Cluster) -> Result<Self, String> {
        for work in std::mem::take(&mut self.work) {
            work.await.map_err(|error| error.to_string())?;
        }
        faults::heal(cluster).await?;
        expulsion::take_all_back(cluster, self.rng.fork(), RECOVERY).await?;
        until(RECOVERY, "tables do not come to rest", async || super::is_settled(cluster)).await?;
        Ok(self)
    }

    /// What is wrong with the tables, once all replicas are equal.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn wrong(self, cluster: &Cluster) -> Result<Vec<String>, String> {
        let mut wrong = super::strays(cluster);
        let state = super::read_back(cluster, RECOVERY).await?;
        if !(self.loose && super::may_lack(cluster)) {
            wrong.extend(judge::judge(&self.notes, &state));
        }
        for items in &self.items {
            wrong.extend(items.wrong(cluster).await);
        }
        Ok(wrong)
    }
}
