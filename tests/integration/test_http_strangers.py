"""Clients on another machine: what they see of the daemon and of `receive` with the token, and what without."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from syncdaemon.dev.server import HOST
from tests.support.callers import Address, get, said
from tests.support.daemon import MakeDaemon, eventually
from tests.support.network import HUB, Network
from tests.support.ports import own_port
from tests.support.process import Process
from tests.support.receiver import MakeReceiver
from tests.support.shell import Shell, one_line

pytestmark = pytest.mark.integration

TOKEN = "a-token-of-24-characters"
NOWHERE = "nats://127.0.0.1:1"


@pytest.fixture
def network(make_network: Callable[..., Network]) -> Network:
    return make_network()


def at(network: Network, process: Process, port: int) -> Address:
    """Starts it on the hub, where all addresses can be reached, and waits until it answers there."""
    process.env["SYNC_HTTP_ADDR"] = f"0.0.0.0:{port}"
    with network.hub:
        process.launched(lambda: _answers((HOST, port)), 60)
    return HUB, port


def _answers(address: Address) -> bool:
    try:
        return get(address).status == 200
    except OSError:
        return False


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "http-token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return path


def test_without_a_token_file_status_is_for_this_machine_alone(network: Network, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(NOWHERE)
    address = at(network, daemon, daemon.port)
    local = (HOST, daemon.port)
    with network.edge:
        for headers in ({}, {"Authorization": "Bearer x"}, {"X_Forwarded_For": HOST}, {"Forwarded": f"for={HOST}"}):
            refused = get(address, "/status", **headers)
            assert refused.status == 403
            assert refused.body.count(b"\n") == 1
            assert b"SYNC_HTTP_TOKEN_FILE" in refused.body
        for page in ("/metrics", "/livez", "/readyz"):
            assert get(address, page).status == 200
        health = get(address, "/healthz")
        assert str(daemon.replay).encode() not in health.body
        assert b"127.0.0.1" not in health.body  # nor the server's address
        assert not json.loads(health.body)["checks"]["link"]["ok"]
    with network.hub:
        assert json.loads(get(local, "/status").body)["replay_dir"] == str(daemon.replay)
        assert b"127.0.0.1:1" in get(local, "/healthz").body
        assert get(local, "/status", X_Forwarded_For="10.77.0.2").status == 200  # believed in neither direction


def test_the_token_opens_status_and_can_be_renewed(network: Network, make_daemon: MakeDaemon, token_file: Path) -> None:
    daemon = make_daemon(NOWHERE, SYNC_HTTP_TOKEN_FILE=str(token_file))
    address = at(network, daemon, daemon.port)
    basic = b64encode(f"browser:{TOKEN}".encode()).decode()
    with network.edge:
        asked = get(address, "/status")
        assert (asked.status, asked.headers["www-authenticate"][:5]) == (401, "Basic")
        for authorization in (f"Bearer {TOKEN}", f"Basic {basic}"):
            assert json.loads(get(address, "/status", Authorization=authorization).body)["site"] == "test-site"
        assert b"127.0.0.1:1" in get(address, "/healthz", Authorization=f"Bearer {TOKEN}").body
        assert b"127.0.0.1:1" not in get(address, "/healthz", Authorization="Bearer wrong").body
        assert get(address, f"/status?token={TOKEN}").status == 400
        assert get(address, f"/livez?x={TOKEN}").status == 400

        token_file.write_text("another-token-of-24-char")
        assert get(address, "/status", Authorization=f"Bearer {TOKEN}").status == 401
        assert get(address, "/status", Authorization="Bearer another-token-of-24-char").status == 200
        token_file.unlink()
        assert get(address, "/status", Authorization="Bearer another-token-of-24-char").status == 403
    eventually(lambda: daemon.logged("http_token_unusable"), 5, "the log says so")
    assert len(daemon.logged("http_token_unusable")) == 1
    assert TOKEN not in daemon.log()
    assert "another-token" not in daemon.log()


def test_a_browser_here_is_not_turned_against_us(network: Network, make_daemon: MakeDaemon) -> None:
    """A page of another site runs in a browser on this machine: the peer is one that needs no token."""
    daemon = make_daemon(NOWHERE, SYNC_HTTP_HOSTS="edge-1.example.net")
    at(network, daemon, daemon.port)
    local = (HOST, daemon.port)
    fetched = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "cors", "Sec_Fetch_Dest": "empty"}
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    with network.hub:
        assert get(local, "/status", Host=f"evil.example:{daemon.port}").status == 403
        assert b"127.0.0.1:1" not in get(local, "/healthz", Host="evil.example").body
        assert get(local, "/status", Origin="https://evil.example").status == 403
        assert get(local, "/status", **fetched).status == 403
        assert get(local, "/status", **{**link, "Sec_Fetch_Dest": "iframe"}).status == 403
        assert get(local, "/status", **link).status == 200
        for name in ("localhost", "[::1]:1", "edge-1.example.net", "EDGE-1.example.net:8080"):
            assert get(local, "/status", Host=name).status == 200
        assert get(local, "/metrics", Host="prometheus.example").status == 200
        assert said(local, b"GET /status HTTP/1.0\r\n\r\n", 3)[9:12] == b"403"
        two = b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
        assert said(local, two, 3)[9:12] in (b"400", b"403")
        whole = b"GET http://127.0.0.1/status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
        assert said(local, whole, 3)[9:12] == b"400"


def test_receive_is_guarded_in_the_same_way(network: Network, make_receiver: MakeReceiver, token_file: Path) -> None:
    receiver = make_receiver(NOWHERE, SYNC_HTTP_TOKEN_FILE=str(token_file))
    address = at(network, receiver, receiver.port)
    with network.edge:
        assert get(address, "/status").status == 401
        assert get(address, "/status", Authorization=f"Bearer {TOKEN}").status == 200
        health = get(address, "/healthz")
        assert health.status == 503
        assert b"127.0.0.1" not in health.body
        assert get(address, "/metrics").status == get(address, "/livez").status == 200


def test_status_asks_a_daemon_elsewhere_with_the_token(
    network: Network, make_daemon: MakeDaemon, shell: Shell, token_file: Path
) -> None:
    daemon = make_daemon(NOWHERE, SYNC_HTTP_TOKEN_FILE=str(token_file))
    address = "{}:{}".format(*at(network, daemon, daemon.port))
    with network.edge:
        line = one_line(shell("status", SYNC_HTTP_ADDR=address), 2)
        assert line.startswith("SYNC_HTTP_TOKEN_FILE: ")
        found = shell("status", "--json", SYNC_HTTP_ADDR=address, SYNC_HTTP_TOKEN_FILE=str(token_file))
        assert json.loads(found.out)["site"] == "test-site"
        assert TOKEN not in found.out + found.err
    with network.hub:  # as with `kubectl exec`, where the setting is what the daemon listens at
        found = shell("status", "--json", SYNC_HTTP_ADDR=f"0.0.0.0:{daemon.port}")
        assert json.loads(found.out)["site"] == "test-site"


@pytest.mark.parametrize("content", [None, "", "short"])
def test_a_token_file_without_a_token_ends_the_start(shell: Shell, content: str | None) -> None:
    """Before anything is touched, with one line that names the setting."""
    path = shell.folder / "http-token"
    if content is not None:
        path.write_text(content)
    line = one_line(shell("run", SYNC_HTTP_TOKEN_FILE=str(path)), 2)
    assert line.startswith("SYNC_HTTP_TOKEN_FILE: ")
    assert not shell.ledger.exists()
    line = one_line(shell("receive", "received", SYNC_HTTP_TOKEN_FILE=str(path)), 2)
    assert line.startswith("SYNC_HTTP_TOKEN_FILE: ")


def test_the_port_is_for_this_machine_where_nothing_is_set(network: Network, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(NOWHERE)
    del daemon.env["SYNC_HTTP_ADDR"]
    with network.hub:  # nothing else listens there
        daemon.launched(lambda: _answers((HOST, 8080)), 60)
    with network.edge:
        assert not _answers((HUB, 8080))


def test_no_series_names_a_file_or_an_address(make_daemon: MakeDaemon) -> None:
    """Metrics are for everybody, so their labels hold words of ours alone."""
    daemon = make_daemon(f"nats://{HOST}:{own_port()}")
    daemon.start()
    daemon.drop("patient-7/scan.bin", b"x")
    eventually(lambda: daemon.metric("replay_queue_depth") == 1, what="a file waits")
    text = daemon.get("/metrics")
    for secret in ("patient-7", "scan.bin", HOST, str(daemon.replay), str(daemon.ledger)):
        assert secret not in text
