"""Every check of health in words: what it looks at, and what to do where it does not hold. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from syncdaemon.web.views import Check


class Advice(NamedTuple):
    """`title`: what is checked; `todo`: what somebody does where it is not well."""

    title: str
    todo: str


ADVICE = {
    "hub": Advice(
        "The hub behind this server",
        "Bring the hub or the line to it back: what it has not fetched when the stream's max_age is over is gone.",
    ),
    "link": Advice(
        "Link to the server",
        "Look at this machine's network, then at NATS_URL and the login. Meanwhile files wait here, and none is lost.",
    ),
    "lane": Advice("The stream takes files", "`syncdaemon doctor` says what the stream lacks. Files wait until then."),
    "operator": Advice("Paused by a person", "`syncdaemon resume` lets the delivery go on."),
    "room": Advice("Room in the stream", "Have its workers take what is there, or raise the stream's limits."),
    "settings": Advice("Settings of the stream", "Nothing: the delivery does not need to see them."),
    "objects": Advice("Large files", "`syncdaemon doctor` says what the bucket lacks. Large files wait until then."),
    "scanned": Advice("The replay folder", "See that the folder is there, and that the daemon's user may read it."),
    "ledger": Advice(
        "The ledger",
        "Free room on the disk of SYNC_LEDGER_DIR, or mend its rights. Without its ledger the daemon sends nothing.",
    ),
    "folders": Advice(
        "Folders and files can be read",
        "Give the daemon's user the right to read them. What is in there is not delivered.",
    ),
    "rules": Advice("Files that a rule leaves alone", "`syncdaemon rules dry-run` says which, and by which rule."),
    "checkpoints": Advice(
        "Checkpoints at the hub",
        "Read CheckpointConflict and what follows it in OPERATIONS.md. Files are delivered all the same.",
    ),
    "retired": Advice(
        "Delivered files are put away",
        "See that the daemon's user may move files in the replay folder. They are delivered already.",
    ),
    "disks": Advice("Room on the disks", "Free room on that disk, or make it larger: producers soon find none."),
    "quarantine": Advice(
        "Refused files",
        "`syncdaemon quarantine list` says why. Remove the cause, then `syncdaemon quarantine requeue` sends them.",
    ),
}
"""By the name of the check."""

_NONE = Advice("", "`syncdaemon doctor` may say more.")


def in_words(checks: Mapping[str, Check]) -> list[list[str | bool]]:
    """For each check its name, its title, whether it holds, what it found, and what to do; the bad ones first."""
    shown: list[list[str | bool]] = []
    for name, check in sorted(checks.items(), key=_worst_first):
        title, todo = ADVICE.get(name, _NONE)
        paused = name == "operator" and "has paused" in check.detail  # a person's own wish is no illness
        shown.append([name, title or name, check.ok, check.detail, "" if check.ok and not paused else todo])
    return shown


def _worst_first(item: tuple[str, Check]) -> tuple[bool, int]:
    name, check = item
    return check.ok, list(ADVICE).index(name) if name in ADVICE else len(ADVICE)
