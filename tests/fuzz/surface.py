"""A surface: a place where bytes come in that somebody else made up."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from random import Random
from typing import NamedTuple

Case = Callable[[Random], None]
"""Makes up one input, hands it to our code, and raises if that does what it must never do."""


class Surface(NamedTuple):
    """`ready` prepares what all cases have in common, such as a directory or a server, and takes it away again."""

    name: str
    about: str
    ready: Callable[[], AbstractContextManager[Case]]
