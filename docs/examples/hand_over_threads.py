"""Hands files over from several threads: `python hand_over_threads.py REPLAY_DIR`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from syncdaemon.client import Outbox, TicketReceipt


def hand_over(replay_dir: str, pages: Sequence[bytes]) -> None:
    outbox = Outbox(replay_dir)

    def one(page: bytes) -> TicketReceipt:
        return outbox.put(page).receipt(timeout=60)

    with ThreadPoolExecutor(8) as threads:
        for receipt in threads.map(one, pages):
            print("message", receipt.stream_seq, "of", receipt.stream)


if __name__ == "__main__":
    hand_over(sys.argv[1], [b"leaf %d" % number for number in range(20)])
