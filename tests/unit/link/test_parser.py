"""The short cut of plain answers: quick, and the same as the way around it, wherever the bytes are cut."""

from __future__ import annotations

import re
from typing import Any

import pytest

from syncdaemon.link.parser import Parser


class Client:
    """Notes what it is called with: answers by the short cut as `short`, by the way around as `long`."""

    max_payload = 1 << 20

    def __init__(self) -> None:
        self.short: list[int] = []
        self.long: list[int] = []

    def answered(self, token: int, data: bytes, headers: bytes | None) -> None:
        """By the short cut."""
        assert (data, headers) == (b"answer %d" % token, None)
        self.short.append(token)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        assert (sid, reply, data, headers) == (1, b"", b"answer " + subject[6:], None)
        self.long.append(int(subject[6:]))

    async def _process_ping(self) -> None: ...
    async def _process_pong(self) -> None: ...
    async def _process_info(self, info: dict[str, Any]) -> None: ...
    async def _process_err(self, err_msg: str) -> None: ...


def answers(count: int) -> bytes:
    """So many of them, as a server sends them."""
    bodies = [(number, b"answer %d" % number) for number in range(1, count + 1)]
    return b"".join(b"MSG inbox.%d 1 %d\r\n%b\r\n" % (number, len(body), body) for number, body in bodies)


@pytest.mark.parametrize("size", [1, 7, 26, 64, 1_000, 4_096])
async def test_a_cut_in_an_answer_costs_the_others_nothing(size: int) -> None:
    """At most the one that was cut goes the way around; those behind it take the short cut again."""
    client = Client()
    parser = Parser(client, client.answered)
    parser.answer = re.compile(rb"MSG inbox\.([0-9]{1,15}) 1 ([0-9]{1,10})\r\n")
    data = answers(500)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    for piece in pieces:
        await parser.parse(piece)
    assert sorted(client.short + client.long) == list(range(1, 501))
    assert len(client.long) <= len(pieces)
    assert parser.arriving == 0
