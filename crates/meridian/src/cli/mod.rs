//! The command line: arguments, one module a command, exit codes.
//!
//! Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 an objective was missed, 4 the cluster cannot be reached.

mod anycast;
mod bench;
mod cert;
mod check;
mod conflicts;
mod connect;
mod demo;
mod dev;
mod dnssec;
mod drill;
mod failover;
mod failure;
mod jwt;
mod key;
mod members;
mod node;
mod output;
mod policy;
mod region;
mod salvage;
mod service;
mod status;
mod switchover;
mod table;
mod table_move;

use clap::{Args, CommandFactory, Parser, Subcommand};
use failure::{Exit, Failure};
use output::Format;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

type Outcome = Result<(), Failure>;

/// Below the list of commands: what to type first, and what the exit code says.
const AFTER_HELP: &str = "\
First steps:
  meridian dev                                   run three regions on this machine
  meridian status                                see how they are
  meridian drill region-kill --region us-east-1  lose one under load, and see what clients saw

Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 an objective was missed,
4 the cluster cannot be reached";
/// Options that every command takes, set apart from its own.
const COMMON: &str = "Common options";

/// Keeps a service and its data running when a whole region dies.
#[derive(Parser)]
#[command(
    name = "meridian",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = 110,
    after_help = AFTER_HELP
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Global {
    /// How results are written
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t = Format::Table,
        value_name = "FORMAT",
        help_heading = COMMON
    )]
    output: Format,
    /// Admin API of any node; without it the nodes of ./meridian-dev/cluster.json are tried
    #[arg(
        long,
        global = true,
        env = "MERIDIAN_ENDPOINT",
        value_name = "URL",
        hide_env_values = true,
        help_heading = COMMON
    )]
    endpoint: Option<String>,
    /// Token of the admin API
    #[arg(
        long,
        global = true,
        env = "MERIDIAN_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        help_heading = COMMON
    )]
    admin_token: Option<String>,
    /// Say more on standard error; twice for debugging
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = COMMON)]
    verbose: u8,
}

impl Global {
    /// Whether a result is read by a person at a terminal rather than by a program.
    fn for_people(&self) -> bool {
        self.output == Format::Table && std::io::stdout().is_terminal()
    }
}

#[derive(Subcommand)]
enum Command {
    /// Run a cluster of several regions on this machine, with the WAN between them emulated
    Dev(Box<dev::DevArgs>),
    /// Run one node of a cluster; or add, list, replace and remove nodes
    Node(Box<node::NodeArgs>),
    /// Show regions, nodes, groups, leaders, lag and policies
    Status,
    /// Create, list, describe and delete tables
    #[command(subcommand)]
    Table(table::TableCommand),
    /// List, show and create policies
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Move leadership to another region, as planned: nothing is lost
    Switchover(switchover::SwitchoverArgs),
    /// Keep leaders out of a region, or let them in again
    #[command(subcommand)]
    Region(region::RegionCommand),
    /// Give a lost region up: its async groups go on elsewhere, from what the other regions have
    Failover(failover::FailoverArgs),
    /// List, apply and discard what a lost region had written alone, once it is back
    #[command(subcommand)]
    Salvage(salvage::SalvageCommand),
    /// List, show and resolve concurrent writes of active-active tables
    #[command(subcommand)]
    Conflicts(conflicts::ConflictsCommand),
    /// Register services that clients are steered to, and see how they stand
    #[command(subcommand)]
    Service(service::ServiceCommand),
    /// Create, list and delete access keys of the data API
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Make the certificates of traffic between nodes
    #[command(subcommand)]
    Cert(cert::CertCommand),
    /// Inject a failure under load, measure what clients saw, and judge it
    Drill(Box<drill::DrillArgs>),
    /// Measure throughput and latency with a closed loop of clients, or at a fixed rate
    Bench(bench::BenchArgs),
    /// Check a node's configuration file, and the files that it names
    Check(check::CheckArgs),
    /// Write a completion script for a shell to standard output
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Show the version
    Version,
}

/// The command line as `clap` sees it, for tests that hold the documents against it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the arguments, runs the command, reports a failure, and answers the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&format!("cannot start: {error}"));
            return ExitCode::from(Exit::Failed as u8);
        }
    };
    let outcome = runtime.block_on(run(cli));
    // Nothing that matters is left; a thread that reads standard input must not hold up the end.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { exit, message }) => {
            output::complain(&message);
            ExitCode::from(exit as u8)
        }
    }
}

async fn run(Cli { global, command }: Cli) -> Outcome {
    // A node logs as its configuration says.
    if !matches!(&command, Command::Node(args) if args.runs()) {
        log_to_stderr(global.verbose);
    }
    match command {
        Command::Dev(args) => dev::run(*args, &global).await,
        Command::Node(args) => node::run(*args, &global).await,
        Command::Status => status::run(&global).await,
        Command::Table(command) => table::run(command, &global).await,
        Command::Policy(command) => policy::run(command, &global).await,
        Command::Switchover(args) => switchover::run(args, &global).await,
        Command::Region(command) => region::run(command, &global).await,
        Command::Failover(args) => failover::run(args, &global).await,
        Command::Salvage(command) => salvage::run(command, &global).await,
        Command::Conflicts(command) => conflicts::run(command, &global).await,
        Command::Service(command) => service::run(command, &global).await,
        Command::Key(command) => key::run(command, &global).await,
        Command::Cert(command) => cert::run(command, &global),
        Command::Drill(args) => drill::run(*args, &global).await,
        Command::Bench(args) => bench::run(args, &global).await,
        Command::Check(args) => check::run(&args, &global),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "meridian", &mut script);
            output::emit(&String::from_utf8_lossy(&script));
            Ok(())
        }
        Command::Version => version(&global),
    }
}

fn version(global: &Global) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    match global.output {
        Format::Table => output::emit(&format!("meridian {version}\n")),
        Format::Json => output::json(&serde_json::json!({ "version": version }))?,
    }
    Ok(())
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    // A line that cannot be written, to a log on a full disk, is dropped: by default it would be a panic.
    let format = tracing_subscriber::fmt().with_writer(std::io::stderr).log_internal_errors(false);
    let format = format.with_target(false).without_time();
    // Fails only when a subscriber is there already, which a test may have set.
    _ = format.with_env_filter(EnvFilter::new(level)).with_ansi(output::stderr_colour()).try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        command().debug_assert();
    }
}
