"""Hands many files over at the same time: `python hand_over_asyncio.py REPLAY_DIR`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from syncdaemon.client import AsyncOutbox


async def hand_over(replay_dir: str, pages: Sequence[bytes]) -> None:
    outbox = AsyncOutbox(replay_dir)
    tickets = [await outbox.put(page) for page in pages]
    receipts = await asyncio.gather(*(ticket.receipt(timeout=60) for ticket in tickets))
    for receipt in receipts:
        print("message", receipt.stream_seq, "of", receipt.stream)


if __name__ == "__main__":
    asyncio.run(hand_over(sys.argv[1], [b"page %d" % number for number in range(20)]))
