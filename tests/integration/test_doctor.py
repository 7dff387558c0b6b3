"""`syncdaemon doctor` against real servers: it finds what is wrong with each, and alters nothing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from typing import Any

import pytest
from nats.js.api import StreamConfig

from syncdaemon.dev.server import HOST, NatsServer
from tests.support.client import connect
from tests.support.daemon import MakeDaemon, eventually
from tests.support.ports import own_port
from tests.support.server import MakeNatsServer
from tests.support.shell import Shell, given_away, one_line

pytestmark = pytest.mark.integration

STREAM, SUBJECTS = "swarm_jobs", ["edge.replay.*.*"]
FAKETIME = [f"/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1" for machine in ("x86_64", "aarch64")]
LOGINS = """
authorization {{ users: [
    {{ user: admin, password: admin }}
    {{ user: edge, password: edge, permissions: {{ publish: {{ deny: [{denied}] }} }} }}
] }}
"""


async def create(url: str, **config: Any) -> None:
    """A stream of the owner's own making."""
    client = await connect(url)
    given = {"name": STREAM, "subjects": SUBJECTS, "storage": "file", "allow_direct": True} | config
    answer = await client.request(f"$JS.API.STREAM.CREATE.{STREAM}", json.dumps(given).encode())
    assert "error" not in json.loads(answer.data), answer.data
    await client.close()


async def state(url: str) -> Any:
    """Every stream and consumer there is, as the server tells it; but for the time of asking."""
    client = await connect(url)
    streams = json.loads((await client.request("$JS.API.STREAM.LIST")).data)["streams"]
    consumers = [
        json.loads((await client.request(f"$JS.API.CONSUMER.LIST.{stream['config']['name']}")).data)["consumers"]
        for stream in streams
    ]
    await client.close()
    return [{**stream, "ts": ""} for stream in streams], consumers


def examined(shell: Shell, code: int, **settings: str) -> dict[str, tuple[str, str]]:
    """What `doctor` says: level and text of each check."""
    ended = shell("doctor", "--json", **settings)
    assert ended.code == code, ended
    assert ended.err == ""
    return {one["check"]: (one["level"], f"{one['said']} {one['remedy']}") for one in json.loads(ended.out)}


def levels(found: dict[str, tuple[str, str]]) -> dict[str, str]:
    """Those that are not ok, but for the daemon that does not run in most tests."""
    return {check: level for check, (level, _) in found.items() if level != "ok" and check != "daemon"}


