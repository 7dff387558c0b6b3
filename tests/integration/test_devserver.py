"""The server of `syncdaemon dev` and of the tests: it answers, comes back as it was, and outlives nobody."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from pathlib import Path

import pytest

from syncdaemon.base.errors import SettingsError
from syncdaemon.dev.server import HOST, NatsServer, find_binary, free_port
from tests.support.client import connect
from tests.support.jetstream import messages
from tests.support.ports import own_port
from tests.support.server import MakeNatsServer, new_server

pytestmark = pytest.mark.integration

PARENT = """
import sys, time
from pathlib import Path
from syncdaemon.dev.server import NatsServer
server = NatsServer(Path(sys.argv[1]), port=int(sys.argv[2]))
server.start()
print(server.port, flush=True)
time.sleep(100)
"""


def answers(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1.0).close()
    except OSError:
        return False
    return True


async def publish(server: NatsServer, *payloads: bytes) -> None:
    client = await connect(server.url)
    try:
        js = client.jetstream()
        await js.add_stream(name="kept", subjects=["kept.>"])
        for number, payload in enumerate(payloads, start=1):
            await js.publish(f"kept.{number}", payload, headers={"Number": str(number)})
    finally:
        await client.close()


async def test_it_answers_as_soon_as_start_returns(nats_server: NatsServer) -> None:
    await publish(nats_server, b"one", b"two")

    assert await messages(nats_server.url, "kept") == [
        (1, "kept.1", {"Number": "1"}, b"one"),
        (2, "kept.2", {"Number": "2"}, b"two"),
    ]


@pytest.mark.parametrize("end", [NatsServer.stop, NatsServer.kill])
async def test_a_restart_keeps_the_port_and_the_store(nats_server: NatsServer, end: object) -> None:
    await publish(nats_server, b"one")
    url, pid = nats_server.url, nats_server.pid

    end(nats_server)  # type: ignore[operator]  # one of the two above
    assert not answers(nats_server.port)
    nats_server.start()

    assert nats_server.url == url
    assert nats_server.pid != pid
    assert [message.data for message in await messages(url, "kept")] == [b"one"]


async def test_the_auditor_reads_across_deleted_messages(nats_server: NatsServer) -> None:
    await publish(nats_server, b"one", b"two", b"three")
    client = await connect(nats_server.url)
    await client.jetstream().delete_msg("kept", 2)
    await client.close()

    assert [message.seq for message in await messages(nats_server.url, "kept")] == [1, 3]


def test_stopping_twice_is_stopping_once(nats_server: NatsServer) -> None:
    nats_server.stop()
    nats_server.stop()
    with pytest.raises(RuntimeError, match="not running"):
        _ = nats_server.pid


def test_a_frozen_one_is_silent_until_thawed_and_can_be_stopped(nats_server: NatsServer) -> None:
    nats_server.freeze()
    with socket.create_connection((HOST, nats_server.port), timeout=0.3) as client:  # the kernel accepts
        with pytest.raises(TimeoutError):
            client.recv(1)
        nats_server.thaw()
        client.settimeout(10.0)
        assert client.recv(4) == b"INFO"

    nats_server.freeze()
    started = time.monotonic()
    nats_server.stop(within=30.0)
    assert time.monotonic() - started < 10.0


def test_it_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path), str(own_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        try:
            assert parent.stdout is not None
            port = int(parent.stdout.readline())
            assert answers(port)
        finally:
            parent.kill()

    deadline = time.monotonic() + 10.0
    while answers(port):
        assert time.monotonic() < deadline, "the server outlived its parent"
        time.sleep(0.01)


def test_ctrl_c_at_the_parent_is_not_meant_for_the_server(nats_server: NatsServer) -> None:
    assert os.getpgid(nats_server.pid) != os.getpgid(0)


def test_it_listens_on_loopback_only(make_nats_server: MakeNatsServer) -> None:
    server = make_nats_server(monitor_port=0)
    server.start()
    for port in (server.port, server.monitor_port):
        with socket.socket() as elsewhere:  # loopback too, yet another address
            assert elsewhere.connect_ex(("127.0.0.2", port)) != 0
    with urllib.request.urlopen(f"{server.monitor_url}/healthz") as answer:
        assert answer.status == 200


def test_more_config_reaches_the_server(make_nats_server: MakeNatsServer) -> None:
    server = make_nats_server(config="max_payload: 4096", jetstream="sync_interval: always")
    server.start()
    with socket.create_connection((HOST, server.port)) as client:
        assert b'"max_payload":4096' in client.recv(4096)


def test_a_port_in_use_is_said_in_one_line(make_nats_server: MakeNatsServer, nats_server: NatsServer) -> None:
    second = make_nats_server(port=nats_server.port)
    with pytest.raises(SettingsError, match=r"^nats-server on port \d+ ended .*address already in use.*$") as caught:
        second.start()
    assert "\n" not in str(caught.value)
    assert str(second.log_path) in str(caught.value)
    assert answers(nats_server.port)


def test_a_port_held_by_a_program_that_says_nothing(make_nats_server: MakeNatsServer) -> None:
    with (
        socket.create_server((HOST, 0)) as silent,
        pytest.raises(SettingsError, match="address already in use"),
    ):
        make_nats_server(port=silent.getsockname()[1]).start()


def test_a_bad_config_is_said_with_its_place(make_nats_server: MakeNatsServer) -> None:
    with pytest.raises(SettingsError, match=r'nats-server\.conf:\d+:1: unknown field "nonsense"'):
        make_nats_server(config="nonsense: 1").start()


def test_a_second_server_on_one_store_is_refused_while_the_first_lives(nats_server: NatsServer) -> None:
    second = new_server(nats_server.folder)
    with pytest.raises(SettingsError, match="another nats-server is running on the store"):
        second.start()
    nats_server.kill()
    with second:
        assert answers(second.port)


def test_a_server_on_the_path_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "nats-server"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary() == own


def test_without_any_server_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("nats-server") is None
    assert find_binary().parent in {Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))}

    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(SettingsError, match=r"pip install 'syncdaemon\[dev\]'"):
        find_binary()


def test_a_free_port_is_the_preferred_one_unless_taken() -> None:
    wanted = own_port()
    assert free_port(wanted) == wanted
    with socket.create_server((HOST, wanted)):
        assert free_port(wanted) != wanted


def test_a_server_that_never_answers_is_given_up_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    idler = tmp_path / "nats-server"
    idler.write_text("#!/bin/sh\necho $$ >" + str(tmp_path / "pid") + "\nexec sleep 100\n")
    idler.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(SettingsError, match=r"did not answer within 0\.5 s"):
        new_server(tmp_path / "server", ready_within=0.5).start()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIG_DFL)
