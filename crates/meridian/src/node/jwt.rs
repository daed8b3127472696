//! Signing keys and tokens, from the node's own copy of the system state.

use super::admin::{DEADLINE, refused, unserved};
use crate::admin::jwt::{
    CreateSigningKey, SignToken, SignedToken, SigningKeyInfo, SigningKeyList, VerifiedToken,
};
use crate::admin::{ApiError, ErrorCode};
use crate::jwt::{self, Refused, SignError};
use meridian_replication::Replication;
use meridian_replication::runtime::wall_ms;
use meridian_replication::system::SystemCommand;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// How long a key that is not known is asked after at the system leader.
const LOOK_UP: Duration = Duration::from_secs(1);

pub(super) fn list(replication: &Replication) -> SigningKeyList {
    let (system, now) = (replication.system(), wall_ms());
    let signer = jwt::signer(system.signing_keys(), now).map(|(id, _)| id.clone());
    let mut keys: Vec<SigningKeyInfo> = system
        .signing_keys()
        .iter()
        .filter(|(_, key)| key.verifies(now))
        .map(|(id, key)| SigningKeyInfo {
            kid: id.clone(),
            state: match (signer.as_ref() == Some(id), key.verifies_until_ms) {
                (true, _) => "signing",
                (false, None) => "next",
                (false, Some(_)) => "verifying",
            }
            .to_owned(),
            created_ms: key.created_ms,
            max_ttl_s: key.max_ttl_ms / 1_000,
            verifies_until_ms: key.verifies_until_ms,
        })
        .collect();
    keys.sort_by(|a, b| (a.created_ms, &a.kid).cmp(&(b.created_ms, &b.kid)));
    SigningKeyList { keys }
}

pub(super) async fn create(
    replication: &Replication,
    request: CreateSigningKey,
) -> Result<SigningKeyInfo, ApiError> {
    let CreateSigningKey { max_ttl_s, rotate } = request;
    let (id, key) = jwt::new_key(wall_ms(), Duration::from_secs(max_ttl_s), rotate)
        .map_err(|error| not_signed(&error))?;
    command(replication, SystemCommand::AddSigningKey { id: id.clone(), key, rotates: rotate }).await?;
    let made = list(replication).keys.into_iter().find(|key| key.kid == id);
    made.ok_or_else(|| ApiError::not_found("the key was deleted as soon as it was made"))
}

pub(super) async fn delete(replication: &Replication, id: &str) -> Result<(), ApiError> {
    command(replication, SystemCommand::DeleteSigningKey(id.to_owned())).await
}

async fn command(replication: &Replication, command: SystemCommand) -> Result<(), ApiError> {
    let done = replication.system_write(command, Instant::now() + DEADLINE).await;
    done.map_err(unserved)?.map(drop).map_err(refused)
}

pub(super) fn key_set(replication: &Replication) -> Value {
    jwt::key_set(replication.system().signing_keys(), wall_ms())
}

pub(super) fn sign(replication: &Replication, request: SignToken) -> Result<SignedToken, ApiError> {
    let SignToken { claims, ttl_s } = request;
    let system = replication.system();
    let token = jwt::sign(system.signing_keys(), claims, Duration::from_secs(ttl_s), wall_ms());
    Ok(SignedToken { token: token.map_err(|error| not_signed(&error))? })
}

pub(super) async fn verify(replication: &Replication, token: &str) -> VerifiedToken {
    let look = || jwt::verify(replication.system().signing_keys(), token, wall_ms());
    let mut outcome = look();
    if outcome == Err(Refused::UnknownKey) {
        // It may be newer than what this node has heard.
        replication.system_barrier(Instant::now() + LOOK_UP).await;
        outcome = look();
    }
    match outcome {
        Ok(claims) => VerifiedToken { valid: true, claims: Some(claims), reason: None },
        Err(reason) => VerifiedToken { valid: false, claims: None, reason: Some(reason.to_string()) },
    }
}

fn not_signed(error: &SignError) -> ApiError {
    let code = match error {
        SignError::NoKey => ErrorCode::NotFound,
        SignError::Failed(_) => ErrorCode::Internal,
        SignError::Ttl(_) | SignError::Claim(_) | SignError::TooLong => ErrorCode::InvalidRequest,
    };
    ApiError::new(code, error.to_string())
}
