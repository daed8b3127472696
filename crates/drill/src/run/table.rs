//! The table that a drill writes to: one that was named, or one of its own that it drops in the end.

use crate::client::{Client, TableShape, Target};
use crate::cluster::ClusterFile;
use crate::error::DrillError;
use crate::sample::Sample;
use crate::workload::cleanup::remove_items;
use crate::workload::item::Items;
use meridian_types::{PolicyName, TableName};
use std::time::Duration;

const READY_LIMIT: Duration = Duration::from_secs(30);
const CLEAN_LIMIT: Duration = Duration::from_secs(120);

/// A table ready for load.
#[derive(Debug)]
pub(crate) struct DrillTable {
    pub(crate) shape: TableShape,
    pub(crate) policy: PolicyName,
    is_own: bool,
}

impl DrillTable {
    /// Looks at the named table, or makes one under `policy`, and waits until every region knows it.
    pub(crate) async fn prepare(
        cluster: &ClusterFile,
        named: Option<&TableName>,
        policy: &PolicyName,
        run: u64,
    ) -> Result<Self, DrillError> {
        let mut client = Client::new(&entrance(cluster, 0)?);
        let table = match named {
            Some(name) => {
                let described = client.describe_table(name).await.map_err(DrillError::Table)?;
                let (shape, tagged) = described.ok_or_else(|| DrillError::NoTable(name.clone()))?;
                Self { shape, policy: tagged.unwrap_or_else(|| policy.clone()), is_own: false }
            }
            None => {
                let name = TableName::new(&format!("meridian-drill-{run}"));
                let shape =
                    TableShape::own(name.map_err(|error| DrillError::Table(error.to_string()))?, true);
                client.create_table(&shape, Some(policy), READY_LIMIT).await.map_err(DrillError::Table)?;
                Self { shape, policy: policy.clone(), is_own: true }
            }
        };
        for region in 0..cluster.regions.len() {
            let mut client = Client::new(&entrance(cluster, region)?);
            if let Err(reason) = client.wait_until_active(&table.shape.name, READY_LIMIT).await {
                table.drop_own(cluster).await?;
                return Err(DrillError::Table(format!("region {}: {reason}", cluster.regions[region].name)));
            }
        }
        Ok(table)
    }

    /// Drops the drill's own table, or takes its items out of the named one. Gives a sentence when something is left.
    pub(crate) async fn clean_up(
        &self,
        cluster: &ClusterFile,
        items: &Items,
        samples: &[Sample],
    ) -> Option<String> {
        if self.is_own {
            return self.drop_own(cluster).await.err().map(|error| error.to_string());
        }
        let target = entrance(cluster, 0).ok()?;
        let left = remove_items(&target, items, samples, CLEAN_LIMIT).await;
        (left > 0).then(|| format!("up to {left} items of the drill are left in table {}", self.shape.name))
    }

    async fn drop_own(&self, cluster: &ClusterFile) -> Result<(), DrillError> {
        if !self.is_own {
            return Ok(());
        }
        let mut reasons = Vec::new();
        for region in 0..cluster.regions.len() {
            match Client::new(&entrance(cluster, region)?).delete_table(&self.shape.name).await {
                Ok(()) => return Ok(()),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(DrillError::Table(format!("{} could not be dropped: {}", self.shape.name, reasons.join("; "))))
    }
}

fn entrance(cluster: &ClusterFile, region: usize) -> Result<Target, DrillError> {
    cluster.target(region, 0).ok_or(DrillError::NoSurvivor)
}
