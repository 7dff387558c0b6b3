"""Talking to the local door as another program would: raw requests over its Unix socket."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any, NamedTuple


class Answered(NamedTuple):
    """The status, and the JSON or else the text that came with it."""

    status: int
    body: Any


def dial(replay: Path, timeout: float = 10.0) -> socket.socket:
    """A connection to the door of this replay directory, however long its path is."""
    folder = os.open(replay / ".syncdaemon", os.O_PATH | os.O_DIRECTORY)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout)
        connection.connect(f"/proc/self/fd/{folder}/socket")
        return connection
    except OSError:
        connection.close()
        raise
    finally:
        os.close(folder)


def call(replay: Path, path: str, fields: object = None, method: str = "", headers: str = "") -> Answered:
    """One call; `fields` is sent as JSON, or as it is where it is bytes."""
    body = b"" if fields is None else fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    method = method or ("GET" if fields is None else "POST")
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}"
    with dial(replay) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        came = b""
        while piece := connection.recv(65_536):
            came += piece
    head_bytes, _, rest = came.partition(b"\r\n\r\n")
    status = int(head_bytes.split()[1])
    try:
        return Answered(status, json.loads(rest))
    except ValueError:
        return Answered(status, rest.decode())
