"""The token that senders on other machines need, out of the file that SYNC_HTTP_TOKEN_FILE names.

The file is read whenever the token is needed. So a new token counts at once, also where a mounted Kubernetes Secret
exchanges a symlink, and the old one counts no more. A file that can't be used lets no stranger in.
"""

from __future__ import annotations

import os
import re
import stat
import time
from pathlib import Path
from typing import NamedTuple

import structlog

from syncdaemon.base.errors import SettingsError
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.web.access import NO_TOKEN_SET, NO_USABLE_TOKEN, Barred

LEAST, MOST = 16, 1024  # characters of a token
_TOKEN = re.compile(rb"[\x21-\x7e]+")

log = structlog.get_logger(__name__)


class _Found(NamedTuple):
    """What the file holds, and its mode."""

    token: bytes
    mode: int


class TokenFile:
    """`path`: the file; None where none is set."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._once_a_minute = OnceAMinute()

    def check(self) -> None:
        """Looks at the file at the start. Raises SettingsError where no token can be had of it."""
        if self._path is None:
            return
        try:
            found = _read(self._path)
        except ValueError as error:
            raise SettingsError(f"SYNC_HTTP_TOKEN_FILE: {error}") from None
        if found.mode & (stat.S_IROTH | stat.S_IWOTH):
            log.warning(
                "http_token_open_to_others",
                setting="SYNC_HTTP_TOKEN_FILE",
                mode=f"{stat.S_IMODE(found.mode):04o}",
                remedy="every user of this machine can read or write the file: chmod o-rw",
            )

    def current(self) -> bytes | Barred:
        """The token that counts now, or what strangers are answered instead."""
        if self._path is None:
            return NO_TOKEN_SET
        try:
            return _read(self._path).token
        except ValueError as error:
            if self._once_a_minute.due(time.monotonic()):
                log.error("http_token_unusable", setting="SYNC_HTTP_TOKEN_FILE", error=str(error))
            return NO_USABLE_TOKEN


def token_in(path: Path) -> str:
    """The token in this file. Raises SettingsError where there is none."""
    try:
        return _read(path).token.decode("ascii")
    except ValueError as error:
        raise SettingsError(f"SYNC_HTTP_TOKEN_FILE: {error}") from None


def _read(path: Path) -> _Found:
    """Raises ValueError with a text that names what is wrong and what to do, and never what the file holds."""
    remedy = f"name a file that holds {LEAST} to {MOST} printable characters without blanks"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would keep us waiting
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise ValueError(f"not a regular file{_shown(path)}, {remedy}")
            text = os.read(descriptor, 2 * MOST).strip()
        finally:
            os.close(descriptor)
    except OSError as error:
        fault = (error.strerror or "not readable").lower()
        raise ValueError(f"{fault}{_shown(path)}, {remedy}") from None
    if not text:
        raise ValueError(f"the file is empty{_shown(path)}, {remedy}")
    if not LEAST <= len(text) <= MOST:
        length = f"{len(text)} characters" if len(text) <= MOST else f"more than {MOST} characters"
        raise ValueError(f"the file holds {length}{_shown(path)}, {remedy}")
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"the file holds blanks, or what is not printable{_shown(path)}, {remedy}")
    return _Found(text, mode)


def _shown(path: Path) -> str:
    """The path for a message. What is no path may be the token itself, set by mistake: it is not shown."""
    return f" ({str(path)!r})" if str(path).startswith(("/", "../")) else ""
