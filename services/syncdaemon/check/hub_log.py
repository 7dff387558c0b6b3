"""The auditor at the hub's checkpoints: every one of them against the rows of a ledger, by a pin that is his own.

Below the largest checkpoint that the hub has, no row can have been altered, removed, added or moved without being found
here. Read only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from syncdaemon.base.errors import LedgerDamaged
from syncdaemon.evidence.notes import Checkpoint
from syncdaemon.evidence.origins import LogOrigin, Pin, log_id
from syncdaemon.evidence.standing import own_checkpoint
from syncdaemon.evidence.strict import BadEvidence
from syncdaemon.evidence.submission import Submission
from syncdaemon.evidence.tiles import Edge
from syncdaemon.ledger import chain
from syncdaemon.ledger.beginning import head_named
from syncdaemon.ledger.checkpoints import Checkpoints
from syncdaemon.ledger.day_files import files
from syncdaemon.ledger.files import follow
from syncdaemon.stream.mailbox import Mailbox
from syncdaemon.stream.stored import StoredMessage

_STEP = 4_096  # rows that are hashed at once

Say = Callable[[str], None]


@dataclass
class SignedLog:
    """What the hub has of a site's log: each checkpoint, and where it is. `strays`: messages that are none, and why."""

    checkpoints: dict[Checkpoint, str] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)


@dataclass
class HubFindings:
    """What the rows were held to. `covered`: by the largest checkpoint at the hub. `problems`: what does not fit."""

    rows: int = 0
    covered: int = 0
    checkpoints: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, problem: str) -> None:
        """One more thing that does not fit."""
        self.problems.append(problem)


async def signed_at_hub(mailbox: Mailbox, pins: Sequence[Pin]) -> SignedLog:
    """All checkpoints at the hub that may be read, those of the auditor too. Raises as `Mailbox`."""
    found = SignedLog()
    for message in await mailbox.all_readable():
        _add(found, message, pins, submitted=True)
    noted = await mailbox.cosigned()
    if noted is not None:
        _add(found, noted, pins, submitted=False)
    return found


def _add(found: SignedLog, message: StoredMessage, pins: Sequence[Pin], *, submitted: bool) -> None:
    where = f"message {message.seq} on {message.subject}"
    try:
        note = Submission.parse(message.data).note if submitted else message.data
        found.checkpoints[_by_pins(note, pins)] = where
    except BadEvidence as error:
        found.strays.append(f"{where} is no checkpoint of this pin: {error}")


def _by_pins(note: bytes, pins: Sequence[Pin]) -> Checkpoint:
    """The checkpoint in a note that the key of one of these pins has signed, of its place. Raises BadEvidence."""
    fault = BadEvidence("there is no pin of this site")
    for pin in pins:
        site = pin.place.rpartition("/")[2]
        try:
            checkpoint = own_checkpoint(note, pin.public, site).checkpoint
            pin.key(LogOrigin.parse(checkpoint.origin))
            return checkpoint
        except BadEvidence as error:
            fault = error
    raise fault


def hold(folder: Path, site: str, pins: Sequence[Pin], at_hub: SignedLog, fetched: Sequence[Path] = ()) -> HubFindings:
    """Holds the rows of a ledger to every checkpoint at the hub, and to those that lie beside it.

    `fetched`: its oldest days, which were taken away and came back from the hub, in their order. The rows are read to
    the first one that breaks the chain; that one is a problem like others.
    """
    found = HubFindings()
    own = dict(at_hub.checkpoints)
    _add_kept(found, own, folder, site, pins)
    roots = _Roots(found, own)
    try:
        for lines, head in _pieces([*fetched, *files(folder, site)], {one.size for one in own}):
            roots.take(lines, head.n)
    except (LedgerDamaged, OSError) as error:
        found.add(str(error))
    roots.end(at_hub)
    return found


def _add_kept(found: HubFindings, own: dict[Checkpoint, str], folder: Path, site: str, pins: Sequence[Pin]) -> None:
    kept = Checkpoints(folder, site)
    try:
        for size in kept.sizes():
            where = f"the checkpoint {size} beside the ledger"
            try:
                checkpoint = _by_pins(kept.read(size), pins)
                own.setdefault(checkpoint, where)
                if checkpoint.size != size:
                    found.add(f"{where} is one of {checkpoint.size} rows")
            except BadEvidence as error:
                found.add(f"{where}: {error}")
    except OSError as error:
        found.add(f"{error.filename}: {error.strerror}")


