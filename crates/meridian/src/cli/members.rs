//! `meridian node token`, `join`, `list`, `leave`, `replace` and `remove`.

use super::connect::connect;
use super::failure::Failure;
use super::output::{self, Format, Grid, Tone, or_dash};
use super::{Global, Outcome};
use crate::admin::AdminClient;
use crate::admin::members::{CreateJoinToken, Join, Joined, NewJoinToken, NodeInfo};
use crate::config::{
    AnycastSection, ClusterSection, ListenSection, NodeConfig, NodeSection, PeerNode, ReplicationSection,
    Secret, TlsSection,
};
use crate::files::{self, PRIVATE};
use crate::http::Endpoint;
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use meridian_types::{NodeName, RegionName, ZoneName};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between looks at the nodes.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The subcommands of `node`.
#[derive(Subcommand)]
pub(super) enum MemberCommand {
    /// List the nodes of the cluster
    List,
    /// Make tokens with which nodes join
    #[command(subcommand)]
    Token(TokenCommand),
    /// Join a running cluster with a token: writes the node's configuration file
    Join(Box<JoinArgs>),
    /// Move everything off a node and take it out of the cluster
    Leave {
        /// The node
        node: NodeName,
        /// How long to wait until it has left
        #[arg(long, default_value = "10m", value_parser = humantime::parse_duration, value_name = "TIME")]
        wait: Duration,
    },
    /// Make a token for a node that takes the place of another, such as one that lost its disk
    Replace {
        /// The node that leaves as the new one joins
        node: NodeName,
        /// How long the token lasts
        #[arg(long, default_value = "1h", value_parser = humantime::parse_duration, value_name = "TIME")]
        ttl: Duration,
    },
    /// Take a node out of the cluster that is gone for good
    Remove {
        /// The node
        node: NodeName,
        /// Say that the node will not come back: its disk is lost
        #[arg(long, required = true)]
        lost: bool,
        /// How long to wait until it is out
        #[arg(long, default_value = "10m", value_parser = humantime::parse_duration, value_name = "TIME")]
        wait: Duration,
    },
}

/// The subcommands of `node token`.
#[derive(Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token with which one node may join; it is shown this once
    Create {
        /// The region of the node
        #[arg(long, value_name = "REGION")]
        region: RegionName,
        /// Its zone
        #[arg(long, value_name = "ZONE")]
        zone: ZoneName,
        /// The node only votes and holds no data
        #[arg(long)]
        witness: bool,
        /// How long the token lasts
        #[arg(long, default_value = "1h", value_parser = humantime::parse_duration, value_name = "TIME")]
        ttl: Duration,
    },
}

/// Arguments of `node join`.
#[derive(Args)]
pub(super) struct JoinArgs {
    /// The token
    #[arg(long, env = "MERIDIAN_JOIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: String,
    /// Admin API of any node of the cluster, HOST:PORT or a URL
    #[arg(long, value_name = "HOST:PORT")]
    seed: String,
    /// What the node is called; its certificate must carry the name
    #[arg(long, value_name = "NAME")]
    name: NodeName,
    /// Where the other nodes reach it
    #[arg(long, value_name = "HOST:PORT")]
    peer: String,
    /// The folder of its configuration and data
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The cluster's certificate authority, of `meridian cert ca`
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// The node's certificate, of `meridian cert node`
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// The certificate's private key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The address of the data API
    #[arg(long, default_value = "127.0.0.1:8000", value_name = "ADDR")]
    dynamodb: SocketAddr,
    /// The address of the admin API
    #[arg(long, default_value = "127.0.0.1:8001", value_name = "ADDR")]
    admin: SocketAddr,
    /// The address on which it listens for other nodes; without it the address of --peer, or every one at its port
    #[arg(long, value_name = "ADDR")]
    listen_peer: Option<SocketAddr>,
}

