"""What is left to be sent where the kernel took a part."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.link.client import beyond
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
