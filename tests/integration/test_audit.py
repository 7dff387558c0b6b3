"""The auditor itself: a good delivery passes, and each sin against a promise is found."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import starmap
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.audit import Audit, File, audit
from tests.support.client import connect
from tests.support.daemon import DaemonProcess
from tests.support.jetstream import refuse_large_files
from tests.support.server import new_server

pytestmark = pytest.mark.integration

REFUSED = [File.of(b"large", b"l" * 5_000)]
FILES = [*starmap(File.of, [(b"a", b"one"), (b"b", b"two"), (b"copy of b", b"two"), (b"\xff\n", b"")]), *REFUSED]
MORE = File.of(b"c", b"three")


class Scene(NamedTuple):
    """What is left after a delivery."""

    url: str
    replay: Path
    ledger: Path

    def audit(self, files: list[File], refused: list[File] = REFUSED) -> Audit:
        """Against what was written, or said to be."""
        return audit(self.url, "swarm_jobs", self.replay, self.ledger, files, refused)


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A real delivery, with a duplicate and a refused file."""
    folder = tmp_path_factory.mktemp("scene")
    with new_server(folder / "server", config="max_payload: 4096") as server:
        asyncio.run(refuse_large_files(server.url))
        daemon = DaemonProcess(folder, server.url)
        for name, data in [(b"a", b"one"), (b"b", b"two"), (b"copy of b", b"two"), (b"\xff\n", b"")]:
            daemon.drop(name, data)
        daemon.drop(b"large", b"l" * 5_000)
        command = [sys.executable, "-m", "syncdaemon", "drain", "--timeout", "30"]
        assert subprocess.run(command, env=daemon.env, capture_output=True).returncode == 1
        yield Scene(server.url, daemon.replay, daemon.ledger)


@pytest.fixture
def scene(delivered: Scene, tmp_path: Path) -> Scene:
    """The same, its files for the test to alter."""
    for folder in (delivered.replay, delivered.ledger):
        shutil.copytree(folder, tmp_path / folder.name)
    return Scene(delivered.url, tmp_path / "replay", tmp_path / "ledger")


def test_a_good_delivery_has_no_problems(scene: Scene) -> None:
    """Four files delivered and one refused."""
    assert scene.audit(FILES) == Audit(files=5, lost=0, doubled=0, problems=[])


def test_a_file_that_went_nowhere_is_lost(scene: Scene) -> None:
    """Neither its content is in the stream, nor is there a receipt."""
    found = scene.audit([*FILES, MORE])
    assert found.lost == 1
    assert len(found.problems) == 2


def test_what_nobody_wrote_is_found(scene: Scene) -> None:
    """In the stream and among the receipts."""
    problems = scene.audit([file for file in FILES if file.path != b"a"]).problems
    assert [problem.partition(",")[0] for problem in problems] == [
        "1 messages that nobody wrote",
        "1 receipts too many",
    ]


def test_a_file_that_was_refused_in_secret_is_found(scene: Scene) -> None:
    """It is neither where refused files are, nor delivered."""
    assert len(scene.audit(FILES, [*REFUSED, FILES[0]]).problems) >= 3


def without(row: int) -> Callable[[list[dict[str, Any]]], None]:
    """That row is taken out."""
    return lambda rows: rows.__delitem__(row)


def twice(rows: list[dict[str, Any]]) -> None:
    """A receipt is there twice."""
    rows.append(next(row for row in rows if row["event"] == "published"))


def elsewhere(rows: list[dict[str, Any]]) -> None:
    """A receipt names another message."""
    receipts = [row for row in rows if row["event"] == "published"]
    receipts[0]["stream_seq"] = receipts[1]["stream_seq"]


def both_published(rows: list[dict[str, Any]]) -> None:
    """A duplicate says that it was the first."""
    next(row for row in rows if row["event"] == "duplicate")["event"] = "published"


def unrefused(rows: list[dict[str, Any]]) -> None:
    """No row tells of the refused file."""
    rows[:] = [row for row in rows if row["event"] != "refused"]


@pytest.mark.parametrize("forge", [without(3), twice, elsewhere, both_published, unrefused])
def test_a_ledger_that_was_forged_with_care_still_does_not_match(
    scene: Scene, forge: Callable[[list[dict[str, Any]]], None]
) -> None:
    """Its chain is made anew, so only the stream and the producers contradict it."""
    (path,) = scene.ledger.glob("evidence-*.jsonl")
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    rows = [row for row in rows if row["event"] != "link"]
    forge(rows)
    lines, prev = b"", "0" * 64
    for number, row in enumerate(rows, 1):
        line = json.dumps({**row, "n": number, "prev": prev}, sort_keys=True, separators=(",", ":")).encode()
        lines, prev = lines + line + b"\n", sha256(line).hexdigest()
    path.write_bytes(lines)
    problems = scene.audit(FILES).problems
    assert problems
    assert not any("chain" in problem for problem in problems)


@pytest.mark.parametrize(("old", "new"), [(b'"size":3', b'"size":4'), (b'"event":"open"', b'"event":"Open"')])
def test_an_altered_row_breaks_the_chain(scene: Scene, old: bytes, new: bytes) -> None:
    """Its own hash in the next row says so."""
    (path,) = scene.ledger.glob("evidence-*.jsonl")
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    assert any("the chain is broken" in problem for problem in scene.audit(FILES).problems)


def test_what_is_left_in_the_replay_directory_is_found(scene: Scene) -> None:
    """A file that was delivered and not let go of, and one too many in quarantine."""
    (scene.replay / "a").write_bytes(b"one")
    (scene.replay / ".syncdaemon/quarantine/b").write_bytes(b"two")
    assert len(scene.audit(FILES).problems) == 3


def test_a_content_that_is_stored_twice_is_found(scene: Scene) -> None:
    """Under another subject, as a stream would take it; the last test here, for the stream is altered."""

    async def publish() -> None:
        client = await connect(scene.url)
        await client.jetstream().publish("edge.replay.other.1", b"one", headers={"Edge-Size": "4"})
        await client.close()

    asyncio.run(publish())
    found = scene.audit(FILES)
    assert found.doubled == 1
    assert any("say what is not so" in problem for problem in found.problems)
