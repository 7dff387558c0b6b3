"""Hands a file over and waits for its receipt: `python hand_over.py REPLAY_DIR`."""

from __future__ import annotations

import sys

from syncdaemon.client import Outbox, ReceiptTimeout, Refused


def hand_over(replay_dir: str, data: bytes) -> None:
    outbox = Outbox(replay_dir)
    ticket = outbox.put(data, name="run-7/result.json")
    try:
        receipt = ticket.receipt(timeout=30)
        print("message", receipt.stream_seq, "of", receipt.stream)
    except Refused as refused:
        print("refused:", refused.reason, refused.detail)
    except ReceiptTimeout:
        print("later:", ticket)


if __name__ == "__main__":
    hand_over(sys.argv[1], b'{"result": 42}')
