"""A memory limit of the kernel's for the processes that are started in it, as a container has one. Needs root.

    with limit:
        server.start()      # a process that is started here has the limit
    assert limit.kills == 0

Either version of cgroups will do. Of version 2, the controller `memory` has to be there for the machine's own groups.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support import needs

_ROOT = Path("/sys/fs/cgroup")


class MemoryLimit:
    """A group of processes that together get no more than so many bytes; the kernel kills one of them for more."""

    def __init__(self, limit: int) -> None:
        needs.root()
        self._old = (_ROOT / "memory").is_dir()
        if not self._old and "memory" not in _words(_ROOT / "cgroup.controllers"):
            needs.missing("needs the cgroup controller `memory`")
        above = _ROOT / "memory" if self._old else _ROOT
        self._folder = above / f"syncdaemon-test-{os.getpid()}-{time.monotonic_ns()}"
        self._home = above / self._own_group() / "cgroup.procs"
        try:
            if not self._old and "memory" not in _words(_ROOT / "cgroup.subtree_control"):
                (_ROOT / "cgroup.subtree_control").write_text("+memory")
            self._folder.mkdir()
            (self._folder / ("memory.limit_in_bytes" if self._old else "memory.max")).write_text(str(limit))
        except OSError as error:
            needs.missing(f"needs cgroups that can be made: {error}")

    def _own_group(self) -> str:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if ("memory" in controllers.split(",")) if self._old else not controllers:
                return path.lstrip("/")
        return ""

    def __enter__(self) -> None:
        (self._folder / "cgroup.procs").write_text(str(os.getpid()))

    def __exit__(self, *_: object) -> None:
        self._home.write_text(str(os.getpid()))

    @property
    def kills(self) -> int:
        """How many processes the kernel has killed for their memory."""
        lines = (self._folder / ("memory.oom_control" if self._old else "memory.events")).read_text().splitlines()
        return int(dict(line.split() for line in lines)["oom_kill"])

    @property
    def resident(self) -> int:
        """Bytes that the group has and that can't be read back from a disk."""
        lines = (self._folder / "memory.stat").read_text().splitlines()
        return int(dict(line.split() for line in lines)["total_rss" if self._old else "anon"])

    def remove(self) -> None:
        """When all its processes have ended."""
        for _ in range(50):
            with suppress(OSError):
                self._folder.rmdir()
                return
            time.sleep(0.1)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


LimitMemory = Callable[[int], MemoryLimit]
"""Takes bytes."""


@pytest.fixture
def limit_memory() -> Iterator[LimitMemory]:
    """Makes a limit of so many bytes. Ask for it before the server, which has to end first."""
    with ExitStack() as ending:

        def make(limit: int) -> MemoryLimit:
            found = MemoryLimit(limit)
            ending.callback(found.remove)
            return found

        yield make
