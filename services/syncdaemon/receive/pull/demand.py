"""How much to ask a pull consumer for. Pure; the time is an argument."""

from __future__ import annotations

import json
from typing import NamedTuple

EXPIRES = 10.0  # seconds: how long the server keeps a pull that has not got all it asked for
GRACE = 5.0  # seconds on top, until a pull is given up whose end the server did not announce
_FEW = 16  # messages in a first pull, and while large objects are at hand: the others are for other workers
_LEAST_BYTES, _FIRST_BYTES, _MOST_BYTES = 64 << 10, 1 << 20, 8 << 20
_QUICK, _SLOW = 1.0, 4.0  # seconds: a server gives up on a client that takes longer than 10 for what it is sent


class Ask(NamedTuple):
    """One pull: so many messages, and so many bytes of them; 0 bytes: whatever they weigh."""

    messages: int
    size: int

    def body(self, wait: float) -> bytes:
        """The body of the request; the pull stays open for `wait` seconds. 0: it ends with what is there."""
        fields: dict[str, int | bool] = {"batch": self.messages}
        if self.size:
            fields["max_bytes"] = self.size
        if wait:
            fields["expires"] = int(wait * 1e9)
        else:
            fields["no_wait"] = True
        return json.dumps(fields).encode()


class Demand:
    """How much the next pull asks for. It grows while pulls are quick and shrinks where the link is slow.

    So a pull takes seconds, not minutes: for a message that the server has sent and we have not received yet, its
    `ack_wait` runs already.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._messages = min(_FEW, most)
        self._bytes = _FIRST_BYTES
        self._stuck = False

    def next(self, held: int, held_bytes: int, objects: int) -> Ask | None:
        """What to ask for now, beside what is held already; None where that is enough."""
        room = self._most - held
        if objects >= _FEW or room < (self._most + 1) // 2 or held_bytes > _MOST_BYTES:
            return None
        if self._stuck:
            return Ask(1, 0)
        return Ask(min(room, _FEW if objects else self._messages), self._bytes)

    def ended(self, ask: Ask, messages: int, seconds: float, too_large: bool) -> None:
        """A pull brought so many messages, in so many seconds from the first to the last.

        `too_large`: there was one more, and its bytes had no room for it.
        """
        self._stuck = too_large and not messages
        if seconds > _SLOW:
            self._bytes = max(self._bytes // 2, _LEAST_BYTES)
            self._messages = max(self._messages // 2, 1)
        elif seconds < _QUICK and messages:
            if too_large:
                self._bytes = min(self._bytes * 2, _MOST_BYTES)
            if messages >= ask.messages:
                self._messages = min(self._messages * 2, self._most)
