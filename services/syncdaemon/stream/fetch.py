"""A message's content, as the file that it was: decoded, or fetched from the object that it names."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from hashlib import sha256

from syncdaemon.base import packing
from syncdaemon.base.model import StoredHeaders
from syncdaemon.stream import fields
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.chunks import Chunks, Unreadable, bodies
from syncdaemon.stream.chunks import chunks as chunks_by_direct_gets
from syncdaemon.stream.history import contents, one_by_one
from syncdaemon.stream.object_format import ObjectPlace
from syncdaemon.stream.stored import StoredMessage

__all__ = ["Chunks", "chunks", "digest", "message"]


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
        return await _digest_of(bodies(api, there), there.number)
    except (Unreadable, PermissionError):
        pass  # the bucket gives no direct gets, or not to us
    where = api, there.stream, there.subject, 1
    try:
        return await _digest_of(_bodies_of(contents(*where)), there.number)
    except PermissionError:  # we may make no consumer: a request for each chunk
        return await _digest_of(_bodies_of(one_by_one(*where)), there.number)


async def _bodies_of(reading: AsyncGenerator[tuple[StoredHeaders, bytes], None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(reading) as pieces:
        async for _, data in pieces:
            yield data


async def _digest_of(pieces: AsyncGenerator[bytes, None], number: int) -> str | None:
    """The SHA-256 of these pieces; None where they are not so many."""
    found, count = sha256(), 0
    async with aclosing(pieces):
        async for data in pieces:
            found.update(data)
            count += 1
    return found.hexdigest() if count == number else None


async def chunks(api: Api, place: ObjectPlace) -> Chunks | None:
    """Those of an object of the Object Store, as its meta message tells; None where there is no such object.

    The leader of the bucket's stream answers, so that none means none. Raises as `message` does.
    """
    names = place.names
    found = await api.last(names.stream, names.meta_subject(place.name))
    if isinstance(found, ApiRefusal) and found.no_stream:
        return await _of_another_account(api, place)
    there = _there(names.stream, found)
    return Chunks.of(names, there) if there else None


async def _of_another_account(api: Api, place: ObjectPlace) -> Chunks | None:
    """A hub's own user has the bucket of a site behind a leaf node by an import of direct gets, and no stream of it."""
    try:
        return await chunks_by_direct_gets(api, place)
    except (Unreadable, PermissionError):
        return None
