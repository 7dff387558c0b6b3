"""The client's side of the local door: one call, over one connection, to a daemon that is believed."""

from __future__ import annotations

import http.client
import json
import os
import select
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from syncdaemon.base.beneath import FOLDER, TOP
from syncdaemon.base.peers import Peer
from syncdaemon.base.socket_files import dial_in
from syncdaemon.base.taken import OWN_FOLDER, SOCKET
from syncdaemon.client.errors import BadRequest, DaemonAway, HandOverError, NotAllowed, NotBelieved

_ANSWER_BYTES = 1 << 22
_ROOT = 0
_STEP_SECONDS = 5.0  # that the daemon may take for a part of an answer, beside the time that it was asked to wait


class LocalDoor:
    """Calls the daemon of a replay directory.

    A peer is believed if its user owns `.syncdaemon` and is root, the owner of the replay directory, or one of
    `trusted`. Others in the directory could listen there, or put another folder in the place of the daemon's.
    """

    def __init__(self, replay_dir: Path, trusted: frozenset[int]) -> None:
        self.replay_dir = replay_dir
        self._trusted = trusted

    def get(self, path: str, within: float = _STEP_SECONDS) -> dict[str, Any]:
        """A page, which is a JSON object. Raises HandOverError."""
        found: dict[str, Any] = self._call("GET", path, None, within)
        return found

    def post(self, path: str, fields: Mapping[str, Any], within: float = _STEP_SECONDS, wake: int = -1) -> Any:
        """Calls with these fields; the fields of the answer, or None where `wake` could be read before it came.

        `within`: seconds until the answer must begin. Raises HandOverError.
        """
        return self._call("POST", path, json.dumps(fields).encode(), within, wake)

    def _call(self, method: str, path: str, body: bytes | None, within: float, wake: int = -1) -> Any:
        try:
            with self._dialled() as connection:
                speaking = http.client.HTTPConnection("localhost")
                speaking.sock = connection
                speaking.request(method, path, body)
                if not _comes(connection.fileno(), within, wake):
                    return None
                answer = speaking.getresponse()
                return _fields(answer.status, answer.read(_ANSWER_BYTES))
        except (OSError, http.client.HTTPException) as error:
            raise DaemonAway(f"no daemon answers at {self._shown()}: {error}") from None

    def _dialled(self) -> socket.socket:
        """Raises OSError or NotBelieved."""
        root = os.open(self.replay_dir, TOP)
        try:
            own = os.open(OWN_FOLDER, FOLDER, dir_fd=root)
            try:
                connection, peer = dial_in(own, SOCKET, os.fsencode(self._own_path()), _STEP_SECONDS)
                if not self._believes(peer, os.fstat(own).st_uid, os.fstat(root).st_uid):
                    connection.close()
                    raise NotBelieved(
                        f"user {peer.uid} listens at {self._shown()}, and is neither root nor the owner of "
                        f"{self.replay_dir}, or does not own {self._own_path()}: not believed"
                    )
                return connection
            finally:
                os.close(own)
        finally:
            os.close(root)

    def _believes(self, peer: Peer, owner: int, above: int) -> bool:
        return not peer.unknown and peer.uid == owner and peer.uid in {_ROOT, above, *self._trusted}

    def _own_path(self) -> Path:
        return self.replay_dir / os.fsdecode(OWN_FOLDER)

    def _shown(self) -> Path:
        return self._own_path() / os.fsdecode(SOCKET)


def _comes(fd: int, within: float, wake: int) -> bool:
    """Waits until something can be read; False: only from `wake`. Raises TimeoutError."""
    waiting = select.poll()
    for one in (fd, wake):
        if one >= 0:
            waiting.register(one, select.POLLIN)
    ready = {number for number, _ in waiting.poll(within * 1000)}
    if not ready:
        raise TimeoutError(f"nothing came within {within:g} s")
    return fd in ready


def _fields(status: int, body: bytes) -> dict[str, Any]:
    if status != 200:
        said = body[:500].decode("utf-8", "replace").partition("\n")[0]
        raise _error(status)(f"the daemon says {status}: {said}")
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise http.client.HTTPException("what was answered is no JSON object")
    return found


def _error(status: int) -> type[HandOverError]:
    if status == 403:
        return NotAllowed
    return DaemonAway if status >= 500 else BadRequest