def test_a_running_daemon_on_its_own_stream_is_well(
    shell: Shell, nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """One line for each check, none of them a warning; and nothing is altered, neither there nor here."""
    daemon = make_daemon(nats_server.url, str(shell.folder))
    daemon.start()
    daemon.drop("a", b"evidence")
    eventually(lambda: daemon.metric("syncdaemon_held_files") == 1, what="it is delivered and held")
    before, files = asyncio.run(state(nats_server.url)), sorted(map(str, shell.folder.rglob("*")))
    (summary,) = shell("doctor", NATS_URL=nats_server.url).out.splitlines()
    ended = shell("doctor", "--verbose", NATS_URL=nats_server.url)

    assert (ended.code, ended.err) == (0, "")
    first, *lines = ended.out.splitlines()
    assert (
        summary
        == f"{first}; --verbose shows them"
        == f"{len(lines)} checks: 0 failures, 0 warnings, {len(lines)} ok; --verbose shows them"
    )
    assert len(lines) > 30
    assert [line for line in lines if not line.startswith("ok ")] == []
    for part in ("an outage of any length makes no second copy", "one runs on the replay directory", "ago; no file wa"):
        assert part in ended.out
    assert asyncio.run(state(nats_server.url)) == before
    assert sorted(map(str, shell.folder.rglob("*"))) == files
    assert json.loads(daemon.get("/status"))["link"]["up"]


def test_a_missing_stream_is_not_created(shell: Shell, nats_server: NatsServer) -> None:
    """It says what `run` would do, and whether it may; without the permission by settings it is a failure."""
    found = examined(shell, 0, NATS_URL=nats_server.url, SYNC_STREAM_MAX_AGE="30d")
    assert found["stream"][0] == "warning"
    assert "`syncdaemon run` creates it: subjects edge.replay.*.*, file storage" in found["stream"][1]
    assert "max_age 30d" in found["stream"][1]
    assert found["may_create"] == ("ok", f"the stream {STREAM} may be created ")
    assert levels(found) == {"stream": "warning", "clock": "warning"}
    assert asyncio.run(state(nats_server.url)) == ([], [])

    assert examined(shell, 1, NATS_URL=nats_server.url, SYNC_STREAM_CREATE="false")["stream"][0] == "failure"


@pytest.mark.parametrize(
    ("config", "expected", "said"),
    [
        (
            {"retention": "workqueue", "deny_delete": True},
            {"retention": "warning", "dedupe": "warning"},
            ("dedupe", "more than 2 minutes may make second copies, so may a restart of the server"),
        ),
        (
            {"max_age": 3600 * 10**9, "discard": "new", "deny_delete": True},
            {"max_age": "warning", "dedupe": "warning"},
            ("dedupe", "an outage of more than 1 hour may make second copies"),
        ),
        (
            {"discard": "old", "max_bytes": 1 << 20},
            {"discard": "warning", "deny_delete": "warning", "dedupe": "warning"},
            ("discard", "at its limit (max_bytes) the stream throws away acknowledged messages"),
        ),
        (
            {"storage": "memory", "deny_delete": True},
            {"storage": "failure"},
            ("storage", "a restart of the server loses every message"),
        ),
        (
            {"no_ack": True, "deny_delete": True},
            {"no_ack": "failure", "may_publish": "failure"},
            ("no_ack", "no delivery can be proved"),
        ),
        (
            {"subjects": ["other.>"], "deny_delete": True},
            {"subject": "failure"},
            ("subject", "the stream captures other.>, not edge.replay.test-site.*"),
        ),
        (
            {"persist_mode": "async", "deny_delete": True},
            {"persist_mode": "warning"},
            ("persist_mode", "acknowledged before it is written"),
        ),
        (
            {"max_msg_size": 1000, "deny_delete": True},
            {"max_msg_size": "warning"},
            ("max_msg_size", "of up to 1000 bytes, the server 1 MiB"),
        ),
    ],
)
def test_a_stream_of_another_making(
    shell: Shell, nats_server: NatsServer, config: dict[str, Any], expected: dict[str, str], said: tuple[str, str]
) -> None:
    """What weakens a promise is a warning, what breaks one a failure; all else about it is well."""
    asyncio.run(create(nats_server.url, **config))
    before = asyncio.run(state(nats_server.url))
    found = examined(shell, int("failure" in expected.values()), NATS_URL=nats_server.url)

    assert levels(found) == expected
    assert said[1] in found[said[0]][1]
    assert asyncio.run(state(nats_server.url)) == before


def test_a_plain_subject_has_the_window_for_equal_files(shell: Shell, nats_server: NatsServer) -> None:
    """In words."""
    asyncio.run(create(nats_server.url, subjects=["edge.*"], deny_delete=True, duplicate_window=30 * 10**9))
    found = examined(shell, 0, NATS_URL=nats_server.url, SYNC_SUBJECT="edge.{site}")

    assert levels(found) == {"dedupe": "warning"}
    assert "no second copy, but equal files over 30 seconds apart are a message each" in found["dedupe"][1]


def test_a_stream_whose_subjects_another_one_has(
    shell: Shell, nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """It can't be created: `doctor` says what `run` finds, and both name the other stream."""
    asyncio.run(create(nats_server.url))
    found = examined(shell, 1, NATS_URL=nats_server.url, SYNC_STREAM="other")
    assert found["stream"][0] == "failure"
    assert "there is no other, and it can't be created: swarm_jobs has subjects that overlap" in found["stream"][1]
    (shell.replay / "waits").write_bytes(b"evidence")
    refused = one_line(shell("drain", NATS_URL=nats_server.url, SYNC_STREAM="other"), 2)
    assert "other can't be created" in refused
    assert "swarm_jobs" in refused


def test_a_subject_that_is_not_captured_is_no_missing_right(shell: Shell, nats_server: NatsServer) -> None:
    """The right is there: the server says so, by answering that no stream takes the message."""
    asyncio.run(create(nats_server.url, subjects=["other.>"], deny_delete=True))
    found = examined(shell, 1, NATS_URL=nats_server.url)
    assert found["subject"][0] == "failure"
    assert found["may_publish"][0] == "ok"
    assert not [check for check, (_, said) in found.items() if "allow publishing" in said]


def test_findings_come_first(shell: Shell, nats_server: NatsServer) -> None:
    """Failures, warnings, then how many of each there are; what is well only with --verbose, behind that."""
    asyncio.run(create(nats_server.url, no_ack=True))
    brief = shell("doctor", NATS_URL=nats_server.url)
    whole = shell("doctor", "--verbose", NATS_URL=nats_server.url)
    assert brief.code == whole.code == 1
    *lines, summary = brief.out.splitlines()
    kinds = [line.split()[0] for line in lines]
    assert kinds == sorted(kinds)  # failures before warnings
    failures, warnings = kinds.count("failure"), kinds.count("warning")
    assert f": {failures} failures, {warnings} warnings, " in summary
    more = whole.out.splitlines()[len(lines) + 1 :]
    assert len(more) > 20
    assert {line.split()[0] for line in more} == {"ok"}


async def seal(url: str) -> None:
    """For good."""
    client = await connect(url)
    await client.jetstream().update_stream(StreamConfig(name=STREAM, subjects=SUBJECTS, sealed=True))
    await client.close()


def test_a_sealed_stream(shell: Shell, nats_server: NatsServer) -> None:
    """It takes nothing ever again."""
    asyncio.run(create(nats_server.url))
    asyncio.run(seal(nats_server.url))
    found = examined(shell, 1, NATS_URL=nats_server.url)

    assert found["sealed"][0] == "failure"
    assert "takes no message ever again" in found["sealed"][1]


async def fill(url: str) -> None:
    """As long as it takes something."""
    client = await connect(url)
    for number in range(3):
        await client.jetstream().publish(f"edge.replay.test-site.{number}", b"x")
    await client.close()


def test_a_full_stream(shell: Shell, nats_server: NatsServer) -> None:
    """That refuses new messages."""
    asyncio.run(create(nats_server.url, max_msgs=3, discard="new", deny_delete=True))
    asyncio.run(fill(nats_server.url))
    found = examined(shell, 1, NATS_URL=nats_server.url)

    assert levels(found) == {"room": "failure"}
    assert "3 of 3 messages: full, nothing is taken" in found["room"][1]


def test_what_a_stream_costs_its_server_and_the_command_that_cures_it(
    shell: Shell, make_nats_server: MakeNatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory limit as GOMEMLIMIT tells it, other sites in the stream by its messages, limits by the settings."""
    monkeypatch.setenv("GOMEMLIMIT", "200MiB")
    server = make_nats_server(monitor_port=0)
    server.start()
    asyncio.run(create(server.url, discard="new", deny_delete=True))
    asyncio.run(fill(server.url))
    settings = {"NATS_URL": server.url, "NATS_MONITOR_URL": server.monitor_url, "SITE": "another"}
    found = examined(shell, 0, **settings)
    assert found["digests"] == ("ok", "3 messages ")
    assert found["limits"][0] == "warning"
    assert "has 250 MiB of memory nats stream edit swarm_jobs --max-msgs=244140 --force" in found["limits"][1]
    assert found["life"][0] == "warning"
    assert "nats stream edit swarm_jobs --max-age=30d --force" in found["life"][1]

    asked = {"SYNC_STREAM_MAX_AGE": "7d", "SYNC_STREAM_MAX_MSGS": "775000"}
    command = "nats stream edit swarm_jobs --max-age=7d --max-msgs=775000 --force"
    assert command in examined(shell, 0, **settings, **asked)["limits"][1]
    assert examined(shell, 0, **{**settings, "SITE": "test-site"})["life"][0] == "ok"


@pytest.mark.parametrize(
    ("denied", "check", "level"),
    [
        ("edge.replay.>", "may_publish", "failure"),
        ("$JS.API.STREAM.MSG.GET.> $JS.API.DIRECT.GET.>", "may_read", "failure"),
        ("$JS.API.CONSUMER.CREATE.>", "may_consume", "warning"),
        ("$JS.API.CONSUMER.MSG.NEXT.>", "may_consume", "warning"),
        ("$JS.API.STREAM.INFO.swarm_jobs", "stream", "warning"),
        ("$JS.API.STREAM.INFO.OBJ_edge_replay_test-site", "bucket", "warning"),
    ],
)
def test_a_right_that_is_missing(
    shell: Shell, make_nats_server: MakeNatsServer, denied: str, check: str, level: str
) -> None:
    """Each is tried without doing anything; the connection outlives it."""
    server = make_nats_server(config=LOGINS.format(denied=", ".join(f'"{one}"' for one in denied.split())))
    server.start()
    admin = server.url.replace("nats://", "nats://admin:admin@")
    asyncio.run(create(admin, deny_delete=True))
    before = asyncio.run(state(admin))
    found = examined(shell, int(level == "failure"), NATS_URL=server.url, NATS_USER="edge", NATS_PASSWORD="edge")

    assert found[check][0] == level
    assert all(one.removesuffix(".>").lower() in found[check][1].lower() for one in denied.split())
    assert set(levels(found)) - {"clock"} == {check}
    assert asyncio.run(state(admin)) == before


def test_to_read_ones_own_subject_is_enough(shell: Shell, make_nats_server: MakeNatsServer) -> None:
    """By a direct get: the right to read any message of the stream is not asked for."""
    server = make_nats_server(config=LOGINS.format(denied='"$JS.API.STREAM.MSG.GET.>"'))
    server.start()
    asyncio.run(create(server.url.replace("nats://", "nats://admin:admin@"), deny_delete=True))
    found = examined(shell, 0, NATS_URL=server.url, NATS_USER="edge", NATS_PASSWORD="edge")
    assert found["may_read"][0] == "ok"


def test_a_stream_that_may_not_be_created(shell: Shell, make_nats_server: MakeNatsServer) -> None:
    """And is not there."""
    server = make_nats_server(config=LOGINS.format(denied='"$JS.API.STREAM.CREATE.>"'))
    server.start()
    found = examined(shell, 1, NATS_URL=server.url, NATS_USER="edge", NATS_PASSWORD="edge")

    assert found["may_create"][0] == "failure"


@pytest.mark.parametrize(
    ("jetstream", "hold", "level", "said"),
    [
        ("sync_interval: always", "0", "ok", "SYNC_HOLD_SECONDS=0 is right"),
        ("sync_interval: always", "150", "ok", "SYNC_HOLD_SECONDS=150 is not needed, 0 is right"),
        ("", "150", "ok", "the server syncs every 2 minutes, and a delivered file is held for 2.5 minutes"),
        ("", "0", "warning", "SYNC_HOLD_SECONDS=0 is not right"),
        ('sync_interval: "10m"', "150", "warning", "set SYNC_HOLD_SECONDS=630"),
    ],
)
def test_whether_the_hold_is_right_is_seen_at_the_monitoring_url(
    shell: Shell, make_nats_server: MakeNatsServer, jetstream: str, hold: str, level: str, said: str
) -> None:
    """By what the server does with what it acknowledged. Its clock is seen there too, before there is a stream."""
    server = make_nats_server(monitor_port=0, jetstream=jetstream)
    server.start()
    settings = {"NATS_URL": server.url, "NATS_MONITOR_URL": f"{server.monitor_url}/", "SYNC_HOLD_SECONDS": hold}
    found = examined(shell, 0, **settings)

    assert found["sync"][0] == level
    assert said in found["sync"][1]
    assert found["clock"][0] == "ok"


def test_a_monitoring_url_of_nobody_or_of_another(
    shell: Shell, nats_server: NatsServer, make_nats_server: MakeNatsServer
) -> None:
    """A warning that says which."""
    nobody = f"http://{HOST}:{own_port()}"
    found = examined(shell, 0, NATS_URL=nats_server.url, NATS_MONITOR_URL=nobody)
    assert found["sync"][0] == "warning"
    assert f"NATS_MONITOR_URL: {nobody}/jsz can't be read" in found["sync"][1]

    other = make_nats_server(monitor_port=0)
    other.start()
    found = examined(shell, 0, NATS_URL=nats_server.url, NATS_MONITOR_URL=other.monitor_url)
    assert found["sync"][0] == "warning"
    assert "another server" in found["sync"][1]


def test_a_server_that_is_away(shell: Shell) -> None:
    """Exit 3, and this machine is looked at all the same."""
    found = examined(shell, 3)

    assert found["connection"][0] == "failure"
    assert shell.env["NATS_URL"] in found["connection"][1]
    assert found["replay_dir"][0] == found["ledger_dir"][0] == "ok"
    assert "stream" not in found


def test_a_server_without_jetstream(shell: Shell, make_nats_server: MakeNatsServer) -> None:
    """Nothing can be delivered there."""
    server = make_nats_server(jetstream=None)
    server.start()
    found = examined(shell, 1, NATS_URL=server.url)

    assert "JetStream is off" in found["stream"][1]
    assert found["may_publish"][0] == "failure"


def test_what_is_wrong_with_this_machine(shell: Shell, nats_server: NatsServer) -> None:
    """A directory that is a file, a disk with too little room, files that wait, an altered ledger, refused files."""
    files = [shell.folder / "file", shell.folder / "another"]
    for file in files:
        file.write_bytes(b"")
    folders = {"SYNC_REPLAY_DIR": str(files[0]), "SYNC_LEDGER_DIR": str(files[1] / "ledger")}
    found = examined(shell, 1, NATS_URL=nats_server.url, **folders)
    assert found["replay_dir"][0] == found["ledger_dir"][0] == "failure"

    found = examined(shell, 1, NATS_URL=nats_server.url, SYNC_MIN_FREE_BYTES="8000Ti")
    assert found["replay_dir_space"][0] == "warning"
    assert found["ledger_dir_space"][0] == "failure"

    (shell.replay / "a").write_bytes(b"evidence")
    assert shell("drain", NATS_URL=nats_server.url).code == 0
    assert levels(examined(shell, 0, NATS_URL=nats_server.url)) == {}
    (ledger,) = shell.ledger.glob("*.jsonl")
    ledger.write_bytes(ledger.read_bytes().replace(b'"attempts":1', b'"attempts":2'))
    (shell.replay / "b").write_bytes(b"waits")
    os.utime(shell.replay / "b", (1e9, 1e9))
    (shell.replay / ".syncdaemon/quarantine/c").write_bytes(b"refused")
    found = examined(shell, 1, NATS_URL=nats_server.url)
    assert found["chain"][0] == "failure"
    assert "altered after it was written" in found["chain"][1]
    assert "1 files wait" in found["last_receipt"][1]
    assert levels(found) == {"chain": "failure", "quarantine": "warning"}


def test_a_mount_in_the_replay_directory(shell: Shell, nats_server: NatsServer) -> None:
    """Files can't be renamed out of it, even where it is the same file system."""
    probe = subprocess.run(["unshare", "-m", "true"], capture_output=True)
    if probe.returncode:
        if os.environ.get("CI"):
            pytest.fail("CI can make a mount namespace")
        pytest.skip("a mount namespace needs root (unshare -m)")
    for name in ("usb", ".syncdaemon/held", "elsewhere"):
        (shell.replay / name).mkdir(parents=True)
    for target, said in (("usb", "files below usb are on another mount"), (".syncdaemon/held", "held is a mount")):
        mount = 'mount --bind "$0/elsewhere" "$0/$1" && shift && exec "$@"'
        program = ("unshare", "-m", "sh", "-c", mount, str(shell.replay), target)
        ended = shell.under(program, "doctor", "--json", NATS_URL=nats_server.url)
        assert ended.code == 1, ended
        (found,) = (one for one in json.loads(ended.out) if one["check"] == "moves")
        assert found["level"] == "failure"
        assert said in found["said"]


def test_root_looks_with_the_rights_of_the_daemons_user(shell: Shell, nats_server: NatsServer) -> None:
    """Who can't write where root can."""
    assert shell("drain", NATS_URL=nats_server.url).code == 0
    given_away(shell)
    found = examined(shell, 1, NATS_URL=nats_server.url)

    assert found["replay_dir"][0] == "ok"
    assert found["ledger_dir"][0] == "failure"
    assert "Permission denied" in found["ledger_dir"][1]


def test_wrong_settings_are_said_in_one_line(shell: Shell) -> None:
    """Exit 2, as everywhere."""
    assert "NATS_CREDS" in one_line(shell("doctor", NATS_CREDS="nowhere.creds"), 2)
    line = one_line(shell("doctor", NATS_MONITOR_URL="hub:8222"), 2)
    assert (
        line
        == "NATS_MONITOR_URL: does not begin with http:// or https:// and a host ('hub:8222'), write http://host:8222"
    )


@pytest.mark.parametrize("seconds", [-100, 100])
def test_a_clock_that_is_wrong(shell: Shell, nats_server: NatsServer, seconds: int) -> None:
    """This machine's, against the server's."""
    asyncio.run(create(nats_server.url, deny_delete=True))
    library = next((path for path in FAKETIME if os.path.exists(path)), None)
    if library is None:
        if os.environ.get("CI"):
            pytest.fail("CI has libfaketime (make test-deps)")
        pytest.skip("libfaketime is not installed (make test-deps)")
    faked = {"LD_PRELOAD": library, "FAKETIME": f"{seconds:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    began = time.monotonic()
    found = examined(shell, 0, NATS_URL=nats_server.url, **faked)
    assert time.monotonic() - began < 60

    side = "ahead of" if seconds > 0 else "behind"
    assert found["clock"][0] == "warning"
    assert f"1.7 minutes {side} the server's" in found["clock"][1]
    assert found["file_clock"][0] == "warning"
