"""The one who signs: each checkpoint is compared with the state, the state is on disk, and only then is it signed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from syncdaemon.evidence.keyfile import CheckpointKey
from syncdaemon.evidence.notes import COSIGNER_KEY, SignedNote, VerifierKey, check_name
from syncdaemon.evidence.origins import Pin
from syncdaemon.evidence.strict import BadEvidence
from syncdaemon.evidence.submission import Submission
from syncdaemon.hub.audit.judge import CONFLICTS, Accepted, LogHead, NotCosigned, NotTaken, Verdict, judge, read_head
from syncdaemon.hub.audit.pins import Pins
from syncdaemon.hub.audit.state import Conflict, Cursor, SiteBook, State


class Arrived(NamedTuple):
    """A message: its sequence in `edge_checkpoints`, and when that stream got it, in seconds since 1970."""

    seq: int
    at: int


class Own(NamedTuple):
    """What a note that we cosigned says, and when we did, in seconds since 1970."""

    head: LogHead
    time: int

    @property
    def rows(self) -> int:
        """Of the log."""
        return self.head.rows


class SignatureDesk:
    """Signs by one key, in one name, what its state allows. `now`: seconds since 1970."""

    def __init__(
        self, name: str, key: CheckpointKey, pins: Pins, state: State, now: Callable[[], float] = time.time
    ) -> None:
        """Raises BadEvidence where no key may have this name, SettingsError never."""
        self.key = VerifierKey(check_name(name), COSIGNER_KEY, key.public)
        self._seed, self.pins, self.state, self._now = key.seed, pins, state, now

    @property
    def read_to(self) -> int:
        """The message of `edge_checkpoints` that was read last, by the state."""
        return self.state.read_to

    def take(self, site: str, arrived: Arrived, submission: Submission, rebased: bytes = b"") -> Verdict | None:
        """Judges a site's message; None: it was judged before, or is older than what is known.

        What it changes is in the state, and not on disk yet.
        """
        before = self.state.of(site)
        if arrived.seq <= before.seq:
            return None
        pin = self.pins.get(site)
        if pin is None:
            return NotTaken(NotCosigned.UNPINNED, f"no pin for the site {site}")
        verdict = judge(submission, pin, before.head, rebased)
        if before.ahead and isinstance(verdict, NotTaken) and verdict.reason is NotCosigned.ROLLBACK:
            return None
        after = _after(before, arrived, submission, pin, verdict)
        if after != before._replace(seq=arrived.seq):  # a stray needs no disk: it would be judged alike again
            self.state.put(site, after)
        return verdict

    def pin_of(self, site: str) -> Pin | None:
        """What is kept of a site."""
        return self.pins.get(site)

    def head_of(self, site: str) -> LogHead | None:
        """What was accepted last of a site."""
        return self.state.of(site).head

    def take_head(self, site: str, head: LogHead) -> None:
        """What another way than the hub's stream brought, and was judged. In the state, and not on disk yet."""
        self.state.put(site, self.state.of(site)._replace(head=head, ahead=True, heard=int(self._now())))

    def conflict(self, site: str, why: str) -> None:
        """A person must look at this. In the state, and not on disk yet."""
        state = self.state.of(site)
        if state.conflict is None:
            self.state.put(site, state._replace(conflict=Conflict("witness", why, state.seq)))

    def adopt(self, site: str, head: LogHead, seq: int, time: int) -> None:
        """Takes what this cosigner signed at that time, before it lost its state."""
        state = self.state.of(site)
        self.state.put(site, state._replace(head=head, seq=seq, ahead=False, time=time, heard=time, pending=None))

    def begin_again(self) -> None:
        """The stream of checkpoints was put back, or made anew: it is read from its beginning. Raises OSError."""
        for site in self.state:
            self.state.put(site, self.state.of(site)._replace(seq=0, ahead=True))
        self.state.move(Cursor())

    def follow(self, site: str) -> str:
        """Carries out the operator's order for this site; what was done, empty where there is no order."""
        if not (order := self.state.accepted(site)):
            return ""
        state = self.state.of(site)
        done = f"the conflict of {site} was seen"
        if state.pending is not None and state.pending.origin == order:
            state = state._replace(head=state.pending, pending=None)
            done = f"{site} is followed as {order}"
        self.state.put(site, state._replace(conflict=None))
        self.state.flush()
        self.state.done(site)
        return done

    def cosign(self, site: str) -> SignedNote:
        """The note of the site's head with our cosignature, which is made when head and time are on disk.

        Raises OSError. A clock that was set back must not make it seem that the log was longer, earlier.
        """
        state = self.state.of(site)
        assert state.head is not None
        at = max(int(self._now()), state.time)
        if at != state.time:
            self.state.put(site, state._replace(time=at))
        self.state.flush()
        return SignedNote.parse(state.head.note).cosigned_by(self.key.name, self._seed, at)

    def signed_before(self, site: str, note: bytes) -> Own | None:
        """What a note says that has our own valid signature; None where it has none."""
        try:
            signed = SignedNote.parse(note)
            at = signed.cosigned(self.key)
            head = None if at is None else LogHead.parse(note)
        except BadEvidence:
            return None
        if at is None or head is None:
            return None
        pin = self.pins.get(site)
        read = read_head(note, pin) if pin else head
        return Own(read if isinstance(read, LogHead) else head, at)


def _after(before: SiteBook, arrived: Arrived, submission: Submission, pin: Pin, verdict: Verdict) -> SiteBook:
    """What is known of the site when this message is judged."""
    seq = arrived.seq
    state = before._replace(seq=seq)
    if isinstance(verdict, Accepted):
        unchecked = state.unchecked + verdict.skipped
        return state._replace(head=verdict.head, ahead=False, heard=arrived.at, unchecked=unchecked)
    note = verdict.head.text if verdict.head else ""
    if verdict.reason is NotCosigned.UNCHECKED:
        return state._replace(unchecked=state.unchecked + 1)
    if verdict.reason in (NotCosigned.REBASED, NotCosigned.NEW_LOG) and state.pending is not None:
        further = judge(submission, pin, state.pending)
        if isinstance(further, Accepted):
            return state._replace(pending=further.head)
    if verdict.reason is NotCosigned.REBASED:
        return state._replace(pending=verdict.head, conflict=Conflict(str(verdict.reason), verdict.why, seq, note))
    if verdict.reason in CONFLICTS and state.conflict is None:
        return state._replace(conflict=Conflict(str(verdict.reason), verdict.why, seq, note))
    return state
