"""`syncdaemon doctor --deliver`: a marked file goes all the way, and what can't be seen of it is said."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.receiver import MakeReceiver, received
from tests.support.server import MakeNatsServer
from tests.support.shell import Shell

pytestmark = pytest.mark.integration

WAY = ["on disk", "taken", "acknowledged", "row", "worker"]
SITE_LOGIN = """
authorization {{ users: [
    {{ user: admin, password: admin }}
    {{ user: edge, password: edge, permissions: {{ publish: {{ deny: [{denied}] }} }} }}
] }}
"""


class Told(NamedTuple):
    """What the command said of one step."""

    level: str
    said: str
    seconds: float


def delivered(shell: Shell, code: int, *options: str, **settings: str) -> dict[str, Told]:
    """Each step, as JSON tells it."""
    ended = shell("doctor", "--deliver", "--json", *(options or ("--timeout", "30")), **settings)
    assert (ended.code, ended.err) == (code, ""), ended
    steps = json.loads(ended.out)
    seconds = [step["seconds"] for step in steps]
    assert seconds == sorted(seconds)
    return {step["step"]: Told(step["level"], step["said"], step["seconds"]) for step in steps}


@pytest.fixture
def daemon(nats_server: NatsServer, make_daemon: MakeDaemon, shell: Shell) -> DaemonProcess:
    """A running daemon on the shell's folders, whose quiet time is long: what has none shows."""
    made = make_daemon(nats_server.url, str(shell.folder), SYNC_SETTLE_SECONDS="30")
    made.start()
    return made


def test_a_marked_file_goes_all_the_way_to_a_worker(
    shell: Shell, daemon: DaemonProcess, nats_server: NatsServer, make_receiver: MakeReceiver
) -> None:
    """A line for each step; nothing is left in the replay directory; the worker knows the file by its name."""
    receiver = make_receiver(nats_server.url)
    receiver.start()
    ended = shell("doctor", "--deliver", NATS_URL=nats_server.url)
    assert (ended.code, ended.err) == (0, ""), ended
    lines = ended.out.splitlines()
    assert [line.startswith(f"ok       {step}") for step, line in zip(WAY, lines, strict=True)] == [True] * len(WAY)
    assert shell.files() == []

    steps = delivered(shell, 0, NATS_URL=nats_server.url)
    assert list(steps) == WAY
    assert {told.level for told in steps.values()} == {"ok"}
    assert steps["worker"].said.startswith("confirmed: all up to message 2 ")
    assert f"test-site/{steps['on disk'].said}" in received(receiver.target)
    assert steps["on disk"].said.startswith("syncdaemon-doctor-")


def test_without_a_worker_it_says_so(shell: Shell, daemon: DaemonProcess, nats_server: NatsServer) -> None:
    """That is no failure: a stream may be fetched from later."""
    steps = delivered(shell, 0, NATS_URL=nats_server.url)
    assert list(steps) == WAY
    assert steps["worker"][:2] == ("warning", "no worker: stream swarm_jobs has no consumer that takes this message")


def test_a_worker_that_does_not_come_is_waited_for_in_vain(
    shell: Shell, daemon: DaemonProcess, nats_server: NatsServer, make_receiver: MakeReceiver
) -> None:
    """It says where the message is by then. Another consumer does not count where one is named."""
    receiver = make_receiver(nats_server.url)
    receiver.start()
    assert delivered(shell, 0, NATS_URL=nats_server.url)["worker"].level == "ok"
    receiver.stop()

    steps = delivered(shell, 1, "--timeout", "3", NATS_URL=nats_server.url)
    assert steps["row"].level == "ok"
    assert steps["worker"].level == "failure"
    assert steps["worker"].said.startswith("not within 3 s: consumer worker-staging has 1 messages to give")
    other = delivered(shell, 0, "--timeout", "30", "--consumer", "other", NATS_URL=nats_server.url)
    assert "no consumer other" in other["worker"].said


@pytest.mark.parametrize("denied", ['"$JS.API.CONSUMER.>"', '"$JS.API.>", "$KV.>"'])
def test_a_login_that_may_not_see_it_is_told_so(
    shell: Shell, make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, denied: str
) -> None:
    """What `confirmed` would mean can't be known then. The row shows that the stream has the message."""
    server = make_nats_server(config=SITE_LOGIN.format(denied=denied))
    server.start()
    maker = make_daemon(server.url, str(shell.folder), NATS_USER="admin", NATS_PASSWORD="admin")
    maker.start()
    login = {"NATS_URL": server.url, "NATS_USER": "edge", "NATS_PASSWORD": "edge"}

    steps = delivered(shell, 0, **login)
    assert list(steps) == WAY
    assert steps["acknowledged"].level == "ok"
    assert steps["worker"].level == "warning"
    assert steps["worker"].said.startswith("not shown to this login: ")


def test_without_a_daemon_no_file_is_put(shell: Shell, nats_server: NatsServer) -> None:
    ended = shell("doctor", "--deliver", NATS_URL=nats_server.url)
    assert (ended.code, ended.out) == (3, "")
    assert len(ended.said) == 1
    assert "no file was put" in ended.said[0]
    assert shell.files() == []


def test_one_that_stands_by_gets_no_file(shell: Shell, nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    made = make_daemon(nats_server.url, str(shell.folder), EDGE_MODE="false")
    made.start()
    assert "stands by" in delivered(shell, 1, NATS_URL=nats_server.url)["on disk"].said
    assert shell.files() == []


def test_while_the_link_is_down_the_file_waits(shell: Shell, daemon: DaemonProcess, nats_server: NatsServer) -> None:
    """The line says which step it waits for, and why; the file is delivered when the link is back."""
    nats_server.kill()
    steps = delivered(shell, 1, "--timeout", "3", NATS_URL=nats_server.url)
    assert steps["taken"].level == "ok"
    assert steps["row"].level == "failure"
    assert "the daemon has no acknowledgement yet" in steps["row"].said
    assert "the file waits" in steps["row"].said
    assert shell.files() == [steps["on disk"].said]

    nats_server.start()
    eventually(lambda: shell.files() == [], what="the marked file is delivered", within=60)
