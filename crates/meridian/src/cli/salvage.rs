//! `meridian salvage`: writes that a lost region had alone, once it is back.

use super::connect::connect;
use super::failure::Failure;
use super::output::{self, Format, Grid, or_dash};
use super::{Global, Outcome};
use crate::admin::AdminClient;
use crate::admin::salvage::{
    MAX_IDS, SalvageAction, SalvageDone, SalvageEntry, SalvageId, SalvageList, SalvageOrder,
};
use clap::{Args, Subcommand};

/// The subcommands of `salvage`.
#[derive(Subcommand)]
pub(super) enum SalvageCommand {
    /// List the items that a lost region had written last, and nobody has decided on
    List,
    /// Show an entry beside the item as it is now
    Show {
        /// The entry
        id: SalvageId,
    },
    /// Write entries again, where the item has not changed since
    Apply(ApplyArgs),
    /// Let entries go
    Discard(Which),
}

/// Which entries.
#[derive(Args)]
pub(super) struct Which {
    /// The entries
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<SalvageId>,
    /// All that there are
    #[arg(long)]
    all: bool,
}

/// Arguments of `salvage apply`.
#[derive(Args)]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    which: Which,
    /// Also where the item has changed since; its newer value is lost
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(command: SalvageCommand, global: &Global) -> Outcome {
    let client = connect(global).await?;
    match command {
        SalvageCommand::List => {
            let entries = list(&client).await?;
            match global.output {
                Format::Json => output::json(&SalvageList { entries, next: None }),
                Format::Table => {
                    grid(&entries).emit();
                    Ok(())
                }
            }
        }
        SalvageCommand::Show { id } => {
            let entry = client.salvage_entry(id).await?;
            match global.output {
                Format::Json => output::json(&entry),
                Format::Table => {
                    show(&entry);
                    Ok(())
                }
            }
        }
        SalvageCommand::Apply(ApplyArgs { which, force }) => {
            decide(&client, which, SalvageAction::Apply, force, global).await
        }
        SalvageCommand::Discard(which) => decide(&client, which, SalvageAction::Discard, false, global).await,
    }
}

async fn list(client: &AdminClient) -> Result<Vec<SalvageEntry>, Failure> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let SalvageList { entries, next } = client.salvage(after).await?;
        all.extend(entries);
        match next {
            Some(next) => after = Some(next),
            None => return Ok(all),
        }
    }
}

async fn decide(
    client: &AdminClient,
    which: Which,
    action: SalvageAction,
    force: bool,
    global: &Global,
) -> Outcome {
    let ids = if which.all { list(client).await?.iter().map(|entry| entry.id).collect() } else { which.ids };
    let mut all = SalvageDone::default();
    for chunk in ids.chunks(MAX_IDS) {
        let order = SalvageOrder { ids: chunk.to_vec(), action, force };
        let SalvageDone { done, refused } = client.decide_salvage(&order).await?;
        all.done.extend(done);
        all.refused.extend(refused);
        if global.for_people() && ids.len() > MAX_IDS {
            output::note(&format!("{} of {}", all.done.len() + all.refused.len(), ids.len()));
        }
    }
    let verb = if action == SalvageAction::Apply { "applied" } else { "discarded" };
    match global.output {
        Format::Json => output::json(&all)?,
        Format::Table => output::emit(&format!("{verb} {} of {} entries\n", all.done.len(), ids.len())),
    }
    match all.refused.first() {
        None => Ok(()),
        Some(first) => Err(Failure::failed(format!(
            "{} entries are left as they are; {}: {}",
            all.refused.len(),
            first.id,
            first.why
        ))),
    }
}

fn grid(entries: &[SalvageEntry]) -> Grid {
    let mut grid = Grid::new(&["ID", "TABLE", "KEY", "WRITES", "LOST VALUE", "NOW", "CHANGED SINCE"]);
    for entry in entries {
        let value =
            |value: &Option<serde_json::Value>| value.as_ref().map_or("-".to_owned(), ToString::to_string);
        grid.row(vec![
            entry.id.to_string(),
            or_dash(entry.table.as_ref()),
            or_dash(entry.key.as_ref()),
            entry.writes.to_string(),
            value(&entry.old),
            value(&entry.current),
            if entry.changed { "yes" } else { "no" }.to_owned(),
        ]);
    }
    grid
}

fn show(entry: &SalvageEntry) {
    let pretty = |value: &Option<serde_json::Value>, none: &str| {
        let text = value.as_ref().map(|value| serde_json::to_string_pretty(value).unwrap_or_default());
        text.unwrap_or_else(|| none.to_owned())
    };
    grid(std::slice::from_ref(entry)).emit();
    output::emit(&format!("\nlost value:\n{}\n", pretty(&entry.old, "deleted")));
    output::emit(&format!("\nnow:\n{}\n", pretty(&entry.current, "not there")));
}
