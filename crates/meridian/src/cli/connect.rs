//! Finding a node to talk to: `--endpoint`, or any node of the development cluster in this folder.

use super::Global;
use super::failure::Failure;
use crate::admin::{AdminClient, AdminClientError};
use crate::config::Secret;
use crate::dev::DEFAULT_DIR;
use crate::dev::cluster_file::ClusterFile;
use crate::http::Endpoint;
use std::path::Path;
use std::time::Duration;

/// How long a node of several may take to prove that it is there; a frozen one never does.
const PROBE: Duration = Duration::from_millis(700);

/// A client of the first node that answers.
pub(super) async fn connect(global: &Global) -> Result<AdminClient, Failure> {
    let token = global.admin_token.clone().map(Secret::new);
    if let Some(text) = &global.endpoint {
        let endpoint: Endpoint =
            text.parse().map_err(|error| Failure::usage(format!("--endpoint: {error}")))?;
        return Ok(AdminClient::new(endpoint, token));
    }
    let Some(cluster) = ClusterFile::find(Path::new(DEFAULT_DIR)) else {
        return Err(Failure::unreachable(format!(
            "no endpoint is known: pass --endpoint URL, set MERIDIAN_ENDPOINT, \
             or start a cluster here with `meridian dev` (there is no {DEFAULT_DIR}/cluster.json)"
        )));
    };
    for endpoint in cluster.nodes().filter_map(|node| node.admin.parse::<Endpoint>().ok()) {
        let client = AdminClient::new(endpoint, token.clone());
        match client.clone().with_timeout(PROBE).health().await {
            Ok(_) | Err(AdminClientError::Refused { .. }) => return Ok(client),
            Err(error) => tracing::info!(%error, "trying the next node"),
        }
    }
    Err(Failure::unreachable(format!(
        "none of the {} nodes of {DEFAULT_DIR}/cluster.json answers; start the cluster with `meridian dev`, \
         or killed nodes with `meridian dev start --region REGION`",
        cluster.nodes().count()
    )))
}
