//! `meridian conflicts`: concurrent writes of active-active tables.

use super::connect::connect;
use super::failure::Failure;
use super::output::{self, Format, Grid};
use super::{Global, Outcome};
use crate::admin::conflicts::{ConflictEntry, ConflictId, ConflictState, ResolveConflict, Side};
use clap::{Args, Subcommand};
use meridian_types::TableName;

/// The subcommands of `conflicts`.
#[derive(Subcommand)]
pub(super) enum ConflictsCommand {
    /// List what the application is to resolve, and writes that have lost against later ones
    List {
        /// Of this table only
        #[arg(long)]
        table: Option<TableName>,
    },
    /// Show all sides of one
    Show {
        /// Its id, as listed
        id: ConflictId,
    },
    /// Write one side's value, or another, in its place
    Resolve(ResolveArgs),
}

/// Arguments of `conflicts resolve`.
#[derive(Args)]
pub(super) struct ResolveArgs {
    /// Its id, as listed
    id: ConflictId,
    /// The region whose write is to stand
    #[arg(long, value_name = "REGION", required_unless_present = "value", conflicts_with = "value")]
    take: Option<String>,
    /// The value to write instead, in DynamoDB's JSON, such as '{"S":"text"}'
    #[arg(long, value_name = "JSON")]
    value: Option<serde_json::Value>,
}

pub(super) async fn run(command: ConflictsCommand, global: &Global) -> Outcome {
    let client = connect(global).await?;
    match command {
        ConflictsCommand::List { table } => {
            let list = client.conflicts(table.as_ref()).await?;
            match global.output {
                Format::Json => output::json(&list)?,
                Format::Table => {
                    grid(&list.conflicts).emit();
                    if list.truncated {
                        output::note("there are more; resolve some, or name a table with --table");
                    }
                }
            }
            Ok(())
        }
        ConflictsCommand::Show { id } => show(&client.conflict(id).await?, global),
        ConflictsCommand::Resolve(ResolveArgs { id, take, value }) => {
            let resolved = client.resolve_conflict(id, &ResolveConflict { take, value }).await?;
            match global.output {
                Format::Json => output::json(&serde_json::json!({ "resolved": resolved.id })),
                Format::Table => {
                    output::emit(&format!(
                        "wrote {} of an item of table {}\n",
                        resolved.path, resolved.table
                    ));
                    Ok(())
                }
            }
        }
    }
}

fn value(side: &Side) -> String {
    side.value.as_ref().map_or("removed".to_owned(), ToString::to_string)
}

fn state(entry: &ConflictEntry) -> &'static str {
    match entry.state {
        ConflictState::Open => "open",
        ConflictState::Lost => "lost",
    }
}

fn grid(conflicts: &[ConflictEntry]) -> Grid {
    let mut grid = Grid::new(&["ID", "TABLE", "KEY", "PLACE", "STATE", "SHOWN", "OTHERS"]);
    for entry in conflicts {
        let side = |side: &Side| format!("{} ({})", value(side), side.region);
        grid.row(vec![
            entry.id.to_string(),
            entry.table.to_string(),
            entry.key.to_string(),
            entry.path.clone(),
            state(entry).to_owned(),
            side(&entry.winner),
            entry.others.iter().map(side).collect::<Vec<_>>().join(", "),
        ]);
    }
    grid
}

fn show(entry: &ConflictEntry, global: &Global) -> Result<(), Failure> {
    match global.output {
        Format::Json => output::json(entry),
        Format::Table => {
            output::emit(&format!(
                "{} of {} in table {}: {}\n\n",
                entry.path,
                entry.key,
                entry.table,
                state(entry)
            ));
            let mut grid = Grid::new(&["REGION", "WRITTEN (MS SINCE 1970)", "VALUE"]);
            for side in std::iter::once(&entry.winner).chain(&entry.others) {
                grid.row(vec![side.region.clone(), side.written_ms.to_string(), value(side)]);
            }
            grid.emit();
            Ok(())
        }
    }
}
