"""What a comparison of one stream with its receipts found. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Stock:
    """What was found about one stream.

    `expired`: receipts from before its first message. `left`: receipts whose message left by the stream's own rules,
    because it was consumed, or replaced on its subject. `void`: receipts whose message the server had lost, and got
    again. `waiting`: receipts behind the newest message that this stream has got by a source. `freed`: receipts whose
    message has made room for a tombstone, because a reader has its file. `by_receipts`: the stream could not be read
    through, so messages without a receipt were not looked for. `before`: messages without a receipt that were stored
    before the ledger began.
    """

    stream: str
    receipts: int = 0
    messages: int = 0
    expired: int = 0
    left: int = 0
    void: int = 0
    waiting: int = 0
    freed: int = 0
    by_receipts: bool = False
    before: int = 0
    problems: Counter[str] = field(default_factory=Counter)
