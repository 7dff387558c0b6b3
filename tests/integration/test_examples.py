"""The examples of docs/HANDOVER.md, run as they are written."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import types
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import MakeDaemon

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"


def test_every_example_says_where_its_files_are(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(nats_server.url)
    daemon.start()
    env = {**os.environ, "PYTHONPATH": str(ROOT / "services")}
    for name, files in (("hand_over", 1), ("hand_over_asyncio", 20), ("hand_over_threads", 20)):
        command = [sys.executable, str(EXAMPLES / f"{name}.py"), str(daemon.replay)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert [line.split()[0] for line in done.stdout.splitlines()] == ["message"] * files, done.stdout


class Sent:
    """A request of FastAPI, as far as the handler looks at it."""

    async def body(self) -> bytes:
        return b"evidence"


class Answer:
    """A response of FastAPI."""

    status_code = 200


Handler = Callable[[Any, Any], Awaitable[dict[str, object]]]


class App:
    """FastAPI, as far as the handler uses it."""

    def post(self, _path: str) -> Callable[[Handler], Handler]:
        return lambda handler: handler


def handler(replay: Path, monkeypatch: pytest.MonkeyPatch) -> Handler:
    """The handler of the example, which runs here without FastAPI: nothing of ours needs that."""
    stand_in = types.ModuleType("fastapi")
    vars(stand_in).update(FastAPI=App, Request=Sent, Response=Answer)
    monkeypatch.setitem(sys.modules, "fastapi", stand_in)
    monkeypatch.setenv("REPLAY_DIR", str(replay))
    spec = importlib.util.spec_from_file_location("hand_over_fastapi", EXAMPLES / "hand_over_fastapi.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Handler = module.evidence
    return found


def test_the_handler_answers_201_with_a_receipt_and_202_without(
    nats_server: NatsServer, make_daemon: MakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = make_daemon(nats_server.url)
    daemon.start()
    evidence = handler(daemon.replay, monkeypatch)
    answer = Answer()
    assert asyncio.run(evidence(Sent(), answer))["stream_seq"] == 1  # type: ignore[arg-type]
    assert answer.status_code == 201
    daemon.kill()
    answer = Answer()
    assert "ticket" in asyncio.run(evidence(Sent(), answer))  # type: ignore[arg-type]
    assert answer.status_code == 202
