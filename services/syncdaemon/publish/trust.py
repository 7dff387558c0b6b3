"""Whether the server still has what it acknowledged, as far as we can know it."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from syncdaemon.stream.info import StreamInfo


class _Identity(NamedTuple):
    """Which process answers for which stream. Another leader or another stream may have less than the one before."""

    server_id: str
    created: str
    leader: str


class Trust:
    """The suspicion that the server lost something, and what became of it.

    A suspicion begins when the server is another process, the stream is another one, or the stream ends before the
    last sequence that it had. Whoever looks into a suspicion reports with `looked` or `believe`, and gives the number
    that `suspected` returned. A report on an older suspicion changes nothing.

    `last_seq`: the last sequence that the stream is known to have.
    """

    def __init__(self) -> None:
        self.last_seq = 0
        self._identity: _Identity | None = None
        self._suspicions = 0
        self._suspicion, self._belief = asyncio.Event(), asyncio.Event()

    @property
    def intact(self) -> bool:
        """Whether there is no suspicion now."""
        return not self._suspicion.is_set()

    def meet(self, server_id: str, stream: StreamInfo | None) -> None:
        """Compares the stream, as it is over a new connection, with what was known of it.

        None: its settings are not seen. Then the server alone shows that something may be lost.
        """
        created, leader, last_seq = ("", "", 0) if stream is None else (stream.created, stream.leader, stream.last_seq)
        identity = _Identity(server_id, created, leader)
        if identity != self._identity or (stream is not None and last_seq < self.last_seq):
            self._suspicions += 1
            self._suspicion.set()
            self._belief.clear()
        self._identity, self.last_seq = identity, last_seq

    def forget_server(self) -> None:
        """The server may have been restarted: the next `meet` begins a suspicion."""
        self._identity = None

    def stored(self, seq: int) -> None:
        """The stream holds a message at `seq`."""
        self.last_seq = max(self.last_seq, seq)

    async def suspected(self) -> int:
        """Waits until there is a suspicion. Returns its number."""
        await self._suspicion.wait()
        return self._suspicions

    async def believed(self) -> None:
        """Waits until we know what the server has lost, if it has lost anything."""
        await self._belief.wait()

    def looked(self, suspicion: int) -> None:
        """We know what is lost, but not all of it could be put back yet: the suspicion stays."""
        if suspicion == self._suspicions:
            self._belief.set()

    def believe(self, suspicion: int) -> None:
        """We know what is lost, and all of it will be sent again: the suspicion is over."""
        if suspicion == self._suspicions:
            self._suspicion.clear()
            self._belief.set()
