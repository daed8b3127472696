//! `meridian cert`.

use super::failure::Failure;
use super::output::{self, Format};
use super::{Global, Outcome};
use crate::cert::{Authority, CertError};
use crate::files::{self, PRIVATE, PUBLIC};
use clap::{Args, Subcommand};
use meridian_types::NodeName;
use std::path::{Path, PathBuf};

/// The subcommands of `cert`.
#[derive(Subcommand)]
pub(super) enum CertCommand {
    /// Make the cluster's certificate authority: ca.pem for every node, ca-key.pem to be kept safe
    Ca {
        #[command(flatten)]
        folder: FolderArgs,
    },
    /// Make a node's certificate with the authority of the same folder: NODE.pem and NODE-key.pem
    Node {
        /// The node's id, as in its configuration
        node: NodeName,
        /// A further name or address of the node; may be repeated
        #[arg(long = "san", value_name = "NAME")]
        names: Vec<String>,
        /// How many days it is valid
        #[arg(long, default_value_t = 825, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
        #[command(flatten)]
        folder: FolderArgs,
    },
}

/// Where the files are.
#[derive(Args)]
pub(super) struct FolderArgs {
    /// The folder of the files
    #[arg(long, default_value = "certs", value_name = "DIR")]
    dir: PathBuf,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

impl From<CertError> for Failure {
    fn from(error: CertError) -> Self {
        match error {
            CertError::Make(_) => Self::failed(error),
            CertError::Name(_) | CertError::Key(_) | CertError::Mismatch => Self::usage(error),
        }
    }
}

pub(super) fn run(command: CertCommand, global: &Global) -> Outcome {
    match command {
        CertCommand::Ca { folder } => {
            std::fs::create_dir_all(&folder.dir).map_err(failed_at(&folder.dir))?;
            let authority = Authority::create()?;
            let (certificate, key) = (folder.dir.join("ca.pem"), folder.dir.join("ca-key.pem"));
            write(&certificate, authority.certificate(), &key, &authority.key(), folder.force)?;
            report(&certificate, &key, global)
        }
        CertCommand::Node { node, names, days, folder } => {
            let read = |name: &str| {
                let path = folder.dir.join(name);
                std::fs::read_to_string(&path).map_err(|error| {
                    let shown = path.display();
                    Failure::usage(format!("cannot read {shown}: {error}; make it with `meridian cert ca`"))
                })
            };
            let authority = Authority::load(&read("ca.pem")?, &read("ca-key.pem")?)?;
            let issued = authority.issue(&node, &names, days)?;
            let certificate = folder.dir.join(format!("{node}.pem"));
            let key = folder.dir.join(format!("{node}-key.pem"));
            write(&certificate, &issued.certificate, &key, &issued.key, folder.force)?;
            report(&certificate, &key, global)
        }
    }
}

fn failed_at(path: &Path) -> impl FnOnce(std::io::Error) -> Failure + '_ {
    move |error| Failure::failed(format!("{}: {error}", path.display()))
}

fn write(certificate: &Path, text: &str, key: &Path, key_text: &str, force: bool) -> Outcome {
    let there = [certificate, key].into_iter().find(|path| path.exists() && !force);
    if let Some(path) = there {
        let shown = path.display();
        return Err(Failure::usage(format!(
            "{shown} is there already; use --force to replace it, or another --dir"
        )));
    }
    files::replace(key, key_text.as_bytes(), PRIVATE).map_err(failed_at(key))?;
    files::replace(certificate, text.as_bytes(), PUBLIC).map_err(failed_at(certificate))
}

fn report(certificate: &Path, key: &Path, global: &Global) -> Outcome {
    match global.output {
        Format::Json => output::json(&serde_json::json!({ "certificate": certificate, "key": key })),
        Format::Table => {
            output::emit(&format!("{}\n{}\n", certificate.display(), key.display()));
            Ok(())
        }
    }
}
