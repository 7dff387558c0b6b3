"""Who is let in at a hub, and whom a site believes: real servers as rendered, with the Secrets that the page makes."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from tests.deploy import secrets
from tests.deploy.manifests import PROFILES, ROOT, containers, pod_templates, rendered
from tests.deploy.nats_config import check_config, pod, print_config, write_config
from tests.deploy.nats_pod import Server, trusted
from tests.support.daemon import MakeDaemon, eventually
from tests.support.jetstream import messages
from tests.support.ports import own_port
from tests.support.receiver import MakeReceiver, received

pytestmark = [pytest.mark.manifests, pytest.mark.integration, pytest.mark.timeout(300)]

OPEN = {"edge", "edge-producer"}  # one site by itself: only the daemon beside it reaches its server
CLOSED = [profile for profile in PROFILES if profile not in OPEN]
MakeServer = Callable[..., Server]


@pytest.fixture
def make_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeServer]:
    """Servers of profiles, all with one leaf port: `leaf_port` of the function."""
    made: list[Server] = []
    leaf_port = own_port()

    def make(profile: str, given: secrets.Secrets | None = None, **settings: str) -> Server:
        folder = tmp_path / f"server{len(made)}"
        folder.mkdir()
        made.append(Server(profile, folder, leaf_port, given=given, **settings))
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted(tmp_path, *made)))
        return made[-1]

    yield make
    for server in made:
        server.kill()


@pytest.fixture
def strangers(tmp_path: Path) -> tuple[secrets.Secrets, secrets.Secrets]:
    """Secrets of another hub and another site, made in the same way: nothing in them fits ours."""
    for name in ("hub", "site"):
        (tmp_path / "strangers" / name).mkdir(parents=True)
    hub = secrets.make(tmp_path / "strangers/hub", "At the hub")
    (tmp_path / "strangers/site/edge-1.url").write_bytes((tmp_path / "strangers/hub/edge-1.url").read_bytes())
    (tmp_path / "strangers/site/hub-ca.crt").write_bytes(hub["nats-tls"]["ca.crt"])
    return hub, secrets.make(tmp_path / "strangers/site", "At a site")


def changed(profile: str, secret: str, **keys: bytes) -> secrets.Secrets:
    """The Secrets of a profile with some keys of one of them changed; `ca_crt` for the key `ca.crt`."""
    return replaced(secrets.of(profile), secret, {key.replace("_", "."): data for key, data in keys.items()})


def replaced(given: secrets.Secrets, secret: str, keys: dict[str, bytes]) -> secrets.Secrets:
    """These Secrets, with other data of some keys of one of them."""
    return {**given, secret: {**given[secret], **keys}}


class Peer:
    """Speaks to a port of nats-server byte by byte, with or without TLS."""

    def __init__(self, port: int, ca: Path | None = None) -> None:
        self._socket: socket.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.info: dict[str, Any] = json.loads(self.line().removeprefix(b"INFO "))
        if ca is not None:
            self._socket = ssl.create_default_context(cafile=str(ca)).wrap_socket(
                self._socket, server_hostname="localhost"
            )

    def line(self) -> bytes:
        """The next line; empty when the server has closed."""
        found = b""
        with suppress(ConnectionError):
            while not found.endswith(b"\n") and (byte := self._socket.recv(1)):
                found += byte
        return found

    def answers(self, **options: Any) -> list[bytes]:
        """All that the server says to a CONNECT and a PING, until it closes or answers the PING."""
        with suppress(ConnectionError):
            self._socket.sendall(b"CONNECT " + json.dumps(options).encode() + b"\r\nPING\r\n")
        said = []
        while (line := self.line()) and not line.startswith(b"PONG"):
            said.append(line)
        return [*said, line] if line else said

    def close(self) -> None:
        self._socket.close()


def in_the_clear(port: int, **login: str) -> bytes:
    """What the server says to somebody who speaks no TLS and knows the password."""
    peer = Peer(port)
    assert peer.info["tls_required"] is True
    said = b"".join(peer.answers(verbose=False, **login))
    peer.close()
    return said


def by_tls(port: int, ca: Path, **login: str) -> bytes:
    """What the server says after the handshake."""
    peer = Peer(port, ca)
    said = b"".join(peer.answers(verbose=False, **login))
    peer.close()
    return said


def leaf_ports(server: Server) -> list[int]:
    """The port for leaf nodes, where the server has one: as its pod says."""
    (port,) = (name.get("ports", []) for _, name in containers(server.profile) if name["name"] == "nats")
    return [server.leaf_port] if any(it["name"] == "leafnodes" for it in port) else []


@pytest.mark.parametrize("profile", CLOSED)
def test_nobody_gets_in_without_tls_or_without_a_login(profile: str, make_server: MakeServer) -> None:
    """At every port for clients and leaf nodes: not in the clear with the right password, not by TLS without one."""
    server = make_server(profile)
    server.start()
    for user, port in [
        (secrets.owner(server.secrets), server.port),
        *(("site-edge-1", it) for it in leaf_ports(server)),
    ]:
        right = {"user": user, "pass": secrets.password(server.secrets, user)}
        assert b"PONG" not in in_the_clear(port, **right)
        for login in ({}, {"user": user}, {**right, "pass": "wrong"}, {"user": user, "pass": ""}):
            said = by_tls(port, server.ca, **login)
            assert b"PONG" not in said, (port, login)
            assert b"Authorization Violation" in said, (port, login)
        assert b"PONG" in by_tls(port, server.ca, **right)


@pytest.mark.parametrize("user", ["hub", "records", "in-edge-1", "worker"])
def test_none_but_a_site_is_a_leaf_node(user: str, make_server: MakeServer) -> None:
    """A leaf node of the hub's own account could acknowledge what the workers have not written yet."""
    hub = make_server("staging-leafnode")
    hub.start()
    login = {"user": user, "pass": secrets.password(hub.secrets, user)}
    assert b"PONG" in by_tls(hub.port, hub.ca, **login)
    assert b"PONG" not in by_tls(hub.leaf_port, hub.ca, **login)