pub(super) async fn run(command: MemberCommand, global: &Global) -> Outcome {
    match command {
        MemberCommand::List => {
            let list = connect(global).await?.nodes().await?;
            match global.output {
                Format::Json => output::json(&list),
                Format::Table => {
                    grid(&list.nodes).emit();
                    Ok(())
                }
            }
        }
        MemberCommand::Token(TokenCommand::Create { region, zone, witness, ttl }) => {
            let ttl_s = ttl.as_secs();
            let request =
                CreateJoinToken { region: Some(region), zone: Some(zone), witness, ttl_s, replaces: None };
            show_token(&connect(global).await?.create_join_token(&request).await?, global)
        }
        MemberCommand::Replace { node, ttl } => {
            let (ttl_s, replaces) = (ttl.as_secs(), Some(node));
            let request = CreateJoinToken { region: None, zone: None, witness: false, ttl_s, replaces };
            show_token(&connect(global).await?.create_join_token(&request).await?, global)
        }
        MemberCommand::Join(args) => join(*args, global).await,
        MemberCommand::Leave { node, wait } => leave(&node, false, wait, global).await,
        MemberCommand::Remove { node, lost, wait } => leave(&node, lost, wait, global).await,
    }
}

fn grid(nodes: &[NodeInfo]) -> Grid {
    let mut grid =
        Grid::new(&["NODE", "NUMBER", "REGION", "ZONE", "HEALTH", "STATE", "LEADS", "REPLICAS", "PEER"]);
    for node in nodes {
        let state = match (node.leaving, node.witness) {
            (true, _) => "leaving",
            (false, true) => "witness",
            (false, false) => "member",
        };
        let plain = |text: String| (text, Tone::Plain);
        grid.toned(vec![
            plain(node.id.to_string()),
            plain(node.number.to_string()),
            plain(node.region.to_string()),
            plain(node.zone.to_string()),
            (node.health.to_string(), super::status::tone(node.health)),
            plain(state.to_owned()),
            plain(node.leads.to_string()),
            plain(or_dash(node.replicas.as_ref())),
            plain(node.peer.clone()),
        ]);
    }
    grid
}

fn show_token(made: &NewJoinToken, global: &Global) -> Outcome {
    if global.output == Format::Json {
        return output::json(made);
    }
    // The token alone on standard output, so that a script can take it.
    output::emit(&format!("{}\n", made.token.expose()));
    output::note(&format!(
        "for one node in {}, zone {}, within {}: pass it to `meridian node join` on its machine",
        made.region,
        made.zone,
        humantime::format_duration(Duration::from_secs(made.ttl_s))
    ));
    Ok(())
}

async fn join(args: JoinArgs, global: &Global) -> Outcome {
    let seed = if args.seed.contains("://") { args.seed.clone() } else { format!("http://{}", args.seed) };
    let seed: Endpoint = seed.parse().map_err(|error| Failure::usage(format!("--seed: {error}")))?;
    let listen = listen(&args)?;
    let file = args.dir.join("node.toml");
    if file.exists() {
        let shown = file.display();
        return Err(Failure::usage(format!(
            "{shown} is there already; a node joins once, so name another --dir"
        )));
    }
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
    };
    let tls = TlsSection { ca: absolute(&args.ca)?, cert: absolute(&args.cert)?, key: absolute(&args.key)? };
    if let Some(path) = [&tls.ca, &tls.cert, &tls.key].into_iter().find(|path| !path.is_file()) {
        let shown = path.display();
        return Err(Failure::usage(format!(
            "there is no file {shown}; make certificates with `meridian cert node`"
        )));
    }
    let at = |path: &Path| {
        let shown = path.display().to_string();
        move |error: std::io::Error| Failure::usage(format!("{shown}: {error}"))
    };
    std::fs::create_dir_all(&args.dir).map_err(at(&args.dir))?;
    let request = Join { token: Secret::new(args.token), name: args.name.clone(), peer: args.peer };
    let joined = AdminClient::new(seed, None).join(&request).await?;
    let config = configuration(&args.name, &joined, listen, tls)?;
    let text = toml::to_string(&config).map_err(Failure::failed)?;
    files::replace(&file, text.as_bytes(), PRIVATE).map_err(at(&file))?;
    match global.output {
        Format::Json => output::json(&serde_json::json!({
            "cluster": joined.cluster, "number": joined.number, "config": file,
        })),
        Format::Table => {
            output::emit(&format!(
                "{} is node {} of cluster {}; start it with: meridian node --config {}\n",
                args.name,
                joined.number,
                joined.cluster,
                file.display()
            ));
            Ok(())
        }
    }
}

