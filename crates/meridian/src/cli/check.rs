//! `meridian check --config FILE`.

use super::output::{self, Format};
use super::{Global, Outcome};
use crate::config::NodeConfig;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `check`.
#[derive(Args)]
pub(super) struct CheckArgs {
    /// The node's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(args: &CheckArgs, global: &Global) -> Outcome {
    let config = NodeConfig::load(&args.config)?;
    match global.output {
        Format::Table => output::emit(&format!(
            "{} is valid: node {} in {}, cluster {} of {} nodes, {} policies\n",
            args.config.display(),
            config.node.id,
            config.node.region,
            config.cluster.name,
            config.cluster.nodes.len(),
            config.all_policies().len(),
        )),
        Format::Json => output::json(&serde_json::json!({ "valid": true, "node": config.node.id }))?,
    }
    Ok(())
}
