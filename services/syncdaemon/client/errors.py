"""What can go wrong for a program that hands files over."""

from __future__ import annotations

from syncdaemon.base.errors import SyncError


class HandOverError(SyncError):
    """The base of these errors; the text is one line for a person."""


class NotPut(HandOverError):
    """The file is not in the replay directory; the text says why."""


class NoReplayDirectory(NotPut):
    """There is no replay directory, so no other file can be put there either."""


class NotBelieved(HandOverError):
    """Something listens at the place of the local door, and it is not the daemon: nothing that it says counts."""


class NotAllowed(HandOverError):
    """The daemon does not do this for this user."""


class BadRequest(HandOverError):
    """The daemon does not understand this, or can't do it; the text says why."""


class ReceiptTimeout(HandOverError, TimeoutError):
    """There is no receipt yet. The file waits on this machine's disk, or has been delivered under another content."""


class GivenUp(NotPut):
    """Whoever wanted the file put has given up meanwhile, and nothing is left of it."""


class DaemonAway(ReceiptTimeout):
    """No daemon answers at the local door. What was put is safe on this machine's disk, and is delivered later."""


class Refused(HandOverError):
    """The file is in quarantine: it can't be delivered as it is. `reason` is one word, `detail` is for people."""

    def __init__(self, ticket: str, reason: str, detail: str) -> None:
        super().__init__(f"{ticket}: refused: {reason}: {detail}")
        self.ticket, self.reason, self.detail = ticket, reason, detail


class NotProved(HandOverError):
    """The file is delivered, and no checkpoint will prove it: this site makes none."""
