"""The witnesses of a policy: each gets the checkpoints in order, and its signatures come back into the notes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import aiohttp
import structlog

from syncdaemon.base.pause import OnceAMinute
from syncdaemon.evidence.policy import Witness
from syncdaemon.evidence.strict import MOST_BYTES, BadEvidence
from syncdaemon.evidence.submission import Submission
from syncdaemon.hub.audit import inbox
from syncdaemon.hub.audit.cosigner import SignatureDesk
from syncdaemon.hub.audit.judge import LogHead
from syncdaemon.hub.audit.rounds import Rounds
from syncdaemon.hub.audit.witness_words import HasSize, Signed, WitnessSays, answer_of, at_most, way
from syncdaemon.stream.api import Api

_SECONDS = 10.0  # for a whole answer
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 3600.0

log = structlog.get_logger(__name__)


class Pause(NamedTuple):
    """A witness that did not answer well is asked again then, by `time.monotonic`, after so many failures."""

    until: float
    failures: int


class Feeder:
    """Brings what was cosigned to the witnesses, one after the other, and their signatures back."""

    def __init__(self, witnesses: Sequence[Witness], desk: SignatureDesk, rounds: Rounds) -> None:
        self._witnesses = [witness for witness in witnesses if witness.url]
        self._desk, self._rounds = desk, rounds
        self._sizes: dict[tuple[str, str], int] = {}  # by witness and log: what it has
        self._pauses: dict[tuple[str, str], Pause] = {}
        self._said = OnceAMinute()
        self.troubles: dict[tuple[str, str], str] = {}  # by witness and site: why there is no signature

    async def feed(self, api: Api) -> None:
        """Asks each witness for what the newest notes lack. Raises LinkDown, PermissionError, LanePaused."""
        if not self._witnesses:
            return
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as http:
            for site, witness in self._lacking():
                await self._ask(api, http, site, witness)

    def _lacking(self) -> Iterator[tuple[str, Witness]]:
        now = time.monotonic()
        for site in sorted(self._desk.pins):
            note = self._rounds.note_of(site)
            for witness in self._witnesses if note is not None else ():
                pause = self._pauses.get((witness.name, site))
                with suppress(BadEvidence):
                    if note is not None and note.cosigned(witness.key) is not None:
                        self.troubles.pop((witness.name, site), None)
                        continue
                if pause is None or pause.until <= now:
                    yield site, witness

    async def _ask(self, api: Api, http: aiohttp.ClientSession, site: str, witness: Witness) -> None:
        head = self._desk.head_of(site)
        if head is None:
            return
        trouble = await self._bring(api, http, site, witness, head)
        place = (witness.name, site)
        if trouble is None:
            self._pauses.pop(place, None)
            self.troubles.pop(place, None)
            return
        failures = self._pauses[place].failures + 1 if place in self._pauses else 0
        self._pauses[place] = Pause(time.monotonic() + min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**failures), failures)
        self.troubles[place] = trouble.why
        if trouble.conflict:
            self._desk.conflict(site, f"the witness {witness.name}: {trouble.why}")
        if self._said.due(time.monotonic(), f"{place} {trouble.why}"):
            say = log.error if trouble.conflict else log.warning
            say("witness_did_not_sign", witness=witness.name, edge_site=site, reason=trouble.why)

    async def _bring(
        self, api: Api, http: aiohttp.ClientSession, site: str, witness: Witness, head: LogHead
    ) -> WitnessSays | None:
        """Leads the witness to the head; why that was not possible. Its own word on its size is asked for once."""
        place = (witness.name, head.origin)
        for _ in range(2):
            size = self._sizes.get(place, 0)
            steps = await self._steps(api, site, size, head)
            if not steps:
                ahead = size > head.rows
                why = f"it has {size} rows, and {'the hub has less' if ahead else 'no proof goes on from there'}"
                return WitnessSays(why, conflict=ahead)
            for step in steps:
                said = await _post(http, witness, step)
                if isinstance(said, HasSize):
                    self._sizes[place] = said.size
                    break
                if isinstance(said, WitnessSays):
                    return said
                self._sizes[place] = LogHead.parse(step.note).rows
                if step is steps[-1]:
                    await self._rounds.add(api, site, said.note)
                    return None
        return WitnessSays("it says another size each time")

    async def _steps(self, api: Api, site: str, size: int, head: LogHead) -> list[Submission]:
        """From the retained messages of the site; one more with the head itself where the witness has it already."""
        if size == head.rows:
            return [Submission(size, (), head.note)]
        found: list[Submission] = []
        seq, left = 1, 1 if size else 0
        while left:
            part = await inbox.read(api, seq, inbox.subject_of(site))
            for message in part.messages:
                with suppress(BadEvidence):
                    found.append(Submission.parse(message.data))
            left = part.left if part.messages else 0
            seq = part.messages[-1].seq + 1 if part.messages else seq
        return way(found, self._desk.pins[site], size, head)


async def _post(http: aiohttp.ClientSession, witness: Witness, step: Submission) -> Signed | HasSize | WitnessSays:
    url = f"{witness.url.rstrip('/')}/add-checkpoint"
    options: dict[str, Any] = {"data": bytes(step), "allow_redirects": False}
    try:
        async with http.post(url, **options) as response:
            body = await at_most(response.content, MOST_BYTES + 1)
            return answer_of(step, witness.key, response.status, response.headers.get("Content-Type", ""), body)
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        return WitnessSays(f"no answer: {type(error).__name__}")