class _Roots:
    """The tree of the rows as they come, and what was signed of it."""

    def __init__(self, found: HubFindings, own: dict[Checkpoint, str]) -> None:
        self._found, self._own = found, own
        self._edge = Edge()
        self._log = ""
        self._named: Checkpoint | None = None
        self._sizes: dict[int, list[Checkpoint]] = {}

    def take(self, lines: Sequence[bytes], last: int) -> None:
        """These rows come next, and end at a size of which there may be checkpoints."""
        if not self._edge.size and lines:
            self._log, self._named = log_id(lines[0]), head_named(lines[0])
            self._sort()
        self._edge.add(lines)
        self._found.rows = last
        for checkpoint in self._sizes.get(last, ()):
            self._found.checkpoints += 1
            if checkpoint.root != self._edge.root:
                self._found.add(f"the first {last} rows are not those that were signed: {self._own[checkpoint]}")

    def _sort(self) -> None:
        for checkpoint in self._own:
            if LogOrigin.parse(checkpoint.origin).log_id == self._log:
                self._sizes.setdefault(checkpoint.size, []).append(checkpoint)

    def end(self, at_hub: SignedLog) -> None:
        """There are no more rows: what was signed of more, or of another log, is a problem."""
        found, mine, others = self._found, list[Checkpoint](), list[Checkpoint]()
        for checkpoint in self._own:
            of_this = bool(self._log) and LogOrigin.parse(checkpoint.origin).log_id == self._log
            (mine if of_this else others).append(checkpoint)
        for checkpoint in mine:
            if checkpoint.size > found.rows:
                found.add(
                    f"the ledger has {found.rows} rows, and {checkpoint.size} were signed: {self._own[checkpoint]}"
                )
        found.covered = max((one.size for one in mine if one in at_hub.checkpoints), default=0)
        self._end_of_others(others)
        if not found.covered:
            found.add("the hub has no checkpoint of this ledger: nothing is held against its rows")

    def _end_of_others(self, others: Iterable[Checkpoint]) -> None:
        """The log before this one, where row 1 names it, must have ended where row 1 says."""
        named, log = self._named, self._log or "none"
        for checkpoint in others:
            if named is None or checkpoint.origin != named.origin:
                self._found.add(
                    f"{checkpoint.size} rows of the log {checkpoint.origin} were signed, and the log of this ledger is "
                    f"{log}: {self._own[checkpoint]}"
                )
            elif checkpoint.size > named.size or (checkpoint.size == named.size and checkpoint != named):
                self._found.add(
                    f"this ledger was begun anew behind {named.size} rows of {named.origin}, and another end of it "
                    f"with {checkpoint.size} rows was signed: {self._own[checkpoint]}"
                )


def _pieces(days: Iterable[Path], cuts: Set[int]) -> Iterable[tuple[list[bytes], chain.Head]]:
    """The rows, cut at each of these sizes and elsewhere. Raises LedgerDamaged, OSError."""
    lines, head = list[bytes](), chain.START
    for path in days:
        for line, after in follow(path, head):
            head = after
            lines.append(line)
            if head.n in cuts or len(lines) == _STEP:
                yield lines, head
                lines = []
    if lines:
        yield lines, head


def read_pins(text: str, site: str) -> list[Pin]:
    """The pins of a site in a file with one a line; what follows a # is no pin. Raises BadEvidence."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    pins = [Pin.parse(line) for line in lines if line]
    return [pin for pin in pins if pin.place.rpartition("/")[2] == site]


async def verify_hub(
    mailbox: Mailbox, folder: Path, pins: Sequence[Pin], say: Say, fetched: Sequence[Path] = ()
) -> int:
    """Holds a ledger to what the hub has of it; how many problems there are, each said in a line.

    `pins`: of the mailbox's site. `fetched`: as `hold` takes it. Raises LinkDown, PermissionError, LanePaused where
    the hub can't be asked.
    """
    at_hub = await signed_at_hub(mailbox, pins)
    found = await asyncio.to_thread(hold, folder, mailbox.site, pins, at_hub, fetched)
    verdict = "not ok" if found.problems else "ok"
    say(
        f"hub: {verdict}, {found.checkpoints} checkpoints hold for {found.covered} rows; "
        f"{max(0, found.rows - found.covered)} rows are behind the last one at the hub"
    )
    for stray in at_hub.strays:
        say(f"  note: {stray}")
    for problem in found.problems:
        say(f"  {problem}")
    return len(found.problems)
