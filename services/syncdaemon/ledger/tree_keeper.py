"""Keeps the tree beside the ledger up with it, in short steps between the ledger's commits."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Executor

import structlog

from syncdaemon.base.tasks import cancel
from syncdaemon.evidence.notes import Checkpoint, SignedNote
from syncdaemon.ledger.chain import Head
from syncdaemon.ledger.checkpoints import Signer, sign_checkpoint
from syncdaemon.ledger.tree import STEP_ROWS, RowTree

_RETRY = 30.0  # seconds until a tree that can't grow is tried again

log = structlog.get_logger(__name__)


class TreeKeeper:
    """A tree that is behind is brought up, and its tiles go to the disk.

    All work is done in the ledger's thread, the one that `thread` has. A step holds up the commits for some
    milliseconds, and is followed by a pause of the same length.
    """

    def __init__(self, tree: RowTree, thread: Executor) -> None:
        self._tree = tree
        self._thread = thread
        self._head = tree.head
        self._work: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._said = ""

    def look(self, head: Head) -> None:
        """The ledger goes up to `head`: where the tree has to be worked on, that begins now."""
        self._head = head
        if self._work is not None and not self._work.done():
            return
        behind = self._tree.head != head and time.monotonic() >= self._not_before
        if behind or self._tree.has_to_flush:
            self._work = asyncio.create_task(self._keep_up())

    async def _keep_up(self) -> None:
        loop = asyncio.get_running_loop()
        began = self._tree.size
        far_behind = self._head.n - began > STEP_ROWS
        if far_behind:
            log.info("tree_behind", tree_rows=began, ledger_rows=self._head.n)
        more = True
        while more:
            start = time.monotonic()
            more = await loop.run_in_executor(self._thread, self._tree.catch_up, self._head)
            if self._tree.has_to_flush:
                await loop.run_in_executor(self._thread, self._tree.flush)
            await asyncio.sleep(time.monotonic() - start)
        self._say(self._tree.problem)
        if far_behind and not self._tree.problem:
            log.info("tree_complete", rows=self._tree.size)

    async def sign(self, head: Head, signer: Signer, published: Checkpoint | None) -> SignedNote:
        """As `sign_checkpoint`, in the ledger's thread. Raises NotSigned, CheckpointConflict."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, sign_checkpoint, self._tree, head, signer, published)

    def _say(self, problem: str) -> None:
        if problem:
            self._not_before = time.monotonic() + _RETRY
        if problem and problem != self._said:
            log.warning("tree_paused", problem=problem, effect="no checkpoint is signed, every file is delivered")
        self._said = problem

    async def close(self) -> None:
        """Ends the work, and makes durable what is there."""
        if self._work is not None:
            await cancel([self._work])
        await asyncio.get_running_loop().run_in_executor(self._thread, self._tree.flush)
