"""Signed zones: what nodes of different regions answer is verified by dnspython and by BIND's validator."""

import http.server
import json
import subprocess
import threading

import dns._features
import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import pytest
from cluster import BINARY, free_base_port, meridian, wait_until
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

# It verifies with any `cryptography` of these years, and refuses those that are not of this one.
dns._features.force("dnssec", True)
import dns.dnssec  # noqa: E402

ZONE, SHOP, PLAIN = "example.test", "shop.example.test", "shop.plain.test"
NETWORKS = {"east": "192.0.2", "west": "198.51.100", "south": "203.0.113"}
ADDRESSES = {"east": "127.0.0.1", "west": "127.0.0.2", "south": "127.0.0.3"}
NXNAME, COMPACT_OK = 128, 0x4000


class Backend(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


class Trio:
    """Three nodes, a region each, with the same key."""

    def __init__(self, folder):
        self.folder, self.key, self.processes = folder, folder / "zone.pem", {}
        base = free_base_port(len(NETWORKS))
        kinds = ["dynamodb", "admin", "redis", "edge", "dns", "peer"]
        self.listen = {
            region: {kind: f"127.0.0.1:{base + 100 * at + port}" for port, kind in enumerate(kinds)}
            for at, region in enumerate(NETWORKS)
        }
        made = meridian("key", "dnssec", "--zone", ZONE, "--out", self.key, "--output", "json")
        assert made.returncode == 0, made.stderr
        assert self.key.stat().st_mode & 0o777 == 0o600
        self.printed = json.loads(made.stdout)
        assert meridian("cert", "ca", "--dir", folder).returncode == 0
        (folder / "example.zone").write_text(
            '@ 60 IN CNAME shop\n@ 60 IN TXT "hello"\n*.wild 60 IN TXT "wild"\nsub 60 IN NS ns.sub\nns.sub 60 IN A 192.0.2.53\n'
            # In the order of signatures the second one comes first.
            "@ 60 IN MX 10 _B.mail.test.\n@ 30 IN MX 10 _a.MAIL.test.\n"
        )
        for region in NETWORKS:
            assert meridian("cert", "node", region, "--dir", folder).returncode == 0
            (folder / f"{region}.toml").write_text(self.config(region))
            self.run(region)

    def config(self, region):
        listen = "".join(f"{kind}='{address}'\n" for kind, address in self.listen[region].items())
        nodes = ",".join(
            f"{{id='{name}',number={number},region='{name}',zone='a',peer='{self.listen[name]['peer']}'}}"
            for number, name in enumerate(NETWORKS, 1)
        )
        networks = "".join(
            f"[[dns.network]]\nregion='{name}'\nnetworks=['{first}.0/24']\n" for name, first in NETWORKS.items()
        )
        return (
            f"[node]\nid='{region}'\nnumber={list(NETWORKS).index(region) + 1}\nregion='{region}'\nzone='a'\n"
            f"data_dir='data-{region}'\n[listen]\n{listen}[tls]\nca='ca.pem'\ncert='{region}.pem'\nkey='{region}-key.pem'\n"
            f"[cluster]\nname='signed'\nnodes=[{nodes}]\n[auth]\nmode='none'\n{networks}"
            f"[[dns.zone_file]]\nzone='{ZONE}'\nfile='example.zone'\n[[dns.zone_key]]\nzone='{ZONE}'\nfile='zone.pem'\n"
        )

    def run(self, region):
        with open(self.folder / f"{region}.log", "wb") as log:
            self.processes[region] = subprocess.Popen(
                [BINARY, "node", "--config", self.folder / f"{region}.toml"], stdout=log, stderr=log
            )

    def cli(self, *arguments, region="east"):
        return meridian(*arguments, "--endpoint", f"http://{self.listen[region]['admin']}")

    def server(self, region):
        address, port = self.listen[region]["dns"].rsplit(":", 1)
        return address, int(port)

    def stop(self):
        for region, process in self.processes.items():
            process.terminate()
            assert process.wait(20) == 0
            assert "panicked" not in (self.folder / f"{region}.log").read_text()


@pytest.fixture(scope="module")
def trio(tmp_path_factory):
    servers = {region: http.server.ThreadingHTTPServer((ADDRESSES[region], 0), Backend) for region in NETWORKS}
    for server in servers.values():
        threading.Thread(target=server.serve_forever, daemon=True).start()
    trio = Trio(tmp_path_factory.mktemp("dnssec"))
    backends = [f"--backend={r}=http://{ADDRESSES[r]}:{server.server_port}" for r, server in servers.items()]
    try:
        hosts = ("--host", SHOP, "--host", PLAIN, "--health", "/")
        wait_until(
            "the service is registered",
            lambda: trio.cli("service", "add", "shop", *hosts, *backends).returncode == 0,
        )
        for region in NETWORKS:
            wait_until(f"{region} judges it", lambda region=region: judged(trio, region))
        yield trio
    finally:
        trio.stop()
        for server in servers.values():
            server.shutdown()
            server.server_close()


def judged(trio, region):
    status = trio.cli("service", "status", "--output", "json", region=region)
    services = json.loads(status.stdout)["services"] if status.returncode == 0 else []
    return services and [place["verdict"] for place in services[0]["regions"]] == ["healthy"] * len(NETWORKS)


def ask(trio, name, kind="A", client="east", at="east", tcp=False, want_dnssec=True, flags=0):
    options = [dns.edns.ECSOption(f"{NETWORKS[client]}.0", 24)]
    query = dns.message.make_query(name, kind, use_edns=0, ednsflags=flags, options=options, want_dnssec=want_dnssec)
    address, port = trio.server(at)
    answer = (dns.query.tcp if tcp else dns.query.udp)(query, address, port=port, timeout=5)
    assert not answer.flags & dns.flags.TC and len(answer.to_wire()) <= 1232
    return answer


def signed_by(rrsigs):
    return [rrsig.key_tag for rrsig in rrsigs]


def verify(trio, answer, at="east"):
    """Every set of the answer by the zone's key, which the parent's DS record names."""
    zone = dns.name.from_text(ZONE)
    keys = ask(trio, ZONE, "DNSKEY", at=at)
    dnskey = keys.find_rrset(keys.answer, zone, "IN", "DNSKEY")
    for message in (keys, answer):
        for section in (message.answer, message.authority):
            for rrset in section:
                if rrset.rdtype == dns.rdatatype.RRSIG or (rrset.rdtype == dns.rdatatype.NS and rrset.name != zone):
                    continue
                rrsigs = message.find_rrset(section, rrset.name, "IN", "RRSIG", rrset.rdtype)
                dns.dnssec.validate(rrset, rrsigs, {zone: dnskey})
    return dnskey


def nsec(answer):
    (rrset,) = [rrset for rrset in answer.authority if rrset.rdtype == dns.rdatatype.NSEC]
    kinds = {
        window * 256 + 8 * at + bit
        for window, bitmap in rrset[0].windows
        for at, byte in enumerate(bitmap)
        for bit in range(8)
        if byte & 0x80 >> bit
    }
    assert rrset[0].next == dns.name.Name((b"\0", *rrset.name.labels)), "nothing between"
    return rrset.name.to_text(omit_final_dot=True), kinds


def addresses(answer):
    return [item.address for rrset in answer.answer if rrset.rdtype == dns.rdatatype.A for item in rrset]


def test_answers_are_signed_as_they_are_answered(trio):
    for at in NETWORKS:
        for tcp in (False, True):
            for region in NETWORKS:
                for name in (SHOP, ZONE):
                    geo = ask(trio, name, client=region, at=at, tcp=tcp)
                    assert addresses(geo) == [ADDRESSES[region]], (name, region, at)
                    verify(trio, geo, at)
            for name, kind in ((ZONE, "SOA"), (ZONE, "NS"), (ZONE, "TXT"), (ZONE, "MX"), (f"a.wild.{ZONE}", "TXT"), (ZONE, "CDS")):
                answer = ask(trio, name, kind, at=at, tcp=tcp)
                assert answer.answer and answer.flags & dns.flags.AA
                verify(trio, answer, at)
    # Which key it is, the parent has from the command that made it.
    dnskey = verify(trio, ask(trio, SHOP))
    (key,) = dnskey
    assert dns.dnssec.make_ds(dns.name.from_text(ZONE), key, "SHA256").to_text().upper() in trio.printed["ds"][0].upper()
    shown = meridian("key", "dnssec", "--zone", ZONE, "--show", trio.key)
    assert shown.stdout.splitlines() == trio.printed["ds"] + trio.printed["dnskey"]
    address, port = trio.server("east")
    said = subprocess.run(
        ["dig", f"@{address}", "-p", str(port), SHOP, "A", "+dnssec"],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    assert "flags: do" in said.stdout and "RRSIG" in said.stdout


def test_what_is_not_there_is_proved(trio):
    for tcp in (False, True):
        nodata = ask(trio, SHOP, "MX", tcp=tcp)
        verify(trio, nodata)
        name, kinds = nsec(nodata)
        assert name == SHOP and dns.rdatatype.A in kinds and dns.rdatatype.MX not in kinds
        nobody = ask(trio, f"nobody.{ZONE}", tcp=tcp)
        verify(trio, nobody)
        assert nobody.rcode() == dns.rcode.NOERROR
        assert nsec(nobody) == (f"nobody.{ZONE}", {dns.rdatatype.NSEC, dns.rdatatype.RRSIG, NXNAME})
        compact = ask(trio, f"nobody.{ZONE}", tcp=tcp, flags=COMPACT_OK)
        assert compact.rcode() == dns.rcode.NXDOMAIN and compact.ednsflags & COMPACT_OK
        below = ask(trio, f"x.sub.{ZONE}", tcp=tcp)
        verify(trio, below)
        assert nsec(below)[1] == {dns.rdatatype.NS, dns.rdatatype.NSEC, dns.rdatatype.RRSIG}


def test_who_does_not_ask_for_signatures_gets_none(trio):
    for name, kind in ((SHOP, "A"), (SHOP, "MX"), (f"nobody.{ZONE}", "A"), (ZONE, "DNSKEY")):
        plain = ask(trio, name, kind, want_dnssec=False)
        kinds = {rrset.rdtype for rrset in (*plain.answer, *plain.authority, *plain.additional)}
        assert not kinds & {dns.rdatatype.RRSIG, dns.rdatatype.NSEC}
    assert ask(trio, f"nobody.{ZONE}", want_dnssec=False).rcode() == dns.rcode.NXDOMAIN
    # Nor does a zone without a key have any.
    for region in NETWORKS:
        unsigned = ask(trio, PLAIN, client=region)
        assert addresses(unsigned) == [ADDRESSES[region]] and len(unsigned.answer) == 1
    nobody = ask(trio, "nobody.plain.test")
    assert nobody.rcode() == dns.rcode.NXDOMAIN and [r.rdtype for r in nobody.authority] == [dns.rdatatype.SOA]


def delv(trio, ds, name, kind, *options):
    """BIND's validator, which knows nothing but the DS record."""
    tag, algorithm, digest, *rest = ds.split(" DS ")[1].split()
    anchors = trio.folder / "anchors.conf"
    anchors.write_text(f'trust-anchors {{ {ZONE}. static-ds {tag} {algorithm} {digest} "{"".join(rest)}"; }};\n')
    address, port = trio.server("west")
    done = subprocess.run(
        ["delv", f"@{address}", "-p", str(port), "-a", anchors, f"+root={ZONE}", *options, name, kind],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_binds_validator_agrees(trio, tmp_path):
    (ds,) = trio.printed["ds"]
    for name, kind in ((SHOP, "A"), (ZONE, "A"), (ZONE, "MX"), (ZONE, "DNSKEY"), (f"_http._tcp.{SHOP}", "SRV"), (f"b.wild.{ZONE}", "TXT")):
        said = delv(trio, ds, name, kind)
        assert "; fully validated" in said and "RRSIG" in said, said
    for name, kind in ((SHOP, "AAAA"), (f"nobody.{ZONE}", "A"), (f"wild.{ZONE}", "A")):
        said = delv(trio, ds, name, kind)
        assert "; negative response, fully validated" in said, said
    assert "; fully validated" in delv(trio, ds, SHOP, "A", "+tcp")
    # Another key is not believed.
    other = meridian("key", "dnssec", "--zone", ZONE, "--out", tmp_path / "other.pem", "--output", "json")
    said = delv(trio, json.loads(other.stdout)["ds"][0], SHOP, "A")
    assert "fully validated" not in said and "resolution failed" in said, said


def test_a_wrong_key_is_an_error_that_says_so(trio, tmp_path):
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = tmp_path / "key.pem"
    config = tmp_path / "node.toml"
    text = (trio.folder / "east.toml").read_text().replace("file='zone.pem'", f"file='{key}'")
    for name in ("ca.pem", "east.pem", "east-key.pem", "example.zone"):
        text = text.replace(f"'{name}'", f"'{trio.folder / name}'")
    config.write_text(text)
    for content, said in ((made, "not an ECDSA key on P-256"), (b"secret", "no private key"), (None, "cannot read")):
        if content is not None:
            key.write_bytes(content)
            key.chmod(0o600)
        else:
            key.unlink()
        for command in ("check", "node"):
            done = meridian(command, "--config", config)
            assert done.returncode == 2 and said in done.stderr and str(key) in done.stderr, done.stderr
    key.write_bytes(trio.key.read_bytes())
    key.chmod(0o644)
    opened = meridian("check", "--config", config)
    assert opened.returncode == 2 and f"chmod 600 {key}" in opened.stderr
    again = meridian("key", "dnssec", "--zone", ZONE, "--out", trio.key)
    assert again.returncode == 2 and "is there already" in again.stderr
    wrong = meridian("key", "dnssec", "--zone", ZONE, "--show", config)
    assert wrong.returncode == 2 and "no private key" in wrong.stderr


def test_keys_change_without_a_restart(trio):
    """As the guide has it: the new key is published, then it signs, then the old one goes."""
    old, new = trio.key.read_text(), trio.folder / "new.pem"
    assert meridian("key", "dnssec", "--zone", ZONE, "--out", new).returncode == 0

    def signs(text, count):
        (trio.folder / "next.pem").write_text(text)
        (trio.folder / "next.pem").chmod(0o600)
        (trio.folder / "next.pem").rename(trio.key)
        wait_until("the keys are published", lambda: len(verify(trio, ask(trio, SHOP))) == count)
        dnskey = verify(trio, ask(trio, SHOP))
        answer = ask(trio, SHOP)
        rrsigs = answer.find_rrset(answer.answer, dns.name.from_text(SHOP), "IN", "RRSIG", "A")
        return signed_by(rrsigs), {dns.dnssec.key_id(key) for key in dnskey}

    first, both = signs(old + new.read_text(), 2)
    wait_until("the new one signs", lambda: signs(new.read_text() + old, 2)[0] != first)
    last, rest = signs(new.read_text(), 1)
    assert {*first, *last} == both and set(last) == rest
    # A file that cannot be used changes nothing.
    trio.key.write_text("broken")
    wait_until("it is said", lambda: "no private key in it" in (trio.folder / "east.log").read_text())
    assert set(last) == {dns.dnssec.key_id(key) for key in verify(trio, ask(trio, SHOP))}
