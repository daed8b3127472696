//! `meridian key jwt`.

use super::connect::connect;
use super::failure::Failure;
use super::output::{self, Format, Grid};
use super::{Global, Outcome};
use crate::admin::jwt::{CreateSigningKey, DEFAULT_MAX_TTL_S, SignToken, SigningKeyInfo, VerifyToken};
use crate::config::units::parse_duration;
use clap::Subcommand;
use std::time::Duration;

/// The subcommands of `key jwt`.
#[derive(Subcommand)]
pub(super) enum JwtCommand {
    /// Make the first signing key
    Create {
        /// How long its tokens last at most, such as 12h
        #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "24h")]
        max_ttl: Duration,
    },
    /// Make a key that takes over; tokens of the old one stay valid until they expire
    Rotate {
        /// How long its tokens last at most; that of the old key unless told
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        max_ttl: Option<Duration>,
    },
    /// List the signing keys, without their private halves
    List,
    /// Delete a signing key; its tokens are refused from then on
    Delete {
        /// Its id, as `list` shows it
        #[arg(value_parser = key_id)]
        kid: String,
    },
    /// Sign a token
    Sign {
        /// What it says: a JSON object
        #[arg(long, value_name = "JSON")]
        claims: String,
        /// How long it lasts, such as 15m
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        ttl: Duration,
    },
    /// Verify a token and show its claims; exit code 1 with the reason when it is refused
    Verify {
        /// The token
        token: String,
    },
}

fn key_id(text: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err("a signing key's id is 1 to 64 letters, digits, - and _; `meridian key jwt list` shows them")
}

pub(super) async fn run(command: JwtCommand, global: &Global) -> Outcome {
    match command {
        JwtCommand::Create { max_ttl } => create(global, Some(max_ttl), false).await,
        JwtCommand::Rotate { max_ttl } => create(global, max_ttl, true).await,
        JwtCommand::List => {
            let list = connect(global).await?.signing_keys().await?;
            match global.output {
                Format::Json => output::json(&list),
                Format::Table => {
                    show(&list.keys);
                    Ok(())
                }
            }
        }
        JwtCommand::Delete { kid } => {
            connect(global).await?.delete_signing_key(&kid).await?;
            match global.output {
                Format::Json => output::json(&serde_json::json!({ "deleted": kid })),
                Format::Table => {
                    output::emit(&format!("deleted signing key {kid}\n"));
                    Ok(())
                }
            }
        }
        JwtCommand::Sign { claims, ttl } => {
            let claims = serde_json::from_str(&claims)
                .map_err(|error| Failure::usage(format!("--claims is not a JSON object: {error}")))?;
            let signed =
                connect(global).await?.sign_token(&SignToken { claims, ttl_s: ttl.as_secs() }).await?;
            match global.output {
                Format::Json => output::json(&signed),
                Format::Table => {
                    output::emit(&format!("{}\n", signed.token));
                    Ok(())
                }
            }
        }
        JwtCommand::Verify { token } => {
            let verified = connect(global).await?.verify_token(&VerifyToken { token }).await?;
            let reason = verified.reason.clone();
            match (global.output, &verified.claims) {
                (Format::Json, _) => output::json(&verified)?,
                (Format::Table, Some(claims)) => output::json(claims)?,
                (Format::Table, None) => {}
            }
            if verified.valid {
                return Ok(());
            }
            Err(Failure::failed(format!("the token is refused: {}", reason.unwrap_or_default())))
        }
    }
}

async fn create(global: &Global, max_ttl: Option<Duration>, rotate: bool) -> Outcome {
    let client = connect(global).await?;
    let max_ttl_s = match max_ttl {
        Some(max_ttl) => max_ttl.as_secs(),
        None => client.signing_keys().await?.keys.last().map_or(DEFAULT_MAX_TTL_S, |key| key.max_ttl_s),
    };
    let request = CreateSigningKey { max_ttl_s, rotate };
    request.validate().map_err(Failure::usage)?;
    let made = client.create_signing_key(&request).await?;
    match global.output {
        Format::Json => output::json(&made),
        Format::Table => {
            show(&[made]);
            Ok(())
        }
    }
}

fn show(keys: &[SigningKeyInfo]) {
    let mut grid = Grid::new(&["KEY", "STATE", "LONGEST TOKEN"]);
    for key in keys {
        let longest = humantime::format_duration(Duration::from_secs(key.max_ttl_s));
        grid.row(vec![key.kid.clone(), key.state.clone(), longest.to_string()]);
    }
    grid.emit();
}
