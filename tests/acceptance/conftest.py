"""Acceptance from outside the process: the shipped binary, the AWS SDK, and nothing else.

Run by `cargo test -p meridian --test acceptance`, or by hand:

    MERIDIAN_BIN=target/debug/meridian python3 -m pytest -s tests/acceptance

Figures are printed (`-s` shows them). `MERIDIAN_ASSERT_LATENCY=1` has them judged too, and
`MERIDIAN_TOKEN_TRIES` says how often reads with a token are tried, `MERIDIAN_FUZZ_SECONDS` for how long ports are sent
mutated messages (an hour: 3600).
"""

import sys

import pytest
from cluster import REGIONS, running


@pytest.fixture(scope="session")
def shared_lan(tmp_path_factory):
    yield from running(tmp_path_factory.mktemp("lan"))


@pytest.fixture(scope="session")
def shared_wan(tmp_path_factory):
    yield from running(tmp_path_factory.mktemp("wan"), wan="100ms")


def restored(cluster):
    """The cluster whole, however the test before left it, and whole again after this one."""
    for region in REGIONS:
        cluster.order("thaw", region)
        cluster.order("start", region)
    cluster.settle()


@pytest.fixture
def lan(shared_lan):
    """Three regions without latency between them."""
    shared_lan.settle()
    return shared_lan


@pytest.fixture
def wan(shared_wan):
    """Three regions, 100 ms of round trip between any two."""
    shared_wan.settle()
    return shared_wan


@pytest.fixture
def hurt(lan):
    """The cluster without latency, for a test that takes a region away; given back whole."""
    yield lan
    restored(lan)


@pytest.fixture
def show(capsys):
    """Prints a figure past the capture of output, so that it is in every log."""

    def figure(text):
        with capsys.disabled():
            # Not captured and not a worker's own output, which nobody sees where tests run side by side.
            print(f"    {text}", file=sys.__stderr__, flush=True)

    return figure
