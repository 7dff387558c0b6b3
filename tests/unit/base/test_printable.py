"""What a terminal is given: no text of others that it would obey."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.base.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b: é 漢", "a b: é 漢"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("\u2066\u200f\u2028", r"\u2066\u200f\u2028"),
        ("\udcff", r"\udcff"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_what_a_terminal_would_obey_stands_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_is_one_line_that_every_output_takes(text: str) -> None:
    assert printable(text).isprintable()
    printable(text).encode()
    assert printable(printable(text)) == printable(text)
