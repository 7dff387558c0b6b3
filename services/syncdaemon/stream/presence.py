"""Which of the messages that were acknowledged does the stream still have?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import aclosing, suppress
from hashlib import sha256

from syncdaemon.base.errors import LanePaused
from syncdaemon.base.model import Held
from syncdaemon.link import Session
from syncdaemon.stream.history import since
from syncdaemon.stream.prepare import StreamInfo, look
from syncdaemon.stream.stored import StoredMessage
from syncdaemon.stream.verdict import NO_MESSAGE

_NEAR = 100_000  # sequences; what is further apart is not read through
_FEW = 8  # so many are asked for one by one
_AT_ONCE = 32


Place = tuple[int, str]
"""Sequence and digest of a message."""

Gone = Callable[[Session, Collection[str]], Awaitable[set[str]]]
"""Which of these objects, as `Edge-Object` names them, are no longer whole."""


async def lost(session: Session, stream: str, subject: str, held: Sequence[Held], objects: Gone) -> list[Held]:
    """Those of these files whose message the stream has no longer, though nobody may have taken it out, or whose
    message names one of the `objects` that are gone.

    Read through on `subject` where many lie together, by their headers alone; what is not seen there is asked for by
    itself. From a work queue or an interest stream a message goes when it is consumed: only what lies beyond the end of
    the stream is lost there. Raises LinkDown, PermissionError, LanePaused.
    """
    info = await look(session, stream)
    if info is None:
        raise PermissionError(f"the stream {stream} can't be seen")
    if info.retention != "limits":
        return [one for one in held if one.seq > info.last_seq]
    there: dict[Place, str] = {}
    for first, last in _runs(sorted(one.seq for one in held)):
        with suppress(PermissionError):  # then all are asked for one by one
            there |= await _seen(session, stream, subject, first, last)
    unseen = [one for one in held if (one.seq, one.sha256) not in there]
    for start in range(0, len(unseen), _AT_ONCE):
        part = unseen[start : start + _AT_ONCE]
        found = await asyncio.gather(*(_asked(session, info, one) for one in part))
        there |= {(one.seq, one.sha256): named for one, named in zip(part, found, strict=True) if named is not None}
    named = {there.get((one.seq, one.sha256), "") for one in held} - {""}
    gone = await objects(session, named) if named else set()
    return [one for one in held if (where := there.get((one.seq, one.sha256))) is None or where in gone]


def _runs(seqs: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of those that lie together, where they are many."""
    start = 0
    for end in range(1, len(seqs) + 1):
        if end == len(seqs) or seqs[end] - seqs[end - 1] > _NEAR:
            if end - start > _FEW:
                yield seqs[start], seqs[end - 1]
            start = end


async def _seen(session: Session, stream: str, subject: str, first: int, last: int) -> dict[Place, str]:
    """The messages from `first` to `last`, each with the object that it names, or nothing."""
    seen: dict[Place, str] = {}
    async with aclosing(since(session, stream, subject, first)) as messages:
        async for message in messages:
            if message.seq > last:
                break
            seen[message.seq, message.headers.get("Edge-Sha256", "")] = message.headers.get("Edge-Object", "")
    return seen


async def _asked(session: Session, info: StreamInfo, held: Held) -> str | None:
    """The object that the file's message names, or nothing; None where the message is lost."""
    answer = await session.request_json(f"$JS.API.STREAM.MSG.GET.{info.name}", {"seq": held.seq})
    if answer is None:
        raise LanePaused(f"stream {info.name}: what it holds can't be read now")
    if "message" not in answer:
        if answer.get("error", {}).get("err_code") != NO_MESSAGE:
            raise LanePaused(f"stream {info.name}: {answer.get('error')}")
        return None if held.seq > info.last_seq or not info.forgets else ""
    stored = StoredMessage.from_api(answer["message"])
    told = (stored.headers.get("Edge-Sha256"), stored.headers.get("Nats-Msg-Id"))
    if held.sha256 not in told and sha256(stored.data).hexdigest() != held.sha256:
        return None
    return stored.headers.get("Edge-Object", "")
