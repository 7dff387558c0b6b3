"""A message's content, as the file that it was: decoded, or fetched from the object that it names."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from hashlib import sha256
from typing import NamedTuple

from syncdaemon.base import packing
from syncdaemon.base.model import StoredHeaders
from syncdaemon.stream import fields
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.history import contents, one_by_one
from syncdaemon.stream.object_format import Meta, ObjectPlace
from syncdaemon.stream.stored import StoredMessage


async def message(api: Api, stream: str, seq: int) -> StoredMessage | None:
    """The message at this sequence; None where there is none.

    Raises LinkDown; PermissionError where the server does not let us; LanePaused where it cannot now.
    """
    return _there(stream, await api.message(stream, seq))


def _there(stream: str, found: StoredMessage | ApiRefusal | None) -> StoredMessage | None:
    """Without the stream there is no message either."""
    if not isinstance(found, ApiRefusal):
        return found
    if found.no_stream:
        return None
    raise found.paused(f"stream {stream}")


async def digest(api: Api, headers: Mapping[str, str], body: bytes) -> str | None:
    """The SHA-256 of the file that a message stands for; None where that is not there, or not whole.

    Raises as `message` does.
    """
    if named := headers.get("Edge-Object"):
        place = ObjectPlace.of(named)
        return await object_digest(api, place) if place else None
    if headers.get("Content-Encoding") == "zstd":
        try:
            return packing.digest(body, fields.number(headers.get("Edge-Size", "")))
        except ValueError:
            return None
    return sha256(body).hexdigest()


async def object_digest(api: Api, place: ObjectPlace) -> str | None:
    """The SHA-256 of an object's chunks, as they lie in the bucket; None where it is not there, or not whole.

    Raises as `message` does.
    """
    there = await chunks(api, place)
    if there is None:
        return None
    try:
        return await _digest_of(contents(api, there.stream, there.subject, 1), there.number)
    except PermissionError:  # we may make no consumer: a request for each chunk
        return await _digest_of(one_by_one(api, there.stream, there.subject, 1), there.number)


async def _digest_of(reading: AsyncGenerator[tuple[StoredHeaders, bytes], None], number: int) -> str | None:
    found, count = sha256(), 0
    async with aclosing(reading) as pieces:
        async for _, data in pieces:
            found.update(data)
            count += 1
    return found.hexdigest() if count == number else None


class Chunks(NamedTuple):
    """Where the content of an object lies: on one subject of a stream, in `number` messages, in order.

    `size`: how many bytes it has, as its meta tells.
    """

    stream: str
    subject: str
    number: int
    size: int


async def chunks(api: Api, place: ObjectPlace) -> Chunks | None:
    """Those of an object of the Object Store, as its meta message tells; None where there is no such object.

    Raises as `message` does.
    """
    names = place.names
    found = _there(names.stream, await api.last(names.stream, names.meta_subject(place.name)))
    if found is None:
        return None
    meta = Meta.decode(found.data, found.seq)
    return Chunks(names.stream, names.chunk_subject(meta.nuid), meta.chunks, meta.size) if meta.nuid else None
