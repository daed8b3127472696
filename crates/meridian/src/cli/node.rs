//! `meridian node`: one node, from its configuration to its end.

use super::Outcome;
use super::failure::Failure;
use crate::config::{LogFormat, LogSection, NodeConfig};
use crate::node::{self, NodeError};
use crate::parent;
use crate::shutdown::Shutdown;
use clap::Args;
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

/// Arguments of `node`.
#[derive(Args)]
pub(super) struct NodeArgs {
    /// The node's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// End when standard input ends, which a supervisor holds open
    #[arg(long, hide = true)]
    exit_with_parent: bool,
}

pub(super) async fn run(args: NodeArgs) -> Outcome {
    let config = NodeConfig::load(&args.config)?;
    start_log(&config.log)?;
    let (trigger, shutdown) = Shutdown::on_signals().map_err(Failure::failed)?;
    let pretence = args.exit_with_parent.then(|| parent::follow(trigger));
    Ok(node::run(config, pretence, shutdown).await?)
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
