"""A replay directory of a test: files in it, and what is there afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pytest

from syncdaemon.base.model import Content
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.moves import stamp_of
from syncdaemon.spool.own import NAME


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[ReplayDirectory]:
    """A replay directory that is ours."""
    place = tmp_path / "replay"
    place.mkdir()
    directory = ReplayDirectory(os.fsencode(place))
    directory.open()
    yield directory
    directory.close()


def own(directory: ReplayDirectory, name: bytes) -> bytes:
    """The path of one of the daemon's own folders in the replay directory."""
    return os.path.join(directory.replay_dir, NAME, name)


def full(directory: ReplayDirectory, path: bytes) -> bytes:
    """Where a file of the replay directory lies."""
    return os.path.join(directory.replay_dir, path)


def write(directory: ReplayDirectory, path: bytes, data: bytes = b"evidence") -> bytes:
    """A file in the replay directory, with its folders."""
    place = full(directory, path)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, "wb") as file:
        file.write(data)
    return place


def read(place: bytes) -> bytes:
    """What a file holds."""
    with open(place, "rb") as file:
        return file.read()


def content_of(directory: ReplayDirectory, path: bytes) -> Content:
    """The file as it was read for delivery, with its folder open as it is then."""
    stamp, data = stamp_of(full(directory, path)), read(full(directory, path))
    assert stamp is not None
    directory.folders.begin()
    folder = directory.folders.enter(os.path.dirname(path)).id
    return Content(path, quote_from_bytes(path), stamp, data, sha256(data).hexdigest(), 1, folder=folder)


def waiting(directory: ReplayDirectory) -> dict[bytes, bytes]:
    """All files of the replay directory outside our own folder, with what they hold."""
    return tree(directory.replay_dir, skip=b".syncdaemon")


def tree(root: bytes, skip: bytes = b"") -> dict[bytes, bytes]:
    """All files below a folder, with what they hold."""
    found = {}
    for folder, folders, names in os.walk(root):
        if skip in folders:
            folders.remove(skip)
        for name in names:
            place = os.path.join(folder, name)
            found[os.path.relpath(place, root)] = read(place)
    return found


def meanwhile(
    patch: pytest.MonkeyPatch, function: str, act: Callable[[], object], before: bool = True, of: object = os
) -> None:
    """Something happens right before (or after) the first call of a function of a module."""
    real = getattr(of, function)
    done: list[bool] = []

    def call(*args: Any, **kwargs: Any) -> Any:
        if before and not done:
            done.append(True)
            act()
        result = real(*args, **kwargs)
        if not before and not done:
            done.append(True)
            act()
        return result

    patch.setattr(of, function, call)
