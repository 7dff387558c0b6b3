"""Which of the messages that were acknowledged does the stream still have?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress

from syncdaemon.base.model import Held
from syncdaemon.link import Session
from syncdaemon.stream import own
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.history import since
from syncdaemon.stream.info import StreamInfo, captured, read_info
from syncdaemon.stream.stored import StoredMessage

_NEAR = 100_000  # sequences; what is further apart is not read through
_FEW = 8  # so many are asked for one by one
_AT_ONCE = 32


Place = tuple[int, str]
"""Sequence and digest of a message."""

Subjects = Callable[[Sequence[Held]], Awaitable[Mapping[Held, str]]]
"""The subject of each file's message, as far as that is known."""

Gone = Callable[[Session, Collection[str]], Awaitable[set[str]]]
"""Which of these objects, as `Edge-Object` names them, are no longer whole."""


async def lost_unseen(
    api: Api,
    stream: str,
    subjects: Mapping[Held, str],
    held: Sequence[Held],
    objects: Gone,
    *,
    freed_counts: bool = False,
) -> list[Held]:
    """The same where the stream's settings are not seen: each file is looked for on its own subject, of `subjects`.

    `freed_counts`: a tombstone counts as the message in whose place it is.

    What a direct get does not find may be in another copy of the stream. So the leader is asked, by a message that it
    can't store. A file without a subject counts as lost: to send it again is safe. Raises as `lost`.
    """
    there: dict[Place, str] = {}
    known = [one for one in held if one in subjects]
    for start in range(0, len(known), _AT_ONCE):
        part = known[start : start + _AT_ONCE]
        found = await asyncio.gather(*(_on_own_subject(api, stream, subjects[one], one, freed_counts) for one in part))
        there |= {(one.seq, one.sha256): named for one, named in zip(part, found, strict=True) if named is not None}
    return await _gone(api, there, held, objects)


async def _on_own_subject(api: Api, stream: str, subject: str, held: Held, freed_counts: bool) -> str | None:
    """The object that the file's message names, or nothing; None where the message is lost."""
    seen = await own.newest(api, stream, subject)
    if freed_counts and _is_freed(seen.message, held):
        return ""
    if seen.message is not None and seen.message.seq == held.seq:
        return seen.message.object if is_of(seen.message, held) else None
    if seen.surely:
        return None
    last = await api.occupied(subject)
    if isinstance(last, ApiRefusal):
        raise last.paused(f"stream {stream}")
    return "" if last == held.seq else None


async def lost(
    api: Api,
    stream: str,
    subject: str,
    held: Sequence[Held],
    objects: Gone,
    *,
    subjects: Subjects | None = None,
    freed_counts: bool = False,
) -> list[Held]:
    """The files whose message has left the stream against its own rules, or names one of the `objects` that are gone.

    Only what lies on `subject`, which is our own, counts as a file's message: on others, anybody may write anything.
    It is read through where many lie together, by the headers alone; what is not seen there is asked for by itself.
    From a work queue or an interest stream a message goes when it is consumed: only what lies beyond the end of the
    stream is lost there.

    A message that was received and freed is not lost: a tombstone behind it stands on the file's own subject, of
    `subjects`. Such a tombstone counts where the stream allows roll-ups, because there it takes the message's place,
    and whoever can write one could have removed the message too; elsewhere only with `freed_counts`.

    Raises LinkDown, PermissionError, LanePaused.
    """
    answer = await api.stream(stream)
    if isinstance(answer, ApiRefusal):
        raise answer.paused(f"stream {stream}: what it holds can't be looked at")
    info = read_info(answer)
    if info.retention != "limits":
        return [one for one in held if one.seq > info.last_seq]
    there: dict[Place, str] = {}
    for first, last in _runs(sorted(one.seq for one in held)):
        with suppress(PermissionError):  # then all are asked for one by one
            there |= await _seen(api, stream, subject, first, last)
    unseen = [one for one in held if (one.seq, one.sha256) not in there]
    for start in range(0, len(unseen), _AT_ONCE):
        part = unseen[start : start + _AT_ONCE]
        found = await asyncio.gather(*(_asked(api, info, subject, one) for one in part))
        there |= {(one.seq, one.sha256): named for one, named in zip(part, found, strict=True) if named is not None}
    gone = [one for one in held if (one.seq, one.sha256) not in there]
    if gone and subjects is not None and (freed_counts or info.settings.get("allow_rollup_hdrs")):
        there |= await _freed(api, stream, await subjects(gone), gone)
    return await _gone(api, there, held, objects)


async def _freed(api: Api, stream: str, subjects: Mapping[Held, str], gone: Sequence[Held]) -> dict[Place, str]:
    """Those of these files whose message has made room for a tombstone: the leader of the stream says so."""
    freed: dict[Place, str] = {}
    known = [one for one in gone if one in subjects]
    for start in range(0, len(known), _AT_ONCE):
        part = known[start : start + _AT_ONCE]
        found = await asyncio.gather(*(own.newest(api, stream, subjects[one]) for one in part))
        freed |= {
            (one.seq, one.sha256): ""
            for one, seen in zip(part, found, strict=True)
            if seen.surely and _is_freed(seen.message, one)
        }
    return freed


def _is_freed(there: StoredMessage | None, held: Held) -> bool:
    """Whether this is a tombstone that came behind a file's message, or that its receipt names."""
    return there is not None and there.is_tombstone and there.seq >= held.seq


async def _gone(api: Api, there: Mapping[Place, str], held: Sequence[Held], objects: Gone) -> list[Held]:
    """Those whose message is not there, or names an object that is gone."""
    named = {there.get((one.seq, one.sha256), "") for one in held} - {""}
    gone = await objects(api.session, named) if named else set()
    return [one for one in held if (where := there.get((one.seq, one.sha256))) is None or where in gone]


def _runs(seqs: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of those that lie together, where they are many."""
    start = 0
    for end in range(1, len(seqs) + 1):
        if end == len(seqs) or seqs[end] - seqs[end - 1] > _NEAR:
            if end - start > _FEW:
                yield seqs[start], seqs[end - 1]
            start = end


async def _seen(api: Api, stream: str, subject: str, first: int, last: int) -> dict[Place, str]:
    """The messages from `first` to `last`, each with the object that it names, or nothing."""
    seen: dict[Place, str] = {}
    async with aclosing(since(api, stream, subject, first)) as messages:
        async for message in messages:
            if message.seq > last:
                break
            seen[message.seq, message.headers.get("Edge-Sha256", "")] = message.headers.get("Edge-Object", "")
    return seen


async def _asked(api: Api, info: StreamInfo, subject: str, held: Held) -> str | None:
    """The object that the file's message names, or nothing; None where the message is lost."""
    stored = await api.message(info.name, held.seq)
    if isinstance(stored, ApiRefusal):
        raise stored.paused(f"stream {info.name}")
    if stored is None:
        return None if held.seq > info.last_seq or not info.forgets else ""
    return stored.object if captured([subject], stored.subject) and is_of(stored, held) else None


def is_of(stored: StoredMessage, held: Held) -> bool:
    """Whether a message has the content of a file, or names the object that has it: then that is looked for, too."""
    if stored.is_tombstone:  # it has no bytes, not even those of an empty file
        return False
    if stored.object:
        return stored.object.rpartition("/")[2] == held.sha256
    return stored.holds(held.sha256, held.size)
