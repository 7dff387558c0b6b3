"""A message's content, as the file that it was: decoded, or fetched from the object that it names."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import aclosing
from hashlib import sha256
from typing import Any, NamedTuple

from syncdaemon.base import packing
from syncdaemon.base.errors import LanePaused
from syncdaemon.link import Session
from syncdaemon.stream.history import contents
from syncdaemon.stream.stored import StoredMessage
from syncdaemon.stream.verdict import NO_MESSAGE, NO_STREAM


async def message(session: Session, stream: str, seq: int) -> StoredMessage | None:
    """The message at this sequence; None where there is none.

    Raises LinkDown; PermissionError where the server does not let us; LanePaused where it cannot now.
    """
    return await _get(session, stream, {"seq": seq})


async def _get(session: Session, stream: str, ask: dict[str, Any]) -> StoredMessage | None:
    answer = await session.request_json(f"$JS.API.STREAM.MSG.GET.{stream}", ask)
    if answer is None:
        raise LanePaused(f"stream {stream}: nobody answers")
    if "message" in answer:
        return StoredMessage.from_api(answer["message"])
    if answer.get("error", {}).get("err_code") in (NO_MESSAGE, NO_STREAM):
        return None
    raise LanePaused(f"stream {stream}: {answer.get('error', {}).get('description')}")


async def digest(session: Session, headers: Mapping[str, str], body: bytes) -> str | None:
    """The SHA-256 of the file that a message stands for; None where that is not there, or not whole.

    Raises as `message` does.
    """
    if name := headers.get("Edge-Object"):
        return await _object_digest(session, name)
    if headers.get("Content-Encoding") == "zstd":
        return packing.digest(body, int(size)) if (size := headers.get("Edge-Size", "")).isdecimal() else None
    return sha256(body).hexdigest()


async def _object_digest(session: Session, place: str) -> str | None:
    bucket, _, name = place.partition("/")
    there = await chunks(session, bucket, name)
    if there is None:
        return None
    found, count = sha256(), 0
    async with aclosing(contents(session, there.stream, there.subject, 1)) as pieces:
        async for _, data in pieces:
            found.update(data)
            count += 1
    return found.hexdigest() if count == there.number else None


class Chunks(NamedTuple):
    """Where the content of an object lies: on one subject of a stream, in `number` messages, in order."""

    stream: str
    subject: str
    number: int


async def chunks(session: Session, bucket: str, name: str) -> Chunks | None:
    """Those of an object of the Object Store (ADR-20), as its meta message tells; None where there is no such object.

    Raises as `message` does.
    """
    stream = f"OBJ_{bucket}"
    encoded = base64.urlsafe_b64encode(name.encode()).decode()
    meta = await _get(session, stream, {"last_by_subj": f"$O.{bucket}.M.{encoded}"})
    try:
        told = json.loads(meta.data if meta else b"")
        return None if told.get("deleted") else Chunks(stream, f"$O.{bucket}.C.{told['nuid']}", int(told["chunks"]))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
