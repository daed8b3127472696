//! `meridian service demo`: the sample application of a development cluster.

use super::failure::Failure;
use super::output::{self, Format, Grid};
use super::{Global, Outcome};
use crate::demo::{self, DemoOptions};
use crate::dev::DEFAULT_DIR;
use crate::dev::apps::AppsAnswer;
use crate::dev::cluster_file::ClusterFile;
use crate::http::{Endpoint, request};
use crate::parent;
use crate::shutdown::Shutdown;
use clap::Args;
use hyper::Method;
use meridian_drill::client::{Client, Credentials, TableShape, Target};
use meridian_types::{
    Backend, HostName, PolicyName, RegionName, Service, ServiceName, ServicePolicy, TableName,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the application may take to start everywhere.
const LIMIT: Duration = Duration::from_secs(30);
/// Resolvers ask again soon, so that drills see the name server's part.
const TTL_S: u32 = 5;

/// Arguments of `service demo`.
#[derive(Args)]
pub(super) struct DemoArgs {
    /// The host name under which it is registered
    #[arg(long, value_name = "HOST")]
    host: HostName,
    /// The policy of the table that it keeps its notes in
    #[arg(long, default_value = "active-passive-semi-sync", value_name = "POLICY")]
    policy: PolicyName,
    /// The folder of the cluster that `meridian dev` runs
    #[arg(long, default_value = DEFAULT_DIR, value_name = "DIR")]
    dir: PathBuf,
}

/// Arguments of one process.
#[derive(Args)]
pub(super) struct RunDemoArgs {
    #[arg(long)]
    region: RegionName,
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    dir: PathBuf,
}

fn find(dir: &Path) -> Result<ClusterFile, Failure> {
    ClusterFile::find(dir).ok_or_else(|| {
        let dir = dir.display();
        Failure::usage(format!(
            "no cluster runs in {dir}; start one with `meridian dev`, or name its folder with --dir"
        ))
    })
}

fn target(cluster: &ClusterFile, region: &RegionName) -> Result<Target, Failure> {
    let place = cluster.regions.iter().find(|place| place.name == *region);
    let node = place.and_then(|place| place.nodes.first());
    let node = node.ok_or_else(|| Failure::usage(format!("the cluster has no node in region {region}")))?;
    Ok(Target {
        endpoint: node.dynamodb.parse().map_err(Failure::failed)?,
        region: region.to_string(),
        credentials: Credentials {
            access_key_id: cluster.credentials.access_key_id.clone(),
            secret_access_key: cluster.credentials.secret_access_key.expose().to_owned(),
        },
    })
}

/// The table of the notes.
fn table() -> Result<TableName, Failure> {
    TableName::new(demo::NAME).map_err(Failure::failed)
}

pub(super) async fn start(args: DemoArgs, global: &Global) -> Outcome {
    let cluster = find(&args.dir)?;
    let first = cluster.regions.first().ok_or_else(|| Failure::failed("the cluster has no region"))?;
    let mut client = Client::new(&target(&cluster, &first.name)?);
    client
        .create_table(&TableShape::own(table()?, false), Some(&args.policy), LIMIT)
        .await
        .map_err(Failure::failed)?;
    let control: Endpoint = cluster.supervisor.control.parse().map_err(Failure::failed)?;
    let reply =
        request(&control, Method::POST, "/v1/apps", None, None, LIMIT).await.map_err(Failure::failed)?;
    if !reply.status.is_success() {
        return Err(Failure::failed(String::from_utf8_lossy(&reply.body)));
    }
    let started: AppsAnswer = serde_json::from_slice(&reply.body).map_err(Failure::failed)?;
    let service = service(args.host, &started)?;
    let service = super::connect::connect(global).await?.put_service(&service, false).await?;
    show(&service, &started, &cluster, global)
}

fn service(host: HostName, started: &AppsAnswer) -> Result<Service, Failure> {
    let mut backends: BTreeMap<RegionName, Vec<Backend>> = BTreeMap::new();
    for app in &started.apps {
        backends.entry(app.region.clone()).or_default().push(app.url.parse().map_err(Failure::failed)?);
    }
    let service = Service {
        name: ServiceName::new(demo::NAME).map_err(Failure::failed)?,
        hosts: vec![host],
        health: demo::HEALTH.parse().map_err(Failure::failed)?,
        backends,
        policy: ServicePolicy::Nearest,
        ttl_s: TTL_S,
        edge: Default::default(),
    };
    service.validate().map_err(Failure::usage)?;
    Ok(service)
}

fn show(service: &Service, started: &AppsAnswer, cluster: &ClusterFile, global: &Global) -> Outcome {
    if global.output == Format::Json {
        return output::json(&serde_json::json!({ "service": service, "apps": started.apps }));
    }
    let mut grid = Grid::new(&["REGION", "APPLICATION", "PROCESS"]);
    for app in &started.apps {
        let pid = app.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        grid.row(vec![app.region.to_string(), app.url.clone(), pid]);
    }
    grid.emit();
    let (Some(host), Some(node)) = (service.hosts.first(), cluster.nodes().next()) else { return Ok(()) };
    let (edge, (name_server, port)) = (&node.edge, node.dns.rsplit_once(':').unwrap_or((&node.dns, "53")));
    output::emit(&format!(
        "\nThrough the edge, and by DNS:\n\n  \
         curl -X PUT -H 'Host: {host}' -d hello {edge}/notes/a\n  \
         curl -H 'Host: {host}' {edge}/notes/a\n  \
         dig @{name_server} -p {port} {host} +subnet=198.51.100.0/24\n"
    ));
    Ok(())
}

pub(super) async fn run(args: RunDemoArgs) -> Outcome {
    let (trigger, shutdown) = Shutdown::on_signals().map_err(Failure::failed)?;
    // What is told over it is for nodes.
    drop(parent::follow(trigger));
    let data = target(&find(&args.dir)?, &args.region)?;
    let options = DemoOptions { listen: args.listen, region: args.region, data, table: table()? };
    demo::run(options, shutdown).await.map_err(Failure::failed)
}
