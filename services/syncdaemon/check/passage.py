"""Where a message has come to: the stream, the hub behind a leaf node, the workers; as far as our rights show it.

A consumer's ack floor is the message up to which all are answered for good: acknowledged, or ended by a worker that
rejects them. A floor that has passed a message is the server's word for it; the floor stands still below an older
message that has no answer yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from syncdaemon.base.errors import LanePaused
from syncdaemon.stream import own
from syncdaemon.stream.answers import ApiRefusal, ConsumerAnswer
from syncdaemon.stream.api import Api
from syncdaemon.stream.fetched import Place, fetched
from syncdaemon.stream.info import captured
from syncdaemon.stream.stored import StoredMessage

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5  # seconds between two looks at the server
_HUB_PAUSE = 1.0  # the same at the hub, which is far away

Tell = Callable[[str], None]
"""Is told what is waited for, whenever that is known anew."""


class AtWorkers(NamedTuple):
    """What is known. `said` is for people. `confirmed`: a worker has answered for it; `hidden`: that can't be seen.

    `nobody`: no consumer takes the message. Where none of the three holds, it is worth asking again.
    """

    said: str
    confirmed: bool = False
    hidden: bool = False
    nobody: bool = False


async def stored(api: Api, stream: str, subject: str, sha256: str) -> StoredMessage | None:
    """The message of this content, as soon as it can be read; None where this login may not read it.

    Raises LinkDown.
    """
    pause = _FIRST_PAUSE
    while True:
        try:
            found = (await own.newest(api, stream, subject)).message
        except (PermissionError, LanePaused):
            return None
        if found is not None and found.headers.get("Edge-Sha256") == sha256:
            return found
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


async def at_hub(hub: Api, place: Place, seq: int, tell: Tell) -> None:
    """Waits until the hub has message `seq` of the site's own stream. Raises LinkDown, PermissionError."""
    while True:
        try:
            newest = await fetched(hub, place.stream, place.subject)
            if newest is not None and newest.seq >= seq:
                return
            tell(f"the hub has fetched up to message {newest.seq if newest else 0}, this one is {seq}")
        except LanePaused as error:
            tell(str(error))
        await asyncio.sleep(_HUB_PAUSE)


async def at_workers(api: Api, stream: str, subject: str, seq: int, consumer: str, tell: Tell) -> AtWorkers:
    """Waits until a worker has answered for the message, or until it is clear that this can't be seen.

    Raises as `look`.
    """
    pause = _FIRST_PAUSE
    while True:
        seen = await look(api, stream, subject, seq, consumer)
        if seen.confirmed or seen.hidden or seen.nobody:
            return seen
        tell(seen.said)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


async def look(api: Api, stream: str, subject: str, seq: int, consumer: str = "") -> AtWorkers:
    """The message `seq` on `subject`. `consumer`: this one alone counts; empty: any that takes the message.

    Raises LinkDown.
    """
    try:
        names = [consumer] if consumer else await api.consumers(stream)
        if isinstance(names, ApiRefusal):
            return _hidden(names.words)
        found = {name: await api.consumer(stream, name) for name in names}
    except (PermissionError, LanePaused) as error:
        return _hidden(str(error))
    if refusals := [one for one in found.values() if isinstance(one, ApiRefusal) and not one.no_consumer]:
        return _hidden(refusals[0].words)
    takes = {name: one for name, one in found.items() if isinstance(one, ConsumerAnswer) and _takes(one, subject)}
    if not takes:
        which = f"no consumer {consumer}" if consumer else "no consumer"
        return AtWorkers(f"no worker: stream {stream} has {which} that takes this message", nobody=True)
    return judge(takes, seq)


def judge(takes: dict[str, ConsumerAnswer], seq: int) -> AtWorkers:
    """What these consumers, which all take the message, tell of it."""
    for name, one in takes.items():
        if one.floor >= seq:
            return AtWorkers(f"confirmed: all up to message {one.floor} is answered at consumer {name}", confirmed=True)
    name, one = max(takes.items(), key=lambda item: (item[1].delivered, item[1].asking))
    if one.delivered >= seq:
        return AtWorkers(f"consumer {name} gave it to a worker; it, or an older message, has no answer yet")
    asks = f"{one.asking} open requests" if one.asking else "no worker asks for messages"
    return AtWorkers(f"consumer {name} has {one.pending} messages to give, and this is one of them; {asks}")


def _takes(found: ConsumerAnswer, subject: str) -> bool:
    filters = found.config.get("filter_subjects") or [found.config.get("filter_subject") or ">"]
    return found.config.get("ack_policy", "explicit") == "explicit" and captured(filters, subject)


def _hidden(why: str) -> AtWorkers:
    return AtWorkers(f"not shown to this login: {why}", hidden=True)
