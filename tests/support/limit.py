"""Less of the machine than a test's process has: what a full disk or a full table of files is to the daemon."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

FILE_BYTES, OPEN_FILES = resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE


@contextmanager
def limit(what: int, most: int) -> Iterator[None]:
    """The kernel gives this process no more of it; a file's bytes: a write is cut short first, as on a full disk."""
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))
