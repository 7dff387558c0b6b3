"""Whether a site says enough: its daemon signs a checkpoint a day at least, so silence means something. Pure."""

from __future__ import annotations

from enum import StrEnum

SILENT_SECONDS = 26 * 3600.0  # a day, and time for a slow link
WITHHELD_SECONDS = 3600.0


class Voice(StrEnum):
    """What is heard of a site."""

    HEARD = "heard"
    SILENT = "silent"  # neither checkpoints nor messages: its link is down, or it is
    WITHHELD = "withheld"  # its messages come, and no checkpoint that covers them


def voice(heard: float, newest_message: float | None, now: float) -> Voice:
    """What a site's last good checkpoint and its newest message come to; all in seconds since 1970.

    `heard`: 0 where there never was one. `newest_message`: None where there is none, or it can't be seen.
    """
    if now - heard <= SILENT_SECONDS:
        return Voice.HEARD
    if newest_message is not None and newest_message - heard > WITHHELD_SECONDS:
        return Voice.WITHHELD
    return Voice.SILENT
