"""The message on a subject of our own, by whichever call the server lets us make."""

from __future__ import annotations

from typing import NamedTuple

from syncdaemon.base.errors import LanePaused
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.stored import StoredMessage


class OwnMessage(NamedTuple):
    """What was found: a message, or none. `surely`: the leader of the stream says so, so that none means none.

    `elsewhere`: the sequence that was asked for is that of a message on another subject.
    """

    message: StoredMessage | None
    surely: bool
    elsewhere: bool = False


async def newest(api: Api, stream: str, subject: str) -> OwnMessage:
    """The newest message on this subject.

    The leader is asked first, because its answer is certain. Where that call is denied, as where sites share a stream,
    or where no server takes it, any copy of the stream is asked for this subject alone.

    Raises LinkDown; PermissionError where the server lets us make neither call; LanePaused where it can't answer now.
    """
    try:
        found = await api.last(stream, subject)
    except PermissionError:
        return await _from_any_copy(api, stream, subject)
    if isinstance(found, ApiRefusal):
        if found.no_jetstream:
            return await _from_any_copy(api, stream, subject)
        raise found.paused(f"stream {stream}: {subject} can't be read")
    return OwnMessage(found, surely=True)


async def at(api: Api, stream: str, subject: str, seq: int) -> OwnMessage:
    """The message at this sequence, if it lies on this subject; else none. Raises as `newest`.

    Where only the newest message of the subject can be read, an older one is not seen.
    """
    try:
        found = await api.message(stream, seq)
    except PermissionError:
        return _only(await _from_any_copy(api, stream, subject), seq)
    if isinstance(found, ApiRefusal):
        if found.no_jetstream:
            return _only(await _from_any_copy(api, stream, subject), seq)
        raise found.paused(f"stream {stream}: message {seq} can't be read")
    if found is not None and found.subject != subject:
        return OwnMessage(None, surely=False, elsewhere=True)
    return OwnMessage(found, surely=True)


def _only(seen: OwnMessage, seq: int) -> OwnMessage:
    return seen if seen.message is not None and seen.message.seq == seq else OwnMessage(None, surely=False)


async def _from_any_copy(api: Api, stream: str, subject: str) -> OwnMessage:
    found = await api.direct(stream, subject)
    if not isinstance(found, ApiRefusal):
        return OwnMessage(found, surely=False)
    if found.unanswered:
        raise PermissionError(f"neither {api.calls.stream('MSG.GET', stream)} nor {_direct(api, stream)} is permitted")
    raise LanePaused(f"stream {stream}: {subject} can't be read: {found.words}")


def _direct(api: Api, stream: str) -> str:
    return api.calls.direct(stream, "<our subject>")