def test_a_client_believes_only_our_authority(
    make_server: MakeServer, strangers: tuple[secrets.Secrets, secrets.Secrets], make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    """The daemon sends neither its password nor a file to a server with a stranger's certificate."""
    theirs, _ = strangers
    given = {**secrets.of("edge-leafnode"), "nats-tls": theirs["nats-tls"]}
    server = make_server("edge-leafnode", given)
    server.start()
    ours = tmp_path / "ours.crt"
    ours.write_bytes(secrets.of("edge-leafnode")["nats-tls"]["ca.crt"])
    daemon = make_daemon(server.client_url, **{**server.settings("syncdaemon"), "NATS_TLS_CA": str(ours)})
    daemon.start()
    path = daemon.drop("evidence", b"evidence")
    eventually(lambda: "certificate" in daemon.log(), 60, "the daemon says what is wrong")
    assert path.exists()
    assert server.ask("$JS.API.STREAM.INFO.swarm_jobs").get("error", {}).get("code") == 404
    with pytest.raises(ssl.SSLError, match="verify failed"):
        Peer(server.port, ours)


@pytest.mark.parametrize(
    ("profile", "secret", "key"),
    [("staging-leafnode", "nats-users", "hub-password.conf"), ("edge-leafnode", "nats-auth", "auth.conf")],
)
def test_a_secret_that_says_nothing_keeps_the_server_from_starting(
    profile: str, secret: str, key: str, tmp_path: Path
) -> None:
    """An empty file, which a script leaves that failed half-way, is no open port."""
    given = replaced(secrets.of(profile), secret, {key: b""})
    path = write_config(profile, tmp_path, given=given)
    assert "can not be found" in check_config(path, profile, given)


def test_without_the_hubs_own_password_nats_is_not_started(tmp_path: Path) -> None:
    given = secrets.of("staging")
    write_config("staging", tmp_path, given=given)
    (tmp_path / "nats-users/hub-password.conf").unlink()
    (container,) = pod("staging")["initContainers"]
    done = print_config("staging", container, tmp_path, {})
    assert done.code == 1
    assert "hub-password.conf" in done.err


@pytest.mark.parametrize("login", [None, b""], ids=["missing", "empty"])
def test_a_site_without_a_login_stays_outside_and_the_others_get_in(
    login: bytes | None, make_server: MakeServer
) -> None:
    """Whoever adds a site to the list and forgets its password, or has an empty one made, does not stop the hub."""
    given = secrets.of("staging")
    if login is not None:
        given = replaced(given, "nats-users", {"site-new.conf": login})
    hub = make_server("staging", given, sites="edge-1\nnew\n")
    hub.start()
    for who in ({}, {"user": "site-new"}, {"user": "site-new", "pass": ""}, {"user": "site-new", "pass": "x"}):
        assert b"Authorization Violation" in by_tls(hub.port, hub.ca, **who)
    right = {"user": "site-edge-1", "pass": secrets.password(given, "site-edge-1")}
    assert b"PONG" in by_tls(hub.port, hub.ca, **right)


@pytest.mark.parametrize("profile", CLOSED)
def test_a_pod_without_its_secrets_does_not_start(profile: str) -> None:
    """Kubernetes waits for a Secret, or a key of it, that is not optional."""
    pods = dict(pod_templates(profile))
    volumes = [it for name in pods for it in pods[name]["spec"]["volumes"] if "secret" in it]
    assert {it["name"] for it in volumes if it["secret"].get("optional")} == {"nats-files", "http-token"}
    own = "nats-auth" if profile.startswith("edge") else "nats-users"
    assert {"nats-tls", own, "nats-ca"} <= {it["name"] for it in volumes}
    logins = [
        source["secretRef"]
        for _, it in containers(profile)
        for source in it.get("envFrom", [])
        if "secretRef" in source
    ]
    assert not any(it.get("optional") for it in logins)
    assert {it["name"] for it in logins} == (
        {"nats-login"} if profile.startswith("edge") else {"nats-login", "nats-hub"}
    )


def test_the_servers_key_is_for_the_server_alone() -> None:
    """Daemon and workers get the authority's certificate and no more of that Secret."""
    for profile in CLOSED:
        for name, template in pod_templates(profile):
            for volume in template["spec"]["volumes"]:
                if volume.get("secret", {}).get("secretName") == "nats-tls":
                    keys = {item["key"] for item in volume["secret"]["items"]}
                    assert keys == ({"tls.crt", "tls.key"} if name == "nats" else {"ca.crt"}), (profile, name)


def test_as_many_landing_accounts_fit_as_the_page_says(make_server: MakeServer) -> None:
    """With one more the server ends at once: the page warns of it."""
    page = (ROOT / "docs/DEPLOYMENT.md").read_text(encoding="utf-8")
    said = re.search(r"the volume of 7 Gi holds (\d+) of them", page)
    assert said
    for more in (0, 1):
        hub = make_server("staging-leafnode", sites="".join(f"s{n} leaf\n" for n in range(int(said[1]) + more)))
        hub.launch()
        if more:
            eventually(lambda: hub.ended() is not None, 30, "it ends")  # noqa: B023
            assert "insufficient storage resources available" in hub.log()
        else:
            eventually(lambda: "Server is ready" in hub.log(), 30, "it starts")  # noqa: B023


def test_a_hub_that_does_not_know_a_site_does_not_let_it_in(make_server: MakeServer) -> None:
    hub = make_server("staging-leafnode", sites="other leaf\n")
    hub.start()
    for login in ({}, {"user": "edge-1", "pass": "x"}):
        assert b"PONG" not in by_tls(hub.leaf_port, hub.ca, **login)


def test_a_site_that_is_struck_off_stays_out(make_server: MakeServer) -> None:
    """Once it is no more in the list of sites, whatever the Secret still has of it."""
    hub = make_server("staging-leafnode", sites="edge-2 leaf\n")
    site = make_server("edge-leafnode")
    hub.start()
    site.start()
    eventually(lambda: "Authorization Violation" in site.log(), 60, "the hub refuses the site")
    assert hub.ask("$JS.edge-1.API.INFO") == {}


def test_a_site_talks_to_no_hub_of_another_authority(
    make_server: MakeServer, strangers: tuple[secrets.Secrets, secrets.Secrets]
) -> None:
    _, theirs = strangers
    hub = make_server("staging-leafnode")
    wrong = changed("edge-leafnode", "nats-leafnode", ca_crt=theirs["nats-leafnode"]["ca.crt"])
    site = make_server("edge-leafnode", wrong)
    hub.start()
    site.start()
    eventually(lambda: "certificate signed by unknown authority" in site.log(), 60, site.log())
    assert hub.ask("$JS.edge-1.API.INFO") == {}


@pytest.mark.parametrize("scheme", ["tls", "nats"])
def test_a_site_sends_its_password_to_no_hub_without_tls(scheme: str, make_server: MakeServer) -> None:
    """Whoever stands in the hub's place offers no TLS: the site goes away without a word, whatever its URL says."""
    url = secrets.of("edge-leafnode")["nats-leafnode"]["url"].replace(b"tls://", f"{scheme}://".encode())
    site = make_server("edge-leafnode", changed("edge-leafnode", "nats-leafnode", url=url))
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", site.leaf_port)) as listener:
        thread = threading.Thread(target=pretend, args=(listener, heard), daemon=True)
        thread.start()
        site.start()
        eventually(lambda: len(heard) >= 2, 60, "the site comes, and comes again")
    assert not any(b"CONNECT" in it or b"pass" in it for it in heard), heard
    password = secrets.of("edge-leafnode")["nats-leafnode"]["url"].split(b":")[2].split(b"@")[0]
    assert not any(password in it for it in heard)


def pretend(listener: socket.socket, heard: list[bytes]) -> None:
    """A hub without TLS, for as long as the listener is open: it collects what a site says."""
    port = listener.getsockname()[1]
    info = {"server_id": "N", "server_name": "hub", "version": "2.15.1", "proto": 1, "max_payload": 1 << 20}
    info |= {
        "headers": True,
        "host": "127.0.0.1",
        "client_id": 7,
        "domain": "hub",
        "leafnode_urls": [f"127.0.0.1:{port}"],
    }
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.settimeout(3)
                connection.sendall(b"INFO " + json.dumps(info).encode() + b"\r\n")
                said = b""
                while part := connection.recv(4096):
                    said += part
            heard.append(said)


def test_with_the_right_secrets_a_file_goes_all_the_way(
    make_server: MakeServer, make_daemon: MakeDaemon, make_receiver: MakeReceiver, tmp_path: Path
) -> None:
    """From the site's folder by the site's server and the hub to a worker: every connection by TLS and with a login."""
    hub, site = make_server("staging-leafnode"), make_server("edge-leafnode")
    hub.start()
    site.start()
    hub.init()
    daemon = make_daemon(site.client_url, **site.settings("syncdaemon"))
    daemon.start()
    worker = make_receiver(hub.client_url, **hub.settings("nats-worker"))
    worker.start()
    daemon.drop("evidence", b"evidence")
    eventually(lambda: received(tmp_path / "received") == {"edge-1/evidence": b"evidence"}, 120, worker.log()[-2000:])
    (stored,) = asyncio.run(messages(hub.url, "swarm_jobs"))
    assert stored.data == b"evidence"
    with pytest.raises((NatsError, OSError)):
        asyncio.run(nats.connect(f"nats://127.0.0.1:{hub.port}", allow_reconnect=False, connect_timeout=5))


async def refused(url: str, subject: str, body: bytes = b"") -> bool:
    """Whether nobody answers this client on this subject."""
    client = await nats.connect(url, allow_reconnect=False)
    try:
        await client.request(subject, body, timeout=5)
    except NoRespondersError:
        return True
    finally:
        await client.close()
    return False


@pytest.mark.parametrize("kind", ["", " leaf"], ids=["direct", "behind a leaf node"])
def test_a_neighbour_reaches_nothing_of_a_site(kind: str, make_server: MakeServer) -> None:
    """A client with the login of another site: it can neither read nor write, purge nor acknowledge."""
    given = secrets.with_sites(secrets.of("staging-leafnode"), "edge-2")
    hub = make_server("staging-leafnode", given, sites=f"edge-1{kind}\nedge-2\n")
    hub.start()
    hub.init()
    mine = hub.url_of("site-edge-2")
    assert not asyncio.run(refused(mine, "edge.replay.edge-2.1", b"its own"))
    for subject in (
        "edge.replay.edge-1.1",
        "$O.edge_replay_edge-1.C.1",
        "$JS.API.DIRECT.GET.swarm_jobs.edge.replay.edge-1.1",
        "$JS.API.DIRECT.GET.OBJ_edge_replay_edge-1",
        "$JS.API.STREAM.INFO.swarm_jobs",
        "$JS.API.STREAM.PURGE.swarm_jobs",
        "$JS.API.STREAM.DELETE.swarm_jobs",
        "$JS.API.STREAM.CREATE.mine",
        "$JS.API.CONSUMER.MSG.NEXT.swarm_jobs.worker-staging",
        "$JS.ACK.swarm_jobs.worker-staging.1.1.1.1.0",
        "$JS.edge-1.API.STREAM.DELETE.swarm_jobs",
        "edge.checkpoint.edge-1",
    ):
        assert asyncio.run(refused(mine, subject)), subject
    (stored,) = asyncio.run(messages(hub.url, "swarm_jobs"))
    assert stored.data == b"its own"


def test_no_profile_uses_the_account_of_everybody() -> None:
    """Not even by name."""
    for profile in CLOSED:
        if not profile.startswith("edge"):
            assert not re.search(r"account\w*: \$G", rendered(profile))
