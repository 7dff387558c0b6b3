"""The quarantine and its orders: any sidecar, any order, any name. No file of it is ever lost."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from syncdaemon.spool import quarantine, requeue
from syncdaemon.spool.home import ReplayDirectory
from tests.fuzz import mutate
from tests.fuzz.surface import Case, Surface

MEMORY = "/dev/shm"
NAMES = (b"a", b"a b", b"\xff\n\x1b[31m", "\u202etxt".encode(), b"x.reason.json", b".hidden", b"a.tmp", b"x" * 240)
PATHS = ("a", "sub/a", "%FF%0A", "../../outside", "/etc/passwd", ".syncdaemon/lock", "a/../b", "", "sub/.hidden")
SIDECAR: dict[str, Any] = {
    "reason": "too_large",
    "error": "no",
    "attempts": 3,
    "first": "2026-03-04T05:06:07.000001Z",
    "last": "2026-03-04T05:06:09.000002Z",
    "sha256": "ab" * 32,
    "path": "sub/a",
    "size": 3,
}


@contextmanager
def _directory() -> Iterator[tuple[Path, ReplayDirectory]]:
    with TemporaryDirectory(dir=MEMORY if os.path.isdir(MEMORY) else None) as root:
        replay = Path(root, "replay")
        replay.mkdir()
        directory = ReplayDirectory(os.fsencode(replay))
        directory.open()
        try:
            yield Path(root), directory
        finally:
            directory.close()


def contents(root: Path) -> list[bytes]:
    """The contents of all files that are ours to keep."""
    found = [path.read_bytes() for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return sorted(data for data in found if data.startswith(b"evidence"))


def _empty(root: Path) -> None:
    """As before the first case."""
    own = root / "replay/.syncdaemon"
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if path not in (root / "replay", own) and path.parent != own:
                path.rmdir()
        elif path != own / "lock":
            path.unlink()


@contextmanager
def ready() -> Iterator[Case]:
    with _directory() as (root, directory):
        aside = root / "replay/.syncdaemon/quarantine"

        def case(random: Random) -> None:
            lies = {name: b"evidence %b" % random.randbytes(8) for name in random.sample(NAMES, random.choice((1, 2)))}
            for name, data in lies.items():
                _write(aside, name, data)
                if random.random() < 0.9:
                    sidecar = {**SIDECAR, "path": random.choice(PATHS)}
                    _write(aside, name + quarantine.SIDECAR, mutate.spelled(random, sidecar))
            kept = contents(root)
            quarantine.clean(directory)
            assert contents(root) == kept

            found = quarantine.entries(directory)
            for entry in found:
                assert isinstance(entry.path, bytes)
                assert type(entry.attempts) is int
            if random.random() < 0.5:
                requeue.ask(directory, found)
            else:
                _orders(random, root / "replay/.syncdaemon/requeue")
            done = requeue.carry_out(directory)
            requeue.forget(directory, [one.order for one in done])
            assert contents(root) == kept
            assert sorted(os.listdir(root)) == ["replay"]
            _empty(root)

        yield case


def _orders(random: Random, folder: Path) -> None:
    """Orders that somebody else wrote."""
    for name in random.sample(NAMES, 2):
        order = {"name": os.fsdecode(name), "path": random.choice(PATHS), "to": random.choice(PATHS)}
        fields = {**order, "size": 3, "sha256": "ab" * 32, "reason": "too_large"}
        written = mutate.spelled(random, fields) if random.random() < 0.8 else json.dumps(fields).encode()
        _write(folder, sha256(name).hexdigest().encode() + b".json", written)


def _write(folder: Path, name: bytes, data: bytes) -> None:
    with open(os.path.join(os.fsencode(folder), name), "wb") as file:
        file.write(data)


SURFACE = Surface("quarantine", "sidecars and orders of the quarantine", ready)