fn listen(args: &JoinArgs) -> Result<ListenSection, Failure> {
    let port = args.peer.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let port = port.filter(|port| *port > 0);
    let port =
        port.ok_or_else(|| Failure::usage(format!("--peer {:?}: write it as HOST:PORT", args.peer)))?;
    let everywhere = SocketAddr::from(([0, 0, 0, 0], port));
    let peer = args.listen_peer.unwrap_or_else(|| args.peer.parse().unwrap_or(everywhere));
    // The reserved ones follow the data port, as `meridian dev` lays them out.
    let beside =
        |offset: u16| SocketAddr::new(args.dynamodb.ip(), args.dynamodb.port().saturating_add(offset));
    Ok(ListenSection {
        dynamodb: args.dynamodb,
        admin: args.admin,
        redis: beside(2),
        edge: beside(3),
        // Opened on other addresses once its configuration says which name servers there are.
        dns: SocketAddr::from(([127, 0, 0, 1], beside(4).port())),
        peer,
    })
}

/// The configuration of a node that has joined.
fn configuration(
    name: &NodeName,
    joined: &Joined,
    listen: ListenSection,
    tls: TlsSection,
) -> Result<NodeConfig, Failure> {
    let own = joined.nodes.iter().find(|node| node.number == joined.number);
    let own =
        own.ok_or_else(|| Failure::failed("the cluster does not list the node that has just joined"))?;
    let nodes = joined.nodes.iter().map(|node| PeerNode {
        id: node.id.clone(),
        number: node.number,
        region: node.region.clone(),
        zone: node.zone.clone(),
        peer: node.peer.clone(),
    });
    Ok(NodeConfig {
        node: NodeSection {
            id: name.clone(),
            number: joined.number,
            region: own.region.clone(),
            zone: own.zone.clone(),
            data_dir: PathBuf::from("data"),
        },
        listen,
        tls: Some(tls),
        cluster: ClusterSection {
            name: joined.cluster.clone(),
            witness: own.witness.then(|| own.region.clone()),
            joins: true,
            nodes: nodes.collect(),
        },
        auth: Default::default(),
        redis: Default::default(),
        admin: Default::default(),
        replication: ReplicationSection {
            heartbeat_interval: Duration::from_millis(joined.heartbeat_ms),
            election_timeout: Duration::from_millis(joined.lease_ms),
            ..ReplicationSection::default()
        },
        store: Default::default(),
        anycast: AnycastSection::default(),
        dns: Default::default(),
        edge: Default::default(),
        log: Default::default(),
        policies: Vec::new(),
    })
}

async fn leave(node: &NodeName, lost: bool, wait: Duration, global: &Global) -> Outcome {
    let client = connect(global).await?;
    let start = Instant::now();
    client.leave(node, lost).await?;
    let bar = ProgressBar::new_spinner().with_message(format!("moving everything off {node}"));
    bar.enable_steady_tick(Duration::from_millis(100));
    let mut replicas = None;
    loop {
        if let Ok(list) = client.nodes().await {
            match list.nodes.iter().find(|entry| entry.id == *node) {
                None => break,
                Some(entry) => replicas = entry.replicas,
            }
        }
        if start.elapsed() >= wait {
            bar.finish_and_clear();
            let left = or_dash(replicas.as_ref());
            return Err(Failure::failed(format!(
                "{node} has not left yet ({left} replicas are on it); it goes on by itself: `meridian node list` \
                 shows when it is out, `meridian status` which groups lack a healthy member"
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    bar.finish_and_clear();
    let took = start.elapsed().as_secs_f64();
    match global.output {
        Format::Json => {
            output::json(&serde_json::json!({ "left": node, "took_s": (took * 1e3).round() / 1e3 }))
        }
        Format::Table => {
            output::emit(&format!(
                "{node} has left; took {took:.1} s. Stop its process and delete its data\n"
            ));
            Ok(())
        }
    }
}
