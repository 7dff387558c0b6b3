"""What is left to be sent where the kernel took a part, and answers that nothing waits for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.link.client import Client, beyond
from syncdaemon.link.frame import Buffer

parts = st.lists(st.one_of(st.binary(max_size=9), st.binary(max_size=9).map(lambda data: memoryview(data))))


@given(parts, st.data())
def test_what_is_beyond_is_all_the_rest(frames: list[Buffer], data: st.DataObject) -> None:
    """In order, and nothing twice."""
    whole = b"".join(frames)
    taken = data.draw(st.integers(0, len(whole)))
    assert b"".join(beyond(frames, taken)) == whole[taken:]


def test_nothing_is_left_where_all_is_taken() -> None:
    """Not even something empty, which would be one more call for nothing."""
    assert not beyond([b"one", b"two"], 6)


async def test_an_answer_to_a_flush_that_was_given_up_is_dropped() -> None:
    """A connection that is given up while it opens cancels its flush, and the answer may come all the same."""
    signs: list[str] = []
    client = Client(lambda token, data, headers: None, lambda: signs.append("alive"))
    given_up, waiting = (asyncio.get_running_loop().create_future() for _ in range(2))
    client._pongs += [given_up, waiting]
    given_up.cancel()

    await client._process_pong()
    assert not waiting.done()
    await client._process_pong()
    assert waiting.result()
    assert len(signs) == 2


async def test_an_answer_comes_by_the_subscription_of_our_inbox_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the network cuts it: the short cut and the way of all other messages agree."""
    sent = b"MSG %b7 3 2\r\nok\r\nMSG %b8 2 2\r\nno\r\n"
    for size in (1, 5, 1000):
        answers: list[int] = []

        def answered(token: int, data: bytes, headers: bytes | None, answers: list[int] = answers) -> None:
            answers.append(token)

        client = Client(answered, lambda: None)

        async def subscribe(subject: str, cb: object) -> SimpleNamespace:
            return SimpleNamespace(_id=3)

        monkeypatch.setattr(client, "subscribe", subscribe)
        prefix = await client.open_inbox()
        whole = sent % (prefix, prefix)
        for at in range(0, len(whole), size):
            await client._ps.parse(whole[at : at + size])
        assert answers == [7]
