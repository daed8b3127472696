//! Tokens as they are signed, verified and forged, in memory; the commands are tested from outside.

use super::*;
use proptest::prelude::*;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY: Duration = Duration::from_secs(86_400);

/// Expiry is the library's to judge, which goes by the clock.
fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn keys() -> Keys {
    Keys::from([new_key(now_ms() - 60_000, DAY, false).unwrap()])
}

fn claims(value: &Value) -> Claims {
    value.as_object().unwrap().clone()
}

fn signed(keys: &Keys, claims: &Value) -> String {
    install();
    let (id, key) = keys.iter().next().unwrap();
    let header = Header { kid: Some(id.clone()), ..Header::new(Algorithm::EdDSA) };
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_ed_der(&key.private)).unwrap()
}

/// A token of these parts, with the signature of another.
fn forged(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

#[test]
fn what_is_signed_verifies() {
    let keys = keys();
    let token = sign(&keys, claims(&json!({"sub": "7"})), Duration::from_secs(60), now_ms()).unwrap();
    let read = verify(&keys, &token, now_ms()).unwrap();
    assert_eq!(read["sub"], "7");
    assert_eq!(read["exp"].as_u64().unwrap() - read["iat"].as_u64().unwrap(), 60);
}

#[test]
fn a_token_that_chooses_its_own_algorithm_is_refused() {
    let keys = keys();
    let (id, key) = keys.iter().next().unwrap();
    let body = json!({"sub": "root", "exp": now_ms() / 1_000 + 60});
    for algorithm in ["none", "None", "HS256", "RS256", "ES256", "EdDSA2", ""] {
        let token = forged(&json!({"alg": algorithm, "kid": id}), &body, "");
        assert!(verify(&keys, &token, now_ms()).is_err(), "{algorithm}");
    }
    // The public key as the secret of an HMAC.
    let head = forged(&json!({"alg": "HS256", "kid": id}), &body, "");
    let message = head.trim_end_matches('.');
    let mac =
        ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key.public), message.as_bytes());
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.as_ref()));
    assert_eq!(verify(&keys, &token, now_ms()), Err(Refused::Algorithm));
    let token = forged(&json!({"alg": "EdDSA"}), &body, "AAAA");
    assert_eq!(verify(&keys, &token, now_ms()), Err(Refused::NoKeyId));
    let token = forged(&json!({"alg": "EdDSA", "kid": "other"}), &body, "AAAA");
    assert_eq!(verify(&keys, &token, now_ms()), Err(Refused::UnknownKey));
    let token = forged(&json!({"alg": "EdDSA", "kid": id}), &body, "AAAA");
    assert_eq!(verify(&keys, &token, now_ms()), Err(Refused::Signature));
}

#[test]
fn times_are_held_to() {
    let keys = keys();
    let now = now_ms() / 1_000;
    let check = |claims: &Value| verify(&keys, &signed(&keys, claims), now_ms()).map(drop);
    assert_eq!(check(&json!({"exp": now - LEEWAY.as_secs() - 5})), Err(Refused::Expired));
    assert_eq!(check(&json!({"exp": now - LEEWAY.as_secs() + 10})), Ok(()));
    assert_eq!(check(&json!({"exp": now + 60, "nbf": now + LEEWAY.as_secs() + 10})), Err(Refused::NotYet));
    assert_eq!(check(&json!({"exp": now + 60, "nbf": now + 10})), Ok(()));
    for bad in
        [json!({}), json!({"exp": "never"}), json!({"exp": null}), json!({"exp": now + 60, "nbf": "soon"})]
    {
        assert!(check(&bad).is_err(), "{bad}");
    }
}

fn state_of_level_2() -> meridian_replication::system::SystemState {
    use meridian_replication::system::{NodeEntry, SystemCommand, SystemState};
    use meridian_types::{NodeId, NodeName, RegionName, ZoneName};
    let node = NodeEntry {
        number: NodeId(1),
        name: NodeName::new("n1").unwrap(),
        region: RegionName::new("a").unwrap(),
        zone: ZoneName::new("z").unwrap(),
        witness: false,
        peer: String::new(),
        disk: None,
        protocol: 2,
        leaving: false,
    };
    let mut state = SystemState::default();
    state.apply(SystemCommand::Found { cluster: "c".to_owned(), nodes: vec![node] }).unwrap();
    state.apply(SystemCommand::RaiseLevel(2)).unwrap();
    state
}

#[test]
fn no_token_is_refused_while_keys_rotate() {
    let mut state = state_of_level_2();
    let add = |state: &mut meridian_replication::system::SystemState, at: u64, rotates: bool| {
        let (id, key) = new_key(at, DAY, rotates).unwrap();
        let command =
            meridian_replication::system::SystemCommand::AddSigningKey { id: id.clone(), key, rotates };
        state.apply(command).unwrap();
        id
    };
    let start = now_ms();
    let first = add(&mut state, start, false);
    let old = sign(state.signing_keys(), Claims::new(), DAY, start).unwrap();
    let second = add(&mut state, start + 1_000, true);
    // Until every node knows the new key the old one signs.
    assert_eq!(signer(state.signing_keys(), start + 2_000).unwrap().0, &first);
    assert_eq!(signer(state.signing_keys(), start + 7_000).unwrap().0, &second);
    let end = start + u64::try_from(DAY.as_millis()).unwrap();
    assert!(verify(state.signing_keys(), &old, end).is_ok());
    assert_eq!(key_set(state.signing_keys(), end)["keys"].as_array().unwrap().len(), 2);
    assert_eq!(verify(state.signing_keys(), &old, end + 3_600_000), Err(Refused::UnknownKey));
    assert_eq!(key_set(state.signing_keys(), end + 3_600_000)["keys"].as_array().unwrap().len(), 1);
}

#[test]
fn what_cannot_be_signed_is_said() {
    let keys = keys();
    let second = Duration::from_secs(1);
    assert_eq!(sign(&Keys::new(), Claims::new(), second, 0), Err(SignError::NoKey));
    assert_eq!(sign(&keys, Claims::new(), Duration::ZERO, now_ms()), Err(SignError::Ttl(86_400)));
    assert_eq!(sign(&keys, Claims::new(), DAY + second, now_ms()), Err(SignError::Ttl(86_400)));
    assert_eq!(sign(&keys, claims(&json!({"exp": 1})), second, now_ms()), Err(SignError::Claim("exp")));
    let long = claims(&json!({"x": "x".repeat(MAX_CLAIMS)}));
    assert_eq!(sign(&keys, long, second, now_ms()), Err(SignError::TooLong));
}

proptest! {
    #[test]
    fn a_changed_token_is_refused(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_.-]") {
        let keys = keys();
        let token = sign(&keys, claims(&json!({"sub": "7"})), Duration::from_secs(60), now_ms()).unwrap();
        let at = at.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &to);
        prop_assume!(changed != token);
        // The last character holds bits that are not part of the signature; base64 that is not exact is refused too.
        prop_assert!(verify(&keys, &changed, now_ms()).is_err());
    }

    #[test]
    fn garbage_is_refused(token in "[ -~]{0,200}") {
        prop_assert!(verify(&keys(), &token, now_ms()).is_err());
    }
}
