"""Which of the messages that were acknowledged does the stream still have?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing, suppress
from hashlib import sha256

from syncdaemon.errors import LanePaused
from syncdaemon.history import since
from syncdaemon.link import Session
from syncdaemon.message import Stored
from syncdaemon.model import Held
from syncdaemon.stream import StreamInfo, look

_NEAR = 100_000  # sequences; what is further apart is not read through
_FEW = 8  # so many are asked for one by one
_AT_ONCE = 32
_NO_MESSAGE = 10037  # nats-server's errors.json: "no message found"


async def lost(session: Session, stream: str, subject: str, held: Sequence[Held]) -> list[Held]:
    """Those of these files whose message the stream has no longer, though nobody may have taken it out.

    Read through on `subject` where many lie together, by their headers alone; what is not seen there is asked for by
    itself. From a work queue or an interest stream a message goes when it is consumed: only what lies beyond the end of
    the stream is lost there. Raises LinkDown, PermissionError, LanePaused.
    """
    info = await look(session, stream)
    if info is None:
        raise PermissionError(f"the stream {stream} can't be seen")
    if info.retention != "limits":
        return [one for one in held if one.seq > info.last_seq]
    seen: set[tuple[int, str]] = set()
    for first, last in _runs(sorted(one.seq for one in held)):
        with suppress(PermissionError):  # then all are asked for one by one
            seen |= await _seen(session, stream, subject, first, last)
    unseen = [one for one in held if (one.seq, one.sha256) not in seen]
    gone: list[Held] = []
    for start in range(0, len(unseen), _AT_ONCE):
        part = unseen[start : start + _AT_ONCE]
        found = await asyncio.gather(*(_is_lost(session, info, one) for one in part))
        gone += [one for one, is_lost in zip(part, found, strict=True) if is_lost]
    return gone


def _runs(seqs: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of those that lie together, where they are many."""
    start = 0
    for end in range(1, len(seqs) + 1):
        if end == len(seqs) or seqs[end] - seqs[end - 1] > _NEAR:
            if end - start > _FEW:
                yield seqs[start], seqs[end - 1]
            start = end


async def _seen(session: Session, stream: str, subject: str, first: int, last: int) -> set[tuple[int, str]]:
    """Sequence and digest of the messages from `first` to `last`."""
    seen: set[tuple[int, str]] = set()
    async with aclosing(since(session, stream, subject, first)) as messages:
        async for message in messages:
            if message.seq > last:
                break
            seen.add((message.seq, message.headers.get("Edge-Sha256", "")))
    return seen


async def _is_lost(session: Session, info: StreamInfo, held: Held) -> bool:
    answer = await session.request_json(f"$JS.API.STREAM.MSG.GET.{info.name}", {"seq": held.seq})
    if answer is None:
        raise LanePaused(f"stream {info.name}: what it holds can't be read now")
    if "message" not in answer:
        if answer.get("error", {}).get("err_code") != _NO_MESSAGE:
            raise LanePaused(f"stream {info.name}: {answer.get('error')}")
        return held.seq > info.last_seq or not info.forgets
    stored = Stored.from_api(answer["message"])
    told = (stored.headers.get("Edge-Sha256"), stored.headers.get("Nats-Msg-Id"))
    return held.sha256 not in told and sha256(stored.data).hexdigest() != held.sha256
