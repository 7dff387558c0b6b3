"""The one sentence that answers "is my evidence safe?" at a site. Pure.

Safe is what the stream holds; behind a leaf node, what the hub holds. What lies on this machine alone is not.
"""

from __future__ import annotations

from typing import NamedTuple

from syncdaemon.base.units import duration_in_words
from syncdaemon.web.words import SAFE, TROUBLE, UNKNOWN, WAITING, PlainAnswer, count

_NOT_KNOWN = "Not known"


class SafetyFacts(NamedTuple):
    """What the answer depends on.

    `waiting`: files that are not acknowledged; `left`: seconds until they are, None where that is not known. `lacks`:
    messages that the hub lacks, None where that is not known; `leaf`: whether there is a hub behind the server at all.
    `blocked`: why nothing can go, though the link is up; `unseen`: folders or files that can't be looked at.
    """

    publishes: bool
    scanned: bool
    link_up: bool
    waiting: int
    settling: int
    left: float | None
    refused: int
    unseen: int
    blocked: str = ""
    leaf: bool = False
    lacks: int | None = None


def answer(facts: SafetyFacts) -> PlainAnswer:
    """The worst that is so decides; all else that is worth a word stands below."""
    first = _answer(facts)
    return first._replace(why=tuple(line for line in _why(facts) if line))


def _answer(facts: SafetyFacts) -> PlainAnswer:
    if facts.refused:
        lie = "was refused, and lies" if facts.refused == 1 else "were refused, and lie"
        return PlainAnswer(TROUBLE, "No", f"{count(facts.refused, 'file')} {lie} on this machine alone.")
    if facts.unseen:
        return PlainAnswer(
            TROUBLE, "No", f"{count(facts.unseen, 'folder or file')} can't be read: evidence may wait there."
        )
    if not facts.scanned:
        return PlainAnswer(UNKNOWN, _NOT_KNOWN, "The replay folder is still being looked through.")
    if facts.waiting:
        return _waits(facts)
    if facts.leaf:
        return _at_hub(facts)
    if not facts.publishes:
        return PlainAnswer(UNKNOWN, _NOT_KNOWN, "No file waits here, but this daemon stands by: another one delivers.")
    return PlainAnswer(SAFE, "Yes", "Every file that came is stored in the stream. None waits here.")


def _waits(facts: SafetyFacts) -> PlainAnswer:
    are = "is" if facts.waiting == 1 else "are"
    here = f"{count(facts.waiting, 'file')} {are} on this machine alone"
    if not facts.publishes:
        return PlainAnswer(WAITING, "Not yet", f"{here}: this daemon stands by and sends nothing.")
    if facts.blocked:
        return PlainAnswer(TROUBLE, "No", f"{here}, and nothing can be sent: {facts.blocked}.")
    if not facts.link_up:
        return PlainAnswer(WAITING, "Not yet", f"{here}: the link is down.")
    if facts.settling == facts.waiting:
        return PlainAnswer(WAITING, "Not yet", f"{here}: still being written.")
    left = f", for about {duration_in_words(max(1, round(facts.left)))} more" if facts.left is not None else ""
    return PlainAnswer(WAITING, "Not yet", f"{here}, on the way{left}.")


def _at_hub(facts: SafetyFacts) -> PlainAnswer:
    if facts.lacks is None:
        return PlainAnswer(UNKNOWN, _NOT_KNOWN, "All is stored here, but whether the hub has it is not known yet.")
    if facts.lacks:
        return PlainAnswer(WAITING, "Not yet", f"Stored here; {facts.lacks:,} not at the hub yet.")
    return PlainAnswer(SAFE, "Yes", "Every file that came is at the hub. None waits here.")


def _why(facts: SafetyFacts) -> list[str]:
    down = not facts.link_up and facts.publishes
    return [
        "The link is down." if down and not facts.waiting else "",
        "Nothing is lost: files wait on this disk and go by themselves when the link is back." if down else "",
        f"{count(facts.waiting, 'file')} more wait here." if facts.refused and facts.waiting else "",
        f"{facts.blocked[:1].upper()}{facts.blocked[1:]}." if facts.blocked and not facts.waiting else "",
    ]
