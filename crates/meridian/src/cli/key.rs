//! `meridian key`.

use super::connect::connect;
use super::failure::Failure;
use super::output::{self, Format, Grid, joined};
use super::{Global, Outcome};
use crate::admin::types::CreateKey;
use clap::Subcommand;

/// The subcommands of `key`.
#[derive(Subcommand)]
pub(super) enum KeyCommand {
    /// Create an access key; its secret is shown this once
    Create {
        /// What the key is for
        name: String,
        /// A table it may touch, * at the end for any rest; may be repeated
        #[arg(long = "table", default_value = "*", value_name = "NAME")]
        tables: Vec<String>,
        /// An operation it may use, such as GetItem or Get*; may be repeated
        #[arg(long = "action", default_value = "*", value_name = "NAME")]
        actions: Vec<String>,
    },
    /// Make the key that signs a zone, or show what its parent zone needs of it
    Dnssec(super::dnssec::DnssecArgs),
    /// Make, rotate and use the keys that sign tokens of sessions
    #[command(subcommand)]
    Jwt(super::jwt::JwtCommand),
    /// List the access keys, without their secrets
    List,
    /// Delete an access key
    Delete {
        /// Its id, such as AKIA...
        #[arg(value_parser = key_id)]
        access_key_id: String,
    },
}

fn key_id(text: &str) -> Result<String, &'static str> {
    if (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Ok(text.to_owned());
    }
    Err("an access key id is 1 to 128 letters and digits; `meridian key list` shows them")
}

pub(super) async fn run(command: KeyCommand, global: &Global) -> Outcome {
    if let KeyCommand::Create { name, tables, actions } = command {
        let request = CreateKey { name, tables, actions };
        request.validate().map_err(Failure::usage)?;
        let made = connect(global).await?.create_key(&request).await?;
        match global.output {
            Format::Json => output::json(&made)?,
            Format::Table => output::emit(&format!(
                "export AWS_ACCESS_KEY_ID={}\nexport AWS_SECRET_ACCESS_KEY={}\n",
                made.access_key_id,
                made.secret_access_key.expose()
            )),
        }
        return Ok(());
    }
    if let KeyCommand::Jwt(command) = command {
        return super::jwt::run(command, global).await;
    }
    if let KeyCommand::Dnssec(args) = command {
        return super::dnssec::run(&args, global);
    }
    let client = connect(global).await?;
    match command {
        KeyCommand::Delete { access_key_id } => {
            client.delete_key(&access_key_id).await?;
            match global.output {
                Format::Json => output::json(&serde_json::json!({ "deleted": access_key_id })),
                Format::Table => {
                    output::emit(&format!("deleted key {access_key_id}\n"));
                    Ok(())
                }
            }
        }
        KeyCommand::List | KeyCommand::Create { .. } | KeyCommand::Dnssec(_) | KeyCommand::Jwt(_) => {
            let list = client.keys().await?;
            match global.output {
                Format::Json => output::json(&list),
                Format::Table => {
                    let mut grid = Grid::new(&["KEY", "NAME", "TABLES", "ACTIONS"]);
                    for key in &list.keys {
                        grid.row(vec![
                            key.access_key_id.clone(),
                            key.name.clone(),
                            joined(&key.tables),
                            joined(&key.actions),
                        ]);
                    }
                    grid.emit();
                    Ok(())
                }
            }
        }
    }
}
