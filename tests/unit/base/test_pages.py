"""What listens on this machine is asked without a proxy."""

from __future__ import annotations

import pytest

from syncdaemon.base.pages import is_here


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST", "localhost.", "nats.localhost", "127.0.0.1", "127.255.0.3", "127.1", "0.0.0.0"),
        *("::1", "::", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "2130706433"),
    ],
)
def test_what_is_here(host: str) -> None:
    assert is_here(host)


@pytest.mark.parametrize(
    "host", ["", "hub.example.org", "localhost.example.org", "10.0.0.1", "128.0.0.1", "::2", "fe80::1%eth0", "host"]
)
def test_what_is_elsewhere(host: str) -> None:
    assert not is_here(host)
