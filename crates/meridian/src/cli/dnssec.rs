//! `meridian key dnssec`.

use super::failure::Failure;
use super::output::{self, Format};
use super::{Global, Outcome};
use crate::files::{self, PRIVATE};
use clap::Args;
use hickory_proto::rr::{Name, RData, Record};
use meridian_dns::dnssec::Signer;
use meridian_types::HostName;
use rcgen::KeyPair;
use std::path::{Path, PathBuf};

/// How long resolvers may keep the records, in seconds; the parent's operator decides.
const TTL: u32 = 3_600;

/// Arguments of `key dnssec`.
#[derive(Args)]
pub(super) struct DnssecArgs {
    /// The zone that it signs
    #[arg(long)]
    zone: HostName,
    /// Make a key and write it to this file
    #[arg(long, value_name = "FILE", required_unless_present = "show")]
    out: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long, requires = "out")]
    force: bool,
    /// Show the records of the keys in this file
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    show: Option<PathBuf>,
}

pub(super) fn run(args: &DnssecArgs, global: &Global) -> Outcome {
    let (path, pem) = match (&args.out, &args.show) {
        (Some(path), _) => (path, make(path, args.force)?),
        (None, Some(path)) => (path, read(path)?),
        (None, None) => return Err(Failure::usage("name a file with --out or --show")),
    };
    let mut zone = Name::from_ascii(args.zone.as_str()).map_err(Failure::usage)?;
    zone.set_fqdn(true);
    let signer = Signer::from_pem(&zone, pem.as_bytes())
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    let line = |data: RData| Record::from_rdata(zone.clone(), TTL, data).to_string();
    let ds: Vec<String> = signer.delegations().into_iter().map(line).collect();
    let dnskey: Vec<String> = signer.keys().into_iter().map(line).collect();
    match global.output {
        Format::Json => output::json(&serde_json::json!({ "file": path, "ds": ds, "dnskey": dnskey })),
        Format::Table => {
            output::emit(&format!("{}\n{}\n", ds.join("\n"), dnskey.join("\n")));
            Ok(())
        }
    }
}

fn make(path: &Path, force: bool) -> Result<String, Failure> {
    let shown = path.display();
    if path.exists() && !force {
        return Err(Failure::usage(format!(
            "{shown} is there already; use --force to replace it, or another --out"
        )));
    }
    // ECDSA on P-256.
    let pem = KeyPair::generate().map_err(Failure::failed)?.serialize_pem();
    files::replace(path, pem.as_bytes(), PRIVATE)
        .map_err(|error| Failure::failed(format!("{shown}: {error}")))?;
    Ok(pem)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))
}
