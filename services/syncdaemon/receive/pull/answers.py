"""Acknowledgements that the server confirms: only with that confirmation is a message done with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from syncdaemon.base.errors import LinkDown
from syncdaemon.link import Link
from syncdaemon.link.frame import frame
from syncdaemon.receive.pull.hands import Unanswered

ACK = b"+ACK"
IN_PROGRESS = b"+WPI"  # ADR-15: the ack_wait begins again
_SILENT_SECONDS = 4.0  # until an answer counts as ignored; less than what the link takes for its own failure


class Answer(NamedTuple):
    """What the server gets as the answer to a message."""

    held: Unanswered
    body: bytes


def term(reason: str, detail: str) -> bytes:
    """Never deliver it again. The reason goes into the server's advisory (nats-server 2.15)."""
    text = f"{reason}: {detail}".encode("ascii", "replace")[:250]
    return b"+TERM " + text.replace(b"\r", b" ").replace(b"\n", b" ")


def nak(seconds: float) -> bytes:
    """Deliver it again, after so many seconds; 0: at once (ADR-15)."""
    return b'-NAK {"delay": %d}' % int(seconds * 1e9) if seconds else b"-NAK"


class _Flight:
    """Answers that are under way on one session, and those that the server has confirmed."""

    def __init__(self, count: int) -> None:
        self.confirmed: dict[int, bool] = {}
        self.landed = asyncio.Event()
        self._count = count

    def answered(self, key: int, data: bytes, headers: bytes | None, latency: float) -> None:
        """No responders (503): the consumer is gone, and the one that comes after it delivers the message again."""
        self.confirmed[key] = not (headers or b"").startswith(b"NATS/1.0 503")
        if len(self.confirmed) == self._count:
            self.landed.set()

    def lost(self, reason: str) -> None:
        self.landed.set()


async def give(link: Link, answers: Sequence[Answer]) -> list[bool]:
    """Gives all these answers, over as many connections as it takes. Which of them the server has confirmed.

    The server does not confirm the answer to a message that it does not remember to have delivered, as after a crash
    that cost it the latest state of the consumer; it delivers that message again (nats-server 2.15). An answer that is
    given twice does no harm.
    """
    confirmed: dict[int, bool] = {}
    silent = False
    while len(confirmed) < len(answers) and not silent:
        session = await link.wait_up()
        open_ones = [at for at in range(len(answers)) if at not in confirmed]
        flight = _Flight(len(open_ones))
        frames: list[bytes] = []
        for at in open_ones:
            frames += frame(answers[at].held.reply, session.expect(flight, at), b"", answers[at].body)
        try:
            async with asyncio.timeout(_SILENT_SECONDS):
                await session.send(frames)
                await flight.landed.wait()
        except LinkDown:
            continue
        except TimeoutError:
            silent = True
        finally:
            session.release(flight)
            confirmed |= flight.confirmed
    return [confirmed.get(at, False) for at in range(len(answers))]


async def in_progress(link: Link, messages: Sequence[Unanswered]) -> None:
    """Reports to the server that these are being worked on. Without a connection nothing is sent."""
    session = link.session
    if session is None or not messages:
        return
    frames = [part for held in messages for part in frame(held.reply, b"", b"", IN_PROGRESS)]
    try:
        await session.send(frames)
    except LinkDown:
        return
