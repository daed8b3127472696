//! `meridian table`.

use super::connect::connect;
use super::output::{self, Format, Grid, joined};
use super::table_move::{self, MoveArgs};
use super::{Global, Outcome};
use crate::admin::types::{CreateTable, KeySpec, TableInfo};
use clap::Subcommand;
use meridian_types::{PolicyName, TableName};

/// The subcommands of `table`.
#[derive(Subcommand)]
pub(super) enum TableCommand {
    /// Create a table
    Create {
        /// Its name
        name: TableName,
        /// Its key: NAME:TYPE, with a sort key NAME:TYPE,NAME:TYPE; types are S, N and B
        #[arg(long, value_name = "KEY")]
        key: KeySpec,
        /// Its policy
        #[arg(long, default_value = "active-passive-semi-sync")]
        policy: PolicyName,
    },
    /// List the tables
    List,
    /// Describe a table
    Describe {
        /// Its name
        name: TableName,
    },
    /// Sum up what the replicas of a node hold of a table: equal where the items are
    Checksum {
        /// Its name
        name: TableName,
    },
    /// Move a table to another policy while clients use it
    Move(MoveArgs),
    /// Delete a table and its items
    Delete {
        /// Its name
        name: TableName,
    },
}

pub(super) async fn run(command: TableCommand, global: &Global) -> Outcome {
    let client = connect(global).await?;
    match command {
        TableCommand::Create { name, key, policy } => {
            let made = client.create_table(&CreateTable { name, key, policy }).await?;
            show_one(&made, global)
        }
        TableCommand::Describe { name } => show_one(&client.table(&name).await?, global),
        TableCommand::List => {
            let list = client.tables().await?;
            match global.output {
                Format::Json => output::json(&list),
                Format::Table => {
                    grid(&list.tables).emit();
                    Ok(())
                }
            }
        }
        TableCommand::Checksum { name } => {
            let sum = client.checksum(&name).await?;
            match global.output {
                Format::Json => output::json(&sum),
                Format::Table => {
                    let mut grid = Grid::new(&["TABLE", "CHECKSUM", "ITEMS", "STORED KEYS"]);
                    let (items, stored) = (sum.items.to_string(), sum.stored.to_string());
                    grid.row(vec![sum.table.to_string(), sum.checksum, items, stored]);
                    grid.emit();
                    Ok(())
                }
            }
        }
        TableCommand::Move(args) => table_move::run(args, &client, global).await,
        TableCommand::Delete { name } => {
            client.delete_table(&name).await?;
            match global.output {
                Format::Json => output::json(&serde_json::json!({ "deleted": name })),
                Format::Table => {
                    output::emit(&format!("deleted table {name}\n"));
                    Ok(())
                }
            }
        }
    }
}

fn grid(tables: &[TableInfo]) -> Grid {
    let mut grid = Grid::new(&["TABLE", "KEY", "POLICY", "GROUPS"]);
    for table in tables {
        let TableInfo { name, key, policy, groups, moving, .. } = table;
        let policy = match moving {
            Some(moving) => format!("{policy} -> {} ({} items copied)", moving.to, moving.copied_items),
            None => policy.to_string(),
        };
        grid.row(vec![name.to_string(), key.to_string(), policy, joined(groups)]);
    }
    grid
}

fn show_one(table: &TableInfo, global: &Global) -> Outcome {
    match global.output {
        Format::Json => output::json(table),
        Format::Table => {
            grid(std::slice::from_ref(table)).emit();
            Ok(())
        }
    }
}
