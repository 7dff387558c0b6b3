"""What people read of a real daemon and its commands: no control character in it, and no secret.

Names of files, a server's words, a sidecar and a ledger are as hostile as they get.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from syncdaemon.dev.server import NatsServer
from syncdaemon.ledger import rows
from syncdaemon.ledger.chain import START, seal
from tests.support.daemon import DaemonProcess, MakeDaemon
from tests.support.hostile import HostileServer, greeting
from tests.support.process import eventually
from tests.support.server import MakeNatsServer
from tests.support.shell import PASSWORD, Ended, Shell

pytestmark = pytest.mark.integration

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\n\u202egpj\u2066"
NAMES = [b"\x1b[2Jred", b"a\r\nb: c", "\u202egpj.exe".encode(), b"\x9b31m", b"\xff\xfe", b"[bold]x[red]y"]
READ = [("status",), ("status", "--json"), ("quarantine", "list"), ("quarantine", "list", "--json"), ("config",)]
MORE = [("doctor",), ("doctor", "--json"), ("verify",), ("verify", "--stream")]


def seen(text: str | bytes) -> str:
    """The same text, as one who reads it would get it: no character in it but printable ones and the ends of lines."""
    found = text.decode() if isinstance(text, bytes) else text
    assert all(line.isprintable() for line in found.split("\n")), ascii(found)
    return found


def read(ended: Ended) -> str:
    return seen(bare(ended.out)) + seen(bare(ended.err))


def bare(text: str) -> str:
    """Without the colours that are our own: the console form of the log has them."""
    for colour in ("\x1b[0m", "\x1b[1m", "\x1b[2m", *(f"\x1b[3{number}m" for number in range(8))):
        text = text.replace(colour, "")
    return text


def pages(daemon: DaemonProcess) -> str:
    """All that the web side shows."""
    found = [daemon.page(page)[1] for page in ("/status", "/healthz", "/readyz", "/livez", "/metrics")]
    return "".join(seen(page) for page in found)


def at(shell: Shell, daemon: DaemonProcess, url: str) -> Shell:
    """The shell, for the commands that look at this daemon."""
    web = f"127.0.0.1:{daemon.port}"
    shell.env |= {"SYNC_REPLAY_DIR": str(daemon.replay), "SYNC_LEDGER_DIR": str(daemon.ledger)}
    shell.env |= {"NATS_URL": url, "SYNC_HTTP_ADDR": web}
    return shell


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_name_of_a_file_commands_a_terminal(
    nats_server: NatsServer, make_daemon: MakeDaemon, shell: Shell, form: str
) -> None:
    """Delivered or not: log, pages, commands, ledger. A name stands percent-encoded or escaped."""
    daemon = make_daemon(nats_server.url, SYNC_LOG_FORMAT=form, SYNC_LOG_LEVEL="debug")
    daemon.start()
    for number, name in enumerate(NAMES):
        daemon.drop(name, b"evidence %d" % number)
        daemon.drop(b"folder-" + name + b"/" + name, b"more evidence %d" % number)
    eventually(lambda: len(daemon.rows_so_far("published")) == 2 * len(NAMES), what="all are delivered")
    look = at(shell, daemon, nats_server.url)
    shown = "".join(read(look(*command)) for command in [*READ, *MORE])
    assert "test-site: ok" in shown
    pages(daemon)
    daemon.stop()
    for name in NAMES:
        (daemon.replay / os.fsdecode(name)).write_bytes(b"later " + name)
    read(look("drain", SYNC_HTTP_ADDR="127.0.0.1:0", SYNC_LOG_FORMAT=form))
    seen(bare(daemon.log()))
    for path in daemon.ledger.glob("*.jsonl"):
        seen(path.read_bytes())


def test_no_refused_file_and_no_sidecar_commands_a_terminal(shell: Shell) -> None:
    """A sidecar can be tampered with; the names are those of the producer."""
    quarantine = shell.replay / ".syncdaemon/quarantine"
    quarantine.mkdir(parents=True)
    for name in NAMES:
        place = os.path.join(os.fsencode(quarantine), name)
        Path(os.fsdecode(place)).write_bytes(b"evidence")
        told = {field: HOSTILE for field in ("reason", "error", "first", "last", "sha256", "path")} | {"attempts": 1}
        Path(os.fsdecode(place + b".reason.json")).write_text(json.dumps(told, ensure_ascii=False))
    listed = shell("quarantine", "list")
    assert listed.code == 0
    assert read(listed).count("owned") >= len(NAMES)
    assert "%5Bbold%5Dx" in listed.out
    read(shell("quarantine", "list", "--json"))
    read(shell("quarantine", "requeue", "no such \x1b[2J"))
    read(shell("quarantine", "requeue", "--all"))
    assert len(shell.files()) == len(NAMES)


WORDS = HOSTILE.replace("\r\n", "")
ANSWER = json.dumps({"error": {"code": 400, "err_code": 99_999, "description": HOSTILE}}).encode()
LIES: dict[str, dict[str, Any]] = {
    "acknowledgement": {"greeting": greeting(server_name=HOSTILE, version=HOSTILE), "ack": lambda: ANSWER},
    "api": {"greeting": greeting(server_name=HOSTILE), "api": lambda subject: ANSWER},
    "error": {"then": [f"-ERR '{WORDS}'\r\n".encode()]},
    "error at once": {"greeting": f"-ERR '{WORDS}'\r\n".encode()},
    "garbage": {"greeting": f"{WORDS}\r\n".encode()},
}


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("lie", LIES)
def test_no_word_of_a_server_commands_a_terminal(make_daemon: MakeDaemon, shell: Shell, lie: str, form: str) -> None:
    """Its name in the greeting, its errors, its answers."""
    with HostileServer(**LIES[lie]) as server:
        daemon = make_daemon(server.url, SYNC_LOG_FORMAT=form)
        daemon.start()
        daemon.drop("file", b"evidence")
        eventually(lambda: server.connections > 2 or "owned" in daemon.log(), what="it has lied")
        look = at(shell, daemon, server.url)
        for command in [("status",), ("status", "--json"), ("doctor",)]:
            read(look(*command))
        pages(daemon)
        assert daemon.waiting()
        daemon.stop()
        seen(bare(daemon.log()))


def test_no_row_of_a_ledger_commands_a_terminal(shell: Shell) -> None:
    """Whoever can write the ledger can't command the auditor's terminal with it."""
    shell.ledger.mkdir()
    event, fields = rows.link_up({"server_name": HOSTILE, "server_id": HOSTILE, "version": HOSTILE})
    line, head = seal(START, "test-site", "2026-03-04T05:06:07.000001Z", event, fields)
    odd, _ = seal(head, "test-site", "2026-03-04T05:06:07.000001Z", HOSTILE, {"a": HOSTILE})
    ledger = shell.ledger / "evidence-test-site-20260304.jsonl"
    for content in (line + b"\n" + odd + b"\n", line + b"\n" + odd.replace(b'"n":2', b'"n":\x1b[2J') + b"\n"):
        ledger.write_bytes(content)
        ended = shell("verify")
        assert ended.code == 1
        read(ended)
    ledger.rename(shell.ledger / "evidence-test-site-\x1b[2J20260304.jsonl")
    read(shell("verify"))


WAYS: dict[str, tuple[str, dict[str, str], bool]] = {
    "url": (f"nats://edge:{PASSWORD}@", {}, True),
    "name": ("nats://", {"NATS_USER": "edge", "NATS_PASSWORD": PASSWORD}, True),
    "refused url": (f"nats://edge:{PASSWORD}x@", {}, False),
    "refused token in url": (f"nats://{PASSWORD}@", {}, False),
    "refused token": ("nats://", {"NATS_TOKEN": PASSWORD}, False),
    "no tls": (f"tls://edge:{PASSWORD}@", {}, False),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_secret_is_in_any_output(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, shell: Shell, way: str
) -> None:
    """Refused or let in: not in log, pages, ledger or a command; nor is it after a kill."""
    server = make_nats_server(config=f'authorization {{ users: [{{user: "edge", password: "{PASSWORD}"}}] }}')
    server.start()
    before, settings, let_in = WAYS[way]
    url = before + server.url.removeprefix("nats://")
    daemon = make_daemon(url, SYNC_LOG_LEVEL="debug", **settings)
    daemon.start()
    daemon.drop("file", b"evidence")
    if let_in:
        eventually(lambda: daemon.rows_so_far("published"), what="it is delivered")
    else:
        eventually(lambda: daemon.ailment("link") not in ("", "not connected yet"), what="it is refused")
    look = at(shell, daemon, url)
    texts = [read(look(*command, **settings)) for command in [("status",), ("config",), ("doctor",), ("verify",)]]
    texts.append(pages(daemon))
    daemon.kill()
    texts += [path.read_text() for path in daemon.ledger.glob("*.jsonl")]
    texts.append(daemon.log())
    assert all(texts)
    assert not any(PASSWORD in text for text in texts)
