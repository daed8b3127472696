"""Tokens of sessions: signed in one region, verified in any, by the nodes and by anyone who reads the public keys."""

import base64
import json
import time

import jwt
import pytest
from cluster import PRIMARY, REGIONS, SURVIVORS, running, wait_until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    yield from running(tmp_path_factory.mktemp("jwt"))


def sign(cluster, region, ttl="10m", **claims):
    return cluster.json("key", "jwt", "sign", "--claims", json.dumps(claims), "--ttl", ttl, region=region)["token"]


def verify(cluster, region, token):
    return cluster.cli("key", "jwt", "verify", token, "--output", "json", region=region)


def read(cluster, region, token):
    """The claims as a library of somebody else's reads them, with the keys that a region shows."""
    keys = jwt.PyJWKClient(f"{cluster.admin(region)}/.well-known/jwks.json")
    return jwt.decode(token, keys.get_signing_key_from_jwt(token).key, algorithms=["EdDSA"])


def test_a_token_of_a_dead_region_is_verified_and_keys_rotate_without_a_refusal(cluster):
    none = cluster.cli("key", "jwt", "sign", "--claims", "{}", "--ttl", "1m")
    assert none.returncode == 1 and "meridian key jwt create" in none.stderr
    first = cluster.json("key", "jwt", "create", "--max-ttl", "1h")
    again = cluster.cli("key", "jwt", "create")
    assert again.returncode == 1 and "rotate" in again.stderr
    token = sign(cluster, PRIMARY, sub="7", cart=[1, 2])
    assert jwt.get_unverified_header(token) == {"typ": "JWT", "alg": "EdDSA", "kid": first["kid"]}

    try:
        cluster.order("kill", PRIMARY)
        for region in SURVIVORS:
            done = verify(cluster, region, token)
            assert done.returncode == 0 and json.loads(done.stdout)["claims"]["cart"] == [1, 2], done.stderr
            assert read(cluster, region, token)["sub"] == "7"
        # Another key takes over while the region is away.
        second = wait_until(
            "the survivors rotate",
            lambda: (done := cluster.cli("key", "jwt", "rotate", "--output", "json", region=SURVIVORS[0])).returncode == 0
            and json.loads(done.stdout),
        )
        assert second["state"] == "next" and second["max_ttl_s"] == 3600
        started, tokens = time.monotonic(), [token]
        while jwt.get_unverified_header(tokens[-1])["kid"] != second["kid"]:
            assert time.monotonic() - started < 20, "the new key signs"
            for signer in SURVIVORS:
                tokens.append(sign(cluster, signer, sub="7"))
                for region in SURVIVORS:
                    assert verify(cluster, region, tokens[-1]).returncode == 0
            time.sleep(0.5)
    finally:
        cluster.order("start", PRIMARY)
    cluster.settle()
    # All of them, of both keys, in the region that was away.
    assert {jwt.get_unverified_header(token)["kid"] for token in tokens} == {first["kid"], second["kid"]}
    for one in tokens:
        assert verify(cluster, PRIMARY, one).returncode == 0
        assert read(cluster, PRIMARY, one)["sub"] == "7"
    states = {key["kid"]: key["state"] for key in cluster.json("key", "jwt", "list")["keys"]}
    assert states == {first["kid"]: "verifying", second["kid"]: "signing"}

    cluster.json("key", "jwt", "delete", first["kid"])
    for region in REGIONS:
        wait_until("it is refused", lambda region=region: verify(cluster, region, token).returncode == 1)
    assert verify(cluster, PRIMARY, tokens[-1]).returncode == 0


def test_forged_tokens_are_refused_with_the_reason(cluster):
    kid = cluster.json("key", "jwt", "list")["keys"][-1]["kid"]
    public = base64.urlsafe_b64decode(
        next(key for key in jwt.PyJWKClient(f"{cluster.admin()}/.well-known/jwks.json").fetch_data()["keys"])["x"] + "="
    )
    claims, headers = {"sub": "root", "exp": int(time.time()) + 600}, {"kid": kid}
    token = sign(cluster, PRIMARY, sub="7")
    head, body, signature = token.split(".")
    raised = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    forged = {
        "EdDSA, the only one": [jwt.encode(claims, public, algorithm="HS256", headers=headers)],
        "signature is wrong": [f"{head}.{raised}.{signature}", f"{head}.{body}.{signature[:-4]}AAAA"],
        "not a signed JWT": [jwt.encode(claims, None, algorithm="none", headers=headers), "", "a.b.c", "x" * 20_000],
        "names no key": [jwt.encode(claims, _key(), algorithm="EdDSA")],
        "key is not known": [jwt.encode(claims, _key(), algorithm="EdDSA", headers={"kid": "nobody"})],
    }
    for reason, tokens in forged.items():
        for one in tokens:
            done = verify(cluster, PRIMARY, one)
            assert done.returncode == 1 and reason in done.stderr, f"{one[:60]}: {done.stderr}"
            assert json.loads(done.stdout)["valid"] is False
    for claims, ttl, reason in (("[]", "1m", "JSON object"), ('{"exp":1}', "1m", "`exp`"), ("{}", "2h", "3600 s")):
        done = cluster.cli("key", "jwt", "sign", "--claims", claims, "--ttl", ttl)
        assert done.returncode in (1, 2) and reason in done.stderr


def _key():
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate()
