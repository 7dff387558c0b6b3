"""What a test needs of the machine. Where that is missing the test is skipped with the reason, and on CI it fails."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

_LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"


def missing(what: str) -> NoReturn:
    """Ends the test; `what` is missing here."""
    if os.environ.get("CI"):
        pytest.fail(f"this machine lacks what the test needs, and on CI that is a failure: {what}")
    pytest.skip(what)


def root() -> None:
    """For namespaces, mounts and devices."""
    if os.geteuid() != 0:
        missing("needs root")


def program(name: str) -> str:
    """The path of a program, with /usr/sbin on the way."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        missing(f"needs the program {name}; see `make test-deps`")
    return found


def libfaketime() -> str:
    """The library that moves a process' clock."""
    for path in Path("/").glob(_LIBRARY.lstrip("/")):
        return str(path)
    missing("needs libfaketime; see `make test-deps`")
