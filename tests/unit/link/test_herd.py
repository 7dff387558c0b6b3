"""Many sites come back to a hub at once: the delays of the link leave the hub time for its work."""

from __future__ import annotations

import ssl

import pytest

from benchmarks.herd import as_before, as_the_link, simulate
from syncdaemon.link.inbound import Garbage
from syncdaemon.link.options import CONNECT_SECONDS, TLS_SECONDS
from syncdaemon.link.words import is_cheap


def test_a_hub_that_gets_too_many_at_once_is_soon_through_with_them() -> None:
    """A tenth of the fleet of `python -m benchmarks --only herd`, at a hub with a tenth of the speed."""
    found = simulate(as_the_link, TLS_SECONDS, sites=1_000, rate=20.0)
    assert found.all_back
    assert found.ratio <= 1.5
    assert found.share < 0.5


def test_a_time_out_that_counts_as_a_refusal_wastes_most_attempts() -> None:
    """What the link did before: everybody asks every second, and gives up before it has its turn."""
    found = simulate(as_before, CONNECT_SECONDS, sites=1_000, rate=20.0)
    assert found.share > 0.5


@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "plain"])
@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(), OSError(113, "No route to host"), OSError("Multiple exceptions: [...]")]
)
def test_what_costs_the_server_nothing_is_repeated_soon(error: Exception, tls: bool) -> None:
    """A server that refuses connections has to be found soon after its return."""
    assert is_cheap(error, tls)


@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "plain"])
@pytest.mark.parametrize(
    "error", [TimeoutError(), ssl.SSLError(), Garbage("?"), RuntimeError("Authorization Violation")]
)
def test_what_costs_the_server_something_is_not(error: Exception, tls: bool) -> None:
    """It had no time for us, or refused us in words."""
    assert not is_cheap(error, tls)


def test_a_cut_is_dear_in_a_tls_handshake_only() -> None:
    """nats-server ends a handshake that takes long; elsewhere a cut is one of the network."""
    assert is_cheap(ConnectionResetError(), tls=False)
    assert not is_cheap(ConnectionResetError(), tls=True)
