//! `meridian dev` and its subcommands.

use super::failure::Failure;
use super::output::{self, Format, Grid, or_dash};
use super::{Global, Outcome};
use crate::dev::cluster_file::ClusterFile;
use crate::dev::control::NodesAnswer;
use crate::dev::grow::AddNode;
use crate::dev::{self, DEFAULT_DIR, Detached, DevError, DevOptions, Plan, StopError, Stopped, guide};
use crate::http::{ClientError, Endpoint, request};
use crate::shutdown::Shutdown;
use crate::wan::WanModel;
use clap::{ArgGroup, Args, Subcommand};
use hyper::Method;
use indicatif::ProgressBar;
use meridian_types::{NodeName, RegionName, ZoneName};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longer than the supervisor waits for a node to become ready.
const ORDER_LIMIT: Duration = Duration::from_secs(40);

/// Arguments of `dev`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct DevArgs {
    #[command(subcommand)]
    command: Option<DevCommand>,
    /// Regions that hold data, in port order
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "A,B,C",
        default_value = "us-east-1,eu-west-1,ap-southeast-1"
    )]
    regions: Vec<RegionName>,
    /// A third region that votes and holds no data, when there are two
    #[arg(long, value_name = "REGION")]
    witness: Option<RegionName>,
    /// Nodes in every region, each in a zone of its own: a, b, c...
    #[arg(long, default_value_t = 1, value_name = "N")]
    nodes_per_region: u8,
    /// The WAN between regions: realistic, none, a round-trip time such as 100ms, or a .toml file of pairs
    #[arg(long, default_value = "realistic", value_name = "MODEL")]
    wan: String,
    /// Where data, logs, certificates and cluster.json are kept
    #[arg(long, default_value = DEFAULT_DIR, value_name = "DIR")]
    dir: PathBuf,
    /// The first port; region k, node n uses this + 100k + 10n and the five after it
    #[arg(long, default_value_t = 8000, value_name = "P")]
    base_port: u16,
    /// Return when the cluster is ready and leave it running
    #[arg(long)]
    detach: bool,
    /// Discard what the folder holds first
    #[arg(long)]
    fresh: bool,
    /// Accept any credentials on the data API
    #[arg(long)]
    no_auth: bool,
    /// Run as the background half of --detach
    #[arg(long, hide = true, conflicts_with = "detach")]
    background: bool,
}

#[derive(Subcommand)]
enum DevCommand {
    /// Stop a running cluster; its data stays
    Stop {
        /// The cluster's folder
        #[arg(long, default_value = DEFAULT_DIR, value_name = "DIR")]
        dir: PathBuf,
    },
    /// Start nodes that were killed or stopped, and wait until they are ready
    Start(OrderArgs),
    /// Add a node to the running cluster, in a region that it has or in a new one
    AddNode(AddNodeArgs),
    /// Kill nodes at once, as a power failure would; they stay dead until started
    Kill(OrderArgs),
}

/// Arguments of `dev add-node`.
#[derive(Args)]
struct AddNodeArgs {
    /// Its region
    #[arg(long, value_name = "REGION")]
    region: RegionName,
    /// Its zone; without one the node gets a zone of its own
    #[arg(long, value_name = "ZONE")]
    zone: Option<ZoneName>,
    /// The cluster's folder
    #[arg(long, default_value = DEFAULT_DIR, value_name = "DIR")]
    dir: PathBuf,
}

/// Which nodes an order is for.
#[derive(Args)]
#[command(group = ArgGroup::new("which").required(true))]
struct OrderArgs {
    /// One node
    #[arg(long, group = "which", value_name = "ID")]
    node: Option<NodeName>,
    /// All nodes of a region
    #[arg(long, group = "which", value_name = "REGION")]
    region: Option<RegionName>,
    /// The cluster's folder
    #[arg(long, default_value = DEFAULT_DIR, value_name = "DIR")]
    dir: PathBuf,
}

impl From<DevError> for Failure {
    fn from(error: DevError) -> Self {
        if error.is_usage() { Self::usage(error) } else { Self::failed(error) }
    }
}

pub(super) async fn run(args: DevArgs, global: &Global) -> Outcome {
    match args.command {
        None => start(args, global).await,
        Some(DevCommand::Stop { dir }) => stop(&dir, global).await,
        Some(DevCommand::Start(order)) => give_order(&order, "start", global).await,
        Some(DevCommand::Kill(order)) => give_order(&order, "kill", global).await,
        Some(DevCommand::AddNode(args)) => {
            let body = serde_json::to_vec(&AddNode { region: args.region, zone: args.zone })
                .map_err(Failure::failed)?;
            ask_supervisor(&args.dir, "/v1/nodes", Some(body), global).await
        }
    }
}

