"""Bad days of the link, as the daemon meets them: names, certificates, credentials, servers that go or are new."""

from __future__ import annotations

import os
import signal
import socket
import time
from itertools import starmap
from pathlib import Path

import pytest

from syncdaemon.dev.server import HOST, NatsServer
from tests.support import needs
from tests.support.audit import File, audit
from tests.support.certificates import Certificates
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.producers import producing
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STREAM = "swarm_jobs"
FILES = [(b"f%d" % number, b"evidence %d" % number) for number in range(20)]


def all_once(url: str, daemon: DaemonProcess, files: list[File]) -> None:
    """Everything is delivered, each file once, and the daemon ends in good order."""
    eventually(lambda: not daemon.waiting(), 60, "all is delivered")
    assert daemon.stop() == 0
    assert audit(url, STREAM, daemon.replay, daemon.ledger, files).problems == []


def drop_all(daemon: DaemonProcess) -> list[File]:
    """A few files, which can't be delivered for now."""
    for name, data in FILES:
        daemon.drop(name, data)
    return list(starmap(File.of, FILES))


# Names.


class Resolver:
    """What a process takes for the machine's list of hosts and its resolver."""

    def __init__(self, folder: Path) -> None:
        needs.root()
        self.hosts, self.order, self.servers = folder / "hosts", folder / "nsswitch.conf", folder / "resolv.conf"
        self.write("127.0.0.1 localhost", "hosts: files")

    def write(self, hosts: str, order: str = "hosts: files", servers: str = "") -> None:
        """Changes them in place."""
        for path, text in ((self.hosts, hosts), (self.order, order), (self.servers, servers)):
            path.write_text(text + "\n")

    def command(self) -> list[str]:
        """What to put before a command, so that it sees these."""
        places = [f"mount --bind {path} /etc/{path.name}" for path in (self.hosts, self.order, self.servers)]
        return [needs.program("unshare"), "--mount", "sh", "-c", " && ".join([*places, 'exec "$@"']), "sh"]


def test_a_name_that_does_not_resolve_is_waited_for(
    nats_server: NatsServer, make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    """Health says which name; as soon as it resolves everything is delivered."""
    resolver = Resolver(tmp_path)
    daemon = make_daemon(f"nats://hub.example:{nats_server.port}")
    daemon.command[:0] = resolver.command()
    files = drop_all(daemon)
    daemon.start()
    eventually(lambda: "hub.example" in daemon.ailment("link"), what="health says that there is no such name")
    assert len(daemon.waiting()) == len(FILES)
    resolver.write(f"{HOST} hub.example")
    eventually(lambda: daemon.metric("edge_link_status") == 1, 5, "it resolves")
    all_once(nats_server.url, daemon, files)
    assert len(daemon.logged("no_connection", at_least=1)) == 1


def test_a_resolver_that_never_answers_holds_up_nothing(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    """Neither the web side while it is asked, nor the end of the daemon for longer than that takes."""
    resolver = Resolver(tmp_path)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.153", 53))
        resolver.write("127.0.0.1 localhost", "hosts: files dns", "nameserver 127.0.0.153")
        daemon = make_daemon("nats://hub.example:4222")
        daemon.command[:0] = resolver.command()
        daemon.start()
        eventually(lambda: mute.recvfrom(512), what="the resolver is asked")
        eventually(lambda: "no answer within 5 seconds" in daemon.ailment("link"), what="health says that it is silent")
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 15


# Certificates and credentials.


def test_a_certificate_that_nobody_trusts_is_waited_out(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, certificates: Certificates
) -> None:
    """Somebody renewed the server's with the wrong authority: health says so, and the right one ends it."""
    server = make_nats_server(config=certificates.tls())
    server.start()
    daemon = make_daemon(f"tls://{HOST}:{server.port}", NATS_TLS_CA=str(certificates.ca))
    daemon.start()
    eventually(lambda: daemon.metric("edge_link_status") == 1, what="the link is up")
    server.stop()
    server.config = certificates.untrusted()
    server.start()
    files = drop_all(daemon)
    eventually(lambda: "certificate" in daemon.ailment("link"), what="health says what is wrong")
    assert len(daemon.waiting()) == len(FILES)
    server.stop()
    server.config = certificates.tls()
    server.start()
    eventually(lambda: not daemon.waiting(), 60, "all is delivered")
    server.stop()
    server.config = ""  # for the auditor
    server.start()
    assert daemon.stop() == 0
    assert audit(server.url, STREAM, daemon.replay, daemon.ledger, files).problems == []


def users(*names: str) -> str:
    """A server's configuration that lets these in, by the same password."""
    listed = ", ".join(f"{{user: {name}, password: secret}}" for name in names)
    return f"authorization {{ users: [{listed}] }}"


def reload(server: NatsServer, old: str, new: str) -> None:
    """Its operator changes the configuration of the running server."""
    path = server.folder / "nats-server.conf"
    path.write_text(path.read_text().replace(old, new))
    os.kill(server.pid, signal.SIGHUP)


def test_credentials_that_are_revoked_and_given_back_cost_no_file(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """In the middle of a delivery, by a reload of the server."""
    server = make_nats_server(config=users("edge", "auditor"))
    server.start()
    daemon = make_daemon(server.url, NATS_USER="edge", NATS_PASSWORD="secret")
    daemon.start()
    with producing(daemon) as files:
        eventually(lambda: len(daemon.rows_so_far("published")) > 20, what="the delivery is under way")
        reload(server, "{user: edge, password: secret}", "{user: edge, password: changed}")
        eventually(lambda: "the server refused the credentials" in daemon.ailment("link"), what="health says so")
        reload(server, "{user: edge, password: changed}", "{user: edge, password: secret}")
        daemon.next_receipt(40)
    all_once(f"nats://auditor:secret@{HOST}:{server.port}", daemon, files)
    assert "secret" not in daemon.log()


# Servers that go.


def test_a_server_in_lame_duck_mode_is_left_in_good_order(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """In the middle of a delivery: JetStream stops first, then the connection ends; the next start of it goes on."""
    server = make_nats_server()
    server.start()
    daemon = make_daemon(server.url)
    daemon.start()
    with producing(daemon) as files:
        eventually(lambda: len(daemon.rows_so_far("published")) > 20, what="the delivery is under way")
        os.kill(server.pid, signal.SIGUSR2)
        eventually(lambda: "lame duck" in daemon.log(), what="the daemon is told")
        eventually(lambda: daemon.ailment("link"), what="health says that there is no server")
        server.kill()
        server.start()
        daemon.next_receipt(30)
    all_once(server.url, daemon, files)
