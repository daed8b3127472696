//! The path of a service's users in a drill: requests by its host, through the edges that are expected to run, and to the backends that DNS
//! names to a resolver that honours their time to live.
//!
//! What is not here: the path of the data, which `workload` drives all the while.

mod figures;
mod load;
mod resolver;

pub use figures::ServiceFigures;
pub(crate) use load::ServiceLoad;
pub use load::{MAX_EDGE_RATE, NETWORKS};

use crate::client::Connection;
use crate::cluster::{ClusterFile, json_call};
use crate::error::DrillError;
use http::Method;
use meridian_types::{Service, ServiceName};
use serde::Deserialize;
use std::time::Duration;

/// The name of the sample application of a development cluster, which is a service that drills can hit.
pub const SAMPLE: &str = "demo";
/// How long the list of services may take.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Listed {
    services: Vec<Service>,
}

/// Looks a service up.
///
/// # Errors
/// [`DrillError::Unfit`] when there is none of this name, with those that there are.
pub(crate) async fn find(cluster: &ClusterFile, name: &ServiceName) -> Result<Service, DrillError> {
    let mut reason = "the cluster has no node".to_owned();
    for node in cluster.regions.iter().flat_map(|region| &region.nodes) {
        let mut connection = Connection::new(node.admin.clone());
        match json_call::<Listed>(&mut connection, Method::GET, "/v1/services", None, LIMIT).await {
            Ok(Listed { services }) => {
                let known: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return services.into_iter().find(|service| service.name == *name).ok_or_else(|| {
                    DrillError::Unfit(format!(
                        "there is no service {name}; there are: {known}. `meridian service demo --host HOST` starts one"
                    ))
                });
            }
            Err(error) => reason = error,
        }
    }
    Err(DrillError::Unfit(format!("the services cannot be listed: {reason}")))
}