async fn start(args: DevArgs, global: &Global) -> Outcome {
    let (detach, background) = (args.detach, args.background);
    let options = DevOptions {
        regions: args.regions,
        witness: args.witness,
        nodes_per_region: args.nodes_per_region,
        base_port: args.base_port,
        wan: WanModel::read(&args.wan).map_err(Failure::usage)?,
        wan_text: args.wan,
        dir: args.dir,
        fresh: args.fresh,
        no_auth: args.no_auth,
    };
    if background {
        // It matters to the terminal's end only, and a process group's leader is out of its reach as well.
        _ = dev::leave_terminal();
    }
    let (trigger, shutdown) = Shutdown::on_signals().map_err(Failure::failed)?;
    if detach {
        return start_detached(options, global, &shutdown).await;
    }
    let format = global.output;
    let announce = |plan: &Plan, file: &ClusterFile| {
        // What waits in the foreground shows the result, which holds a secret: a log is no place for it.
        if !background {
            // A result that cannot be written is no reason to stop a cluster that runs.
            _ = show(file, &plan.options, format, true);
        }
    };
    Ok(dev::run(options, &trigger, shutdown, announce).await?)
}

fn show(file: &ClusterFile, options: &DevOptions, format: Format, foreground: bool) -> Outcome {
    match format {
        Format::Json => output::json(file),
        Format::Table => {
            output::emit(&guide(file, options, &program(), foreground));
            Ok(())
        }
    }
}

/// How this program was called, so that what is shown can be pasted where it was.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if called.is_empty() || !called.chars().all(plain) { "meridian".to_owned() } else { called }
}

async fn start_detached(options: DevOptions, global: &Global, shutdown: &Shutdown) -> Outcome {
    // Mistakes are told here, in the words of the foreground, before anything is started.
    let plan = Plan::new(options).map_err(DevError::from)?;
    let mut arguments: Vec<OsString> =
        std::env::args_os().skip(1).filter(|argument| argument != "--detach").collect();
    arguments.push("--background".into());
    let spinner = ProgressBar::new_spinner().with_message("starting the cluster in the background");
    spinner.enable_steady_tick(Duration::from_millis(100));
    let outcome = dev::run_detached(arguments, &plan.options.dir, shutdown).await;
    spinner.finish_and_clear();
    match outcome? {
        Detached::Ready(file) => show(&file, &plan.options, global.output, false),
        Detached::Failed(code, words) => {
            let message = words.strip_prefix("error: ").unwrap_or(&words).to_owned();
            Err(if code == 2 { Failure::usage(message) } else { Failure::failed(message) })
        }
        Detached::Interrupted => Err(Failure::failed("interrupted; nothing is left running")),
    }
}

async fn stop(dir: &Path, global: &Global) -> Outcome {
    let spinner = ProgressBar::new_spinner().with_message("stopping the cluster");
    spinner.enable_steady_tick(Duration::from_millis(100));
    let outcome = dev::stop(dir).await;
    spinner.finish_and_clear();
    let stopped = outcome.map_err(|error| match error {
        StopError::NotRunning(_) => Failure::unreachable(error),
        StopError::Signal { .. } | StopError::Folder(_) => Failure::failed(error),
    })?;
    let (word, text) = match stopped {
        Stopped::Cleanly => ("stopped", "stopped".to_owned()),
        Stopped::Killed => {
            ("killed", "the supervisor did not answer and was killed, its nodes with it".to_owned())
        }
        Stopped::Leftovers(count) => {
            ("leftovers", format!("there was no supervisor; ended {count} nodes that were left"))
        }
    };
    match global.output {
        Format::Json => output::json(&serde_json::json!({ "outcome": word })),
        Format::Table => {
            output::emit(&format!("{text}\n"));
            Ok(())
        }
    }
}

async fn give_order(args: &OrderArgs, order: &str, global: &Global) -> Outcome {
    let path = match (&args.node, &args.region) {
        (Some(node), _) => format!("/v1/nodes/{node}/{order}"),
        (None, Some(region)) => format!("/v1/regions/{region}/{order}"),
        (None, None) => return Err(Failure::usage("name --node ID or --region REGION")),
    };
    ask_supervisor(&args.dir, &path, None, global).await
}

/// Posts to the supervisor, and shows the nodes that it answers.
async fn ask_supervisor(dir: &Path, path: &str, body: Option<Vec<u8>>, global: &Global) -> Outcome {
    let not_running = || StopError::NotRunning(dir.to_owned()).to_string();
    let file = ClusterFile::find(dir).ok_or_else(|| Failure::unreachable(not_running()))?;
    let control: Endpoint = file.supervisor.control.parse().map_err(Failure::failed)?;
    let reply =
        request(&control, Method::POST, path, None, body, ORDER_LIMIT).await.map_err(
            |error| match error {
                ClientError::Connect { .. } => Failure::unreachable(not_running()),
                ClientError::Timeout { .. } | ClientError::Broken { .. } => Failure::failed(error),
            },
        )?;
    if !reply.status.is_success() {
        let message = crate::admin::types::ErrorBody::message_of(&reply.body);
        return Err(Failure::failed(
            message.unwrap_or_else(|| format!("the supervisor answered {}", reply.status)),
        ));
    }
    let answer: NodesAnswer = serde_json::from_slice(&reply.body).map_err(Failure::failed)?;
    match global.output {
        Format::Json => output::json(&answer),
        Format::Table => {
            let mut grid = Grid::new(&["REGION", "NODE", "STATE", "PID"]);
            for node in &answer.nodes {
                let pid = or_dash(node.pid.as_ref());
                grid.row(vec![node.region.to_string(), node.id.to_string(), node.state.to_string(), pid]);
            }
            grid.emit();
            Ok(())
        }
    }
}
