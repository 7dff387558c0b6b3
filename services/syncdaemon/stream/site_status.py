"""What a site tells the hub about itself: one word, by `docs/schema/status-1.json`. Pure.

What is 0, false, empty or not known is left out, and a reader takes it for that: a word costs a thin line little. No
word is larger than `MOST_BYTES`, whatever its values are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

from syncdaemon.base.printable import printable
from syncdaemon.stream import fields

MOST_BYTES = 1024
_MOST_READ = 4096  # bytes: a later version's word may be longer
_MOST = 10**15 - 1  # of any number: a petabyte, or some million years
_TEXT = 64  # characters of a text, as far as they are ASCII


class SiteStatus(NamedTuple):
    """All that a word can say. Times are whole seconds since 1970 by the site's clock, ages and lengths are seconds.

    `next_within`: the next word comes within so many seconds. `row_sha256`: how the hash of the newest row begins.
    `replay_days_left`, `ledger_days_left`: days until a disk is full; None: not for a long time, or not known.
    `hub_lag_messages`: what a hub behind the site's own server lacks; None where there is none, or it is not known.
    """

    site: str = ""
    version: str = ""
    next_within: int = 0
    started: int = 0
    uptime: int = 0
    link_status: int = 0
    queue_depth: int = 0
    bandwidth_bps: int = 0
    ready_files: int = 0
    waiting_bytes: int = 0
    oldest_file_age: int = 0
    in_doubt_files: int = 0
    held_files: int = 0
    quarantined_files: int = 0
    published_files: int = 0
    published_bytes: int = 0
    duplicates: int = 0
    refused: int = 0
    standby: bool = False
    paused: str = ""
    row: int = 0
    row_sha256: str = ""
    checkpoint_rows: int = 0
    checkpoint_at: int = 0
    checkpoint_conflict: bool = False
    replay_days_left: float | None = None
    ledger_days_left: float | None = None
    hub_lag_messages: int | None = None


_DEFAULTS = SiteStatus()._asdict()
_DAYS = ("replay_days_left", "ledger_days_left")


def written(status: SiteStatus) -> bytes:
    """The word. Numbers are kept within bounds, texts are cut; `paused` is the first to become shorter."""
    word: dict[str, Any] = {"v": 1}
    for name, value in status._asdict().items():
        if (told := _told(value)) != _DEFAULTS[name] and told is not None:
            word[name] = told
    data = _compact(word)
    if len(data) > MOST_BYTES and "paused" in word:
        word["paused"] = word["paused"][: max(0, len(word["paused"]) - (len(data) - MOST_BYTES))]
        data = _compact(word)
    return data


def _told(value: Any) -> Any:
    if isinstance(value, str):
        return _ascii(value)[:_TEXT]
    if isinstance(value, bool) or value is None:
        return value
    if not isfinite(value):
        return None
    if isinstance(value, float):
        return round(min(max(value, 0.0), float(10**6)), 2)
    return min(max(value, 0), _MOST)


def _ascii(text: str) -> str:
    return printable(text).encode("ascii", "replace").decode().replace("\\", "/").replace('"', "'")


def _compact(word: Mapping[str, Any]) -> bytes:
    return json.dumps(word, separators=(",", ":")).encode()


def read(data: bytes) -> SiteStatus:
    """What a word says, whoever wrote it. What it does not know, it leaves out.

    Raises ValueError where it is no word: too long, no JSON object, another version, or a value of another kind.
    """
    if len(data) > _MOST_READ:
        raise ValueError(f"{len(data)} bytes are no word")
    word = fields.document(data)
    if fields.whole(word.get("v")) != 1:
        raise ValueError("a version that is not known")
    return SiteStatus(**{name: _read(name, word[name]) for name in _DEFAULTS if word.get(name) is not None})


def _read(name: str, value: object) -> Any:
    if isinstance(_DEFAULTS[name], str):
        return printable(fields.text(value)[:_TEXT])
    if isinstance(_DEFAULTS[name], bool):
        return fields.flag(value)
    if name not in _DAYS:
        return fields.whole(value, most=_MOST)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST:
        raise ValueError(f"{type(value).__name__} instead of a number of days")
    return float(value)
