"""A closed day is compressed, and at no instant are both of its files gone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from syncdaemon.base import disk
from syncdaemon.base.errors import LedgerDamaged
from syncdaemon.ledger import compress as module
from syncdaemon.ledger.compress import compress
from syncdaemon.ledger.day_files import files, open_day

NAME = "evidence-here-20270101.jsonl"
DATA = b'{"n":1}\n' * 500_000  # several pieces


def no_rest() -> None:
    """Works on."""


@pytest.fixture
def day(tmp_path: Path) -> Path:
    path = tmp_path / NAME
    path.write_bytes(DATA)
    return path


def content(path: Path) -> bytes:
    with open_day(path) as file:
        return file.read()


def test_the_compressed_file_takes_the_place_of_the_plain_one(day: Path) -> None:
    packed = compress(day, no_rest)
    assert sorted(os.listdir(day.parent)) == [NAME + ".zst"]
    assert files(day.parent, "here") == [packed]
    assert content(packed) == DATA
    assert packed.stat().st_size < len(DATA) / 5


def test_an_equal_one_that_a_crash_left_beside_it_counts(day: Path) -> None:
    packed = compress(day, no_rest)
    made = packed.stat().st_ino
    day.write_bytes(DATA)
    assert compress(day, no_rest) == packed
    assert packed.stat().st_ino == made
    assert not day.exists()


@pytest.mark.parametrize("change", ["other", "longer", "cut"])
def test_one_that_is_not_equal_is_damage_that_names_both(day: Path, change: str) -> None:
    packed = compress(day, no_rest)
    whole = packed.read_bytes()
    day.write_bytes({"other": b"x" + DATA[1:], "longer": DATA + b"x", "cut": DATA}[change])
    if change == "cut":
        packed.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LedgerDamaged, match=packed.name):
        compress(day, no_rest)
    assert day.exists()
    assert packed.exists()


def test_what_an_earlier_try_left_is_written_anew(day: Path) -> None:
    (day.parent / f".{NAME}.zst").write_bytes(b"half")
    assert content(compress(day, no_rest)) == DATA
    assert os.listdir(day.parent) == [NAME + ".zst"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(8))
def test_an_error_at_any_call_loses_nothing_and_the_next_try_ends_it(
    day: Path, monkeypatch: pytest.MonkeyPatch, number: int, after: bool
) -> None:
    """A disk that refuses the call, or does it and says that it did not."""
    count = 0

    def failing(real: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            nonlocal count
            count += 1
            if after or count - 1 != number:
                real(*arguments)
            if count - 1 == number:
                raise OSError(5, os.strerror(5))

        return call

    with monkeypatch.context() as broken:
        broken.setattr(module, "sync", failing(disk.sync))
        broken.setattr(module, "fsync_dir", failing(disk.fsync_dir))
        broken.setattr(module, "rename_new", failing(disk.rename_new))
        broken.setattr(os, "unlink", failing(os.unlink))
        with suppress(OSError):
            compress(day, no_rest)
    assert content(files(day.parent, "here")[0]) == DATA
    if day.exists():
        compress(day, no_rest)
    assert os.listdir(day.parent) == [NAME + ".zst"]
    assert content(day.parent / f"{NAME}.zst") == DATA


def test_a_work_that_is_ended_leaves_the_plain_file(day: Path) -> None:
    def end() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        compress(day, end)
    assert os.listdir(day.parent) == [NAME]


def test_other_tools_read_it(day: Path) -> None:
    packed = compress(day, no_rest)
    if subprocess.run(["sh", "-c", "command -v zstd"], capture_output=True, check=False).returncode:
        pytest.skip("no zstd here")
    assert subprocess.run(["zstd", "-dc", packed], capture_output=True, check=True).stdout == DATA
