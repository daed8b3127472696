//! A system under measurement, as the load sees it: connections that can put and get.

use super::BenchError;
use super::peers::etcd::EtcdClient;
use crate::client::{Client, TableShape, Target};
use serde_json::{Value, json};
use std::time::Duration;

/// A system that is ready to be measured. Peers end when it is dropped.
#[derive(Debug)]
pub(super) struct System {
    pub(super) name: String,
    /// What an acknowledged write means there.
    pub(super) durability: String,
    pub(super) access: Access,
    /// What must live as long as the system is measured, such as its processes.
    pub(super) _keep: Option<Box<dyn Keep>>,
}

/// Marker for what only has to be kept.
pub(super) trait Keep: std::fmt::Debug + Send + Sync {}
impl<T: std::fmt::Debug + Send + Sync> Keep for T {}

/// How a system is reached.
#[derive(Clone, Debug)]
pub(super) enum Access {
    /// Over the DynamoDB API; connections are spread over the targets.
    Dynamo { targets: Vec<Target>, shape: TableShape },
    /// Over etcd's gRPC API.
    Etcd { endpoint: String },
}

impl Access {
    /// Opens connection number `number`.
    pub(super) async fn open(&self, number: usize) -> Result<Conn, String> {
        match self {
            Self::Dynamo { targets, shape } => {
                let target = targets.get(number % targets.len().max(1)).ok_or("it has no endpoint")?;
                Ok(Conn::Dynamo(Box::new(Client::new(target)), shape.name.to_string()))
            }
            Self::Etcd { endpoint } => Ok(Conn::Etcd(EtcdClient::connect(endpoint).await?)),
        }
    }
}

/// One connection. Requests go one after the other.
#[derive(Debug)]
pub(super) enum Conn {
    Dynamo(Box<Client>, String),
    Etcd(EtcdClient),
}

impl Conn {
    /// Puts a value under a key.
    pub(super) async fn put(&mut self, key: &str, value: &str, limit: Duration) -> Result<(), String> {
        match self {
            Self::Dynamo(client, table) => {
                let body = json!({"TableName": table, "Item": {"pk": {"S": key}, "value": {"S": value}}});
                client.call("PutItem", &body, limit).await.into_result().map(|_| ())
            }
            Self::Etcd(client) => client.put(key, value, limit).await,
        }
    }

    /// Gets the latest value of a key, linearizably. A key that is not there is an error: every key was put before.
    pub(super) async fn get(&mut self, key: &str, limit: Duration) -> Result<(), String> {
        let is_there = match self {
            Self::Dynamo(client, table) => {
                let body = json!({"TableName": table, "Key": {"pk": {"S": key}}, "ConsistentRead": true});
                let answer = client.call("GetItem", &body, limit).await.into_result()?;
                !matches!(answer.body["Item"], Value::Null)
            }
            Self::Etcd(client) => client.get(key, limit).await?,
        };
        is_there.then_some(()).ok_or_else(|| format!("{key} is not there"))
    }
}

/// Makes the benchmark's table through the first target.
pub(super) async fn make_table(
    system: &str,
    targets: &[Target],
    shape: &TableShape,
    policy: Option<&meridian_types::PolicyName>,
) -> Result<(), BenchError> {
    let limit = Duration::from_secs(30);
    for (index, target) in targets.iter().enumerate() {
        let mut client = Client::new(target);
        let ready = if index == 0 {
            client.create_table(shape, policy, limit).await
        } else {
            client.wait_until_active(&shape.name, limit).await
        };
        ready.map_err(|reason| BenchError::system(system, reason))?;
    }
    Ok(())
}
