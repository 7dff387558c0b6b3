"""What a site tells the hub: small whatever it says, and read from a stranger without harm."""

from __future__ import annotations

import json
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.stream.site_status import MOST_BYTES, SiteStatus, read, written

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/schema/status-1.json").read_text())
DEFAULTS = SiteStatus()._asdict()
DAYS = ("replay_days_left", "ledger_days_left")


def extreme(text: str, number: int, days: float) -> SiteStatus:
    """Every field has a value of these."""

    def value(name: str, default: Any) -> Any:
        if isinstance(default, str):
            return text
        return True if isinstance(default, bool) else days if name in DAYS else number

    return SiteStatus(**{name: value(name, default) for name, default in DEFAULTS.items()})


@pytest.mark.parametrize("text", ["x" * 10_000, "\U0001f600" * 99, '"\\' * 99, "\x1b[31m" * 99, "\u202e" * 99, ""])
@pytest.mark.parametrize("days", [1e300, inf, nan, 123456.789])
def test_no_word_is_larger_than_a_kibibyte(text: str, days: float) -> None:
    data = written(extreme(text, 2**70, days))
    assert len(data) <= MOST_BYTES == 1024
    assert read(data).queue_depth == 10**15 - 1


@given(
    st.builds(
        SiteStatus,
        site=st.text(),
        version=st.text(),
        paused=st.text(),
        row_sha256=st.text(),
        queue_depth=st.integers(),
        replay_days_left=st.none() | st.floats(),
        hub_lag_messages=st.none() | st.integers(0),
    )
)
def test_what_was_written_is_read(status: SiteStatus) -> None:
    data = written(status)
    assert len(data) <= MOST_BYTES
    assert data.isascii()
    assert read(data).hub_lag_messages == (
        None if status.hub_lag_messages is None else min(status.hub_lag_messages, 10**15 - 1)
    )


def test_an_idle_site_says_little() -> None:
    """This is what a first contact has room for."""
    word = SiteStatus("site", "0.1.0", 600, 1_796_083_200, 3, 1, row=3, row_sha256="f" * 16)
    assert len(written(word)) < 160
    assert read(written(word)) == word
    assert SiteStatus(hub_lag_messages=0, replay_days_left=0.0) == read(
        written(SiteStatus(hub_lag_messages=0, replay_days_left=0.0))
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"v":2}',
        b'{"v":true}',
        b'{"v":1,"queue_depth":-1}',
        b'{"v":1,"queue_depth":"9"}',
        b'{"v":1,"queue_depth":1e400}',
        b'{"v":1,"queue_depth":99999999999999999}',
        b'{"v":1,"standby":1}',
        b'{"v":1,"site":7}',
        b'{"v":1,"replay_days_left":NaN}',
        b'{"v":1,"replay_days_left":-1}',
        b'{"v":1,"replay_days_left":true}',
        b'{"v":1,"site":"\\ud800"}',
        b"\xff\xfe",
        b'{"v":1,"paused":"' + b"x" * 5_000 + b'"}',
        b"[" * 4_000,
    ],
)
def test_what_is_no_word_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(data)


def test_what_a_later_version_adds_is_left_out() -> None:
    assert read(b'{"v":1,"queue_depth":2,"colour":{"a":[1]}}') == SiteStatus(queue_depth=2)


def test_no_text_of_a_stranger_can_turn_a_terminal() -> None:
    found = read(json.dumps({"v": 1, "version": "<b>\x1b[2J\u202e", "paused": "a\nb"}).encode())
    assert found.version.isprintable()
    assert found.paused.isprintable()


def test_the_schema_has_every_field_and_no_other() -> None:
    assert set(SCHEMA["properties"]) == {"v", *DEFAULTS}
    assert SCHEMA["required"] == ["v"]
    kinds = {str: "string", bool: "boolean", int: "integer"}
    for name, default in DEFAULTS.items():
        kind = "number" if name in DAYS else "integer" if default is None else kinds[type(default)]
        assert SCHEMA["properties"][name]["type"] == kind, name
        assert SCHEMA["properties"][name]["description"], name
