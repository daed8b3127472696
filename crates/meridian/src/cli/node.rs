//! `meridian node`: one node, from its configuration to its end, and the nodes of a cluster as they come and go.

use super::failure::Failure;
use super::members::{self, MemberCommand};
use super::{Global, Outcome};
use crate::config::{LogFormat, LogSection, NodeConfig};
use crate::node::{self, NodeError};
use crate::parent;
use crate::shutdown::Shutdown;
use clap::Args;
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

/// Arguments of `node`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct NodeArgs {
    #[command(subcommand)]
    command: Option<MemberCommand>,
    /// The node's configuration file
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// End when standard input ends, which a supervisor holds open
    #[arg(long, hide = true)]
    exit_with_parent: bool,
}

impl NodeArgs {
    /// Whether a node is to be run, which logs as its configuration says.
    pub(super) fn runs(&self) -> bool {
        self.command.is_none()
    }
}

pub(super) async fn run(args: NodeArgs, global: &Global) -> Outcome {
    if let Some(command) = args.command {
        return members::run(command, global).await;
    }
    let file = args.config.ok_or_else(|| Failure::usage("name the node's file: --config FILE"))?;
    let config = NodeConfig::load(&file)?;
    start_log(&config.log)?;
    let (trigger, shutdown) = Shutdown::on_signals().map_err(Failure::failed)?;
    let parent = args.exit_with_parent.then(|| parent::follow(trigger));
    Ok(node::run(config, parent, shutdown).await?)
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        if error.is_usage() { Self::usage(error) } else { Self::failed(error) }
    }
}

fn start_log(log: &LogSection) -> Outcome {
    let filter: EnvFilter = log
        .filter
        .parse()
        .map_err(|error| Failure::usage(format!("log.filter {:?} is not a filter: {error}", log.filter)))?;
    // A line that cannot be written, to a log on a full disk, is dropped: by default it would be a panic.
    let format = tracing_subscriber::fmt().with_writer(std::io::stderr).log_internal_errors(false);
    let format = format.with_env_filter(filter);
    // Fails only when a subscriber is there already, which a test may have set.
    _ = match log.format {
        LogFormat::Text => format.with_ansi(false).try_init(),
        LogFormat::Json => format.json().try_init(),
    };
    Ok(())
}
