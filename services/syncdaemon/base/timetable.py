"""SYNC_BWLIMIT: how many bytes a second may leave, and when. Pure; the local time is an argument.

The syntax is that of rclone's `--bwlimit` (rclone 1.67): one bandwidth, or slots of the week, each of which holds
until the next one begins, over the end of the week too:

    512k                                  always
    08:00,512k 18:00,off                  every day
    Mon-08:00,1M Fri-18:00,10M Sun-20:00,off

A bandwidth is a number with `B` (bytes), `k`, `M`, `G`, `T` or `P` (1024s, `Ki` and `KiB` too), in a timetable without
any of these in KiB; `off` and `0` mean no limit. A number alone, with nothing else, is in bytes.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple

from syncdaemon.base.units import Wrong

_DAY = 24 * 60
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_UNITS = {"b": 1, "": 1 << 10, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_BANDWIDTH = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(?:(b)|([kmgtp])(?:ib?)?)?", re.IGNORECASE)
_SLOT = re.compile(r"(?:([a-z]+)-)?(\d\d):(\d\d),(.*)", re.IGNORECASE)
_MOST = 1 << 60
_REMEDY = "write a bandwidth (512k, 1M, off), or slots of a timetable (08:00,512k 18:00,off or Mon-08:00,1M ...)"


class Slot(NamedTuple):
    """From this minute of the week on, which begins with Monday, so many bytes a second; None: any number."""

    minute: int
    limit: int | None


class Timetable(NamedTuple):
    """Slots in the order of the week, and the text that they were read from."""

    text: str
    slots: tuple[Slot, ...]

    def limit_at(self, local: datetime) -> int | None:
        """Bytes a second at this local time; None where there is no limit."""
        minute = local.weekday() * _DAY + local.hour * 60 + local.minute
        begun = [slot for slot in self.slots if slot.minute <= minute]
        return (begun or self.slots)[-1].limit

    def __str__(self) -> str:
        return self.text


OFF = Timetable("off", (Slot(0, None),))


def timetable(text: str) -> Timetable:
    """Reads the setting. Raises Wrong."""
    tokens = text.replace(";", " ").split()
    if not tokens:
        raise Wrong("empty", _REMEDY)
    if len(tokens) == 1 and "," not in tokens[0]:
        bare = tokens[0] + "B" if tokens[0].isdigit() else tokens[0]
        return Timetable(text, (Slot(0, _bandwidth(bare)),))
    slots = {slot.minute: slot for token in tokens for slot in _slots(token)}
    return Timetable(text, tuple(sorted(slots.values())))


def _slots(token: str) -> list[Slot]:
    """One slot, or the same of every day."""
    if not (match := _SLOT.fullmatch(token)):
        raise Wrong(f"{token!r} is no slot of a timetable", _REMEDY)
    day, hour, minute, bandwidth = match.groups()
    if int(hour) > 23 or int(minute) > 59:
        raise Wrong(f"{hour}:{minute} is no time of day", "write 00:00 to 23:59")
    of_day, limit = int(hour) * 60 + int(minute), _bandwidth(bandwidth)
    days = range(7) if day is None else [_day(day)]
    return [Slot(number * _DAY + of_day, limit) for number in days]


def _day(name: str) -> int:
    for number, day in enumerate(_DAYS):
        if name.lower() in (day, day[:3]):
            return number
    raise Wrong(f"{name!r} is no day of the week", "write Mon, Tue, Wed, Thu, Fri, Sat or Sun, or their full names")


def _bandwidth(text: str) -> int | None:
    if text.lower() == "off":
        return None
    if ":" in text:
        raise Wrong(f"{text!r} is a limit for each direction", "write one; only uploads are limited")
    if not (match := _BANDWIDTH.fullmatch(text)):
        raise Wrong(f"{text!r} is no bandwidth", _REMEDY)
    number, one, many = match.groups()
    limit = float(number) * _UNITS[(one or many or "").lower()]
    if limit > _MOST:
        raise Wrong(f"{text!r} is too large", "write off for no limit")
    if 0 < limit < 1:
        raise Wrong(f"{text!r} is less than a byte a second", "write at least 1B, or off for no limit")
    return int(limit) or None
