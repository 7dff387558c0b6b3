"""Rules for some files, on a real daemon: what is left alone, what is told of it, and what a reload changes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from syncdaemon.client import Outbox, Refused
from syncdaemon.dev.server import NatsServer
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import messages
from tests.support.shell import Shell

pytestmark = pytest.mark.integration

LEAVE = '[[rule]]\nmatch = ["*.log"]\nleave = true\n'


def published(daemon: DaemonProcess) -> set[str]:
    return {str(row["path"]) for row in daemon.rows("published")}


def left_alone(daemon: DaemonProcess) -> dict[str, int]:
    found: dict[str, int] = json.loads(daemon.get("/status")).get("left_alone", {})
    return found


def test_what_a_rule_leaves_alone_stays_and_is_counted_until_the_rule_goes(
    nats_server: NatsServer, make_daemon: MakeDaemon, shell: Shell
) -> None:
    """A wrong file of rules changes nothing; its ticket is told why there is no receipt."""
    rules = shell.folder / "rules.toml"
    rules.write_text(LEAVE)
    daemon = make_daemon(nats_server.url, str(shell.folder), SYNC_RULES=str(rules))
    daemon.drop("a.log", b"a log")
    daemon.drop("a.bin", b"evidence")
    daemon.start(within=60)
    eventually(lambda: published(daemon) == {"a.bin"}, 60, "the evidence is delivered")
    eventually(lambda: left_alone(daemon) == {"1": 1}, 60, "the log is counted")
    assert daemon.metric("syncdaemon_left_alone_files") == 1
    assert daemon.metric("replay_queue_depth") == 0
    assert "rule 1: 1" in json.loads(daemon.page("/healthz")[1])["checks"]["rules"]["detail"]

    ticket = Outbox(daemon.replay).put(b"another log", name="b.log")
    with pytest.raises(Refused, match="rule 1") as refused:
        ticket.receipt(60)
    assert refused.value.reason == "left_alone"

    rules.write_text(LEAVE + "[[rule]]\nmatch = 7\n")
    ended = shell("reload")
    assert ended.code == 1
    assert "rule 2: match" in ended.err
    assert published(daemon) == {"a.bin"}
    rules.write_text("")
    assert "SYNC_RULES" in shell("reload").out
    eventually(lambda: published(daemon) == {"a.bin", "a.log", "b.log"}, 60, "all is delivered")
    assert left_alone(daemon) == {}
    assert ticket.receipt(60).stream_seq > 0


@pytest.mark.lengthy
def test_a_start_with_wrong_rules_is_exit_2_in_one_line(shell: Shell, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    for text, words in ((LEAVE + "prioritty = 1", "rule 1: prioritty"), ("[[rule]\n", "line 1")):
        rules.write_text(text)
        for command in ("run", "drain"):
            ended = shell(command, SYNC_RULES=str(rules))
            assert (ended.code, len(ended.said)) == (2, 1)
            assert f"{rules}: " in ended.err
            assert words in ended.err


def test_the_commands_say_which_rule_takes_a_path(shell: Shell) -> None:
    rules = shell.folder / "rules.toml"
    rules.write_text(LEAVE)
    (shell.replay / "a.log").write_text("x")
    (shell.replay / "a.bin").write_text("x")
    ended = shell("rules", "test", "x/b.log", str(shell.replay / "a.bin"), SYNC_RULES=str(rules))
    assert ended.out.splitlines() == [
        'x/b.log: leave = true, by rule 1 (match = ["*.log"])',
        "a.bin: no rule takes it: the settings hold",
    ]
    ended = shell("rules", "dry-run", SYNC_RULES=str(rules))
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "1 files are delivered, 1 are left alone"
    found = [json.loads(line) for line in shell("rules", "dry-run", "--json", SYNC_RULES=str(rules)).out.splitlines()]
    assert {one["path"]: one["rules"].get("leave", {}).get("rule") for one in found} == {"a.log": 1, "a.bin": None}


@pytest.mark.lengthy
def test_priority_hold_and_compression_are_of_each_file(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """The high one is stored first, held for longer, and packed."""
    folder = make_daemon(nats_server.url)
    rules = folder.replay.parent / "rules.toml"
    rules.write_text('[[rule]]\nmatch = ["z-high"]\npriority = 9\ncompress = "zstd"\nhold = 600\n')
    daemon = make_daemon(nats_server.url, SYNC_RULES=str(rules), SYNC_HOLD_SECONDS="0")
    for name in ("a", "b", "z-high"):
        daemon.drop(name, name.encode() * 1000)
    daemon.start(within=60)
    eventually(lambda: len(published(daemon)) == 3, 60, "all is delivered")
    found = asyncio.run(messages(nats_server.url, "swarm_jobs"))
    assert found[0].headers["Edge-Path"] == "z-high"
    packed = {message.headers["Edge-Path"] for message in found if "Content-Encoding" in message.headers}
    assert packed == {"z-high"}
    eventually(lambda: not [path for path in daemon.waiting()], 60, "all is retired")
    held = daemon.replay / ".syncdaemon" / "held"
    eventually(lambda: len([path for path in held.rglob("*") if path.is_file()]) == 1, 60, "the others are deleted")
    daemon.kill()
    daemon.start(within=60)
    assert daemon.metric("syncdaemon_held_files") == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_rules_that_change_between_kills_store_nothing_twice(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """The daemon dies while files go, and begins again under other rules each time."""
    folder = make_daemon(nats_server.url)
    rules = folder.replay.parent / "rules.toml"
    daemon = make_daemon(nats_server.url, SYNC_RULES=str(rules), SYNC_HOLD_SECONDS="1")
    names = [f"{at % 3}-{at}.bin" for at in range(600)]
    for name in names:
        daemon.drop(name, name.encode() * 50)
    for turn in range(10):
        some, other = turn % 3, (turn + 1) % 3
        rules.write_text(
            f'[[rule]]\nmatch = ["{some}-*"]\nleave = true\n'
            f'[[rule]]\nmatch = ["{other}-*"]\ncompress = "zstd"\npriority = {turn - 5}\nhold = {turn % 2}\n'
        )
        daemon.start(within=60)
        for _ in range(turn % 4 + 1):
            daemon.drop(f"{turn % 3}-late-{turn}.bin", b"late %d" % turn)
        daemon.kill()
    rules.write_text("")
    daemon.start(within=60)
    eventually(lambda: not daemon.waiting(), 120, "all is delivered")
    found = asyncio.run(messages(nats_server.url, "swarm_jobs"))
    paths = [message.headers["Edge-Path"] for message in found]
    assert sorted(paths) == sorted(set(names) | {f"{turn % 3}-late-{turn}.bin" for turn in range(10)})
    recorded = [str(row["path"]) for row in daemon.rows("published", "duplicate")]
    assert set(recorded) == set(paths)
