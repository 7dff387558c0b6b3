"""What we log in with, and until when each part of it is valid: the files of the settings, read as they are now."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from syncdaemon.link.options import LinkSettings
from syncdaemon.link.validity import certificates_end, jwt_end

JWT, CLIENT, SERVER = "jwt", "client_certificate", "server_certificate"
"""The kinds of what ends: the user JWT, our own certificate, and that of the server."""

_MOST = 1 << 20  # bytes of a file that can be one of credentials


class Login(NamedTuple):
    """One file that we log in with. `end`: seconds since 1970, infinite for none; None where `problem` says why."""

    kind: str
    file: Path
    end: float | None
    problem: str = ""


class Logins:
    """Reads the files again when they have changed: they are renewed while the daemon runs."""

    def __init__(self, settings: LinkSettings) -> None:
        kinds: tuple[tuple[str, Path | None, Callable[[bytes], float]], ...] = (
            (JWT, settings.creds, jwt_end),
            (CLIENT, settings.tls_cert, certificates_end),
        )
        self._files = [(kind, file, read) for kind, file, read in kinds if file is not None]
        self._known: dict[str, tuple[tuple[int, int, int], Login]] = {}

    def now(self) -> Iterator[Login]:
        """Each file as it is now."""
        for kind, file, read in self._files:
            try:
                found = os.stat(file)
                version = found.st_ino, found.st_size, found.st_mtime_ns
                if kind not in self._known or self._known[kind][0] != version:
                    self._known[kind] = version, _read(kind, file, read)
                yield self._known[kind][1]
            except OSError as error:
                yield Login(kind, file, None, f"can't be read: {error.strerror}")


def _read(kind: str, file: Path, read: Callable[[bytes], float]) -> Login:
    with file.open("rb") as opened:
        content = opened.read(_MOST)
    try:
        return Login(kind, file, read(content))
    except ValueError as error:
        return Login(kind, file, None, str(error))
