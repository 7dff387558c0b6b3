"""How a list of users is read, and written for people. Pure."""

from __future__ import annotations

import re

from syncdaemon.base.units import Wrong

_LARGEST_UID = 2**32 - 2  # the one above stands for no user
_UIDS = re.compile(r" *[0-9]{1,10} *(?:, *[0-9]{1,10} *)*")


def uids(text: str) -> frozenset[int]:
    """Numbers of users: `0,10001`."""
    if not _UIDS.fullmatch(text) or max(found := frozenset(map(int, text.split(",")))) > _LARGEST_UID:
        raise Wrong(
            "no list of user ids", f"write numbers from 0 to {_LARGEST_UID} with commas between, such as 0,1000"
        )
    return found


def uids_text(value: frozenset[int]) -> str:
    """What `uids` reads as this value."""
    return ",".join(map(str, sorted(value)))
