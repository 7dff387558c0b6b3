"""`add-checkpoint` for others (C2SP tlog-witness): the same key and the same state, asked over HTTP.

Whoever reaches the port may ask: what is answered depends on the signatures alone. TLS is a proxy's matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from aiohttp import web

from syncdaemon.base.pause import OnceAMinute
from syncdaemon.evidence.notes import Checkpoint, SignedNote
from syncdaemon.evidence.origins import LogOrigin
from syncdaemon.evidence.strict import MOST_BYTES, BadEvidence
from syncdaemon.evidence.submission import Submission
from syncdaemon.hub.audit.cosigner import SignatureDesk
from syncdaemon.hub.audit.witness_words import WitnessAnswer, accept, at_most
from syncdaemon.web.access import Barred
from syncdaemon.web.callers import Caller
from syncdaemon.web.pages import Page, refusal
from syncdaemon.web.protocol import BROKEN_PAGE, HttpServer

_BODY_SECONDS = 5.0
_TEXT = "text/plain; charset=utf-8"
_ONLY_POST = Barred(405, "this is called by POST", (("Allow", "POST"),))
_NO_PAGE = Barred(404, "here is add-checkpoint alone")
_TOO_LONG = Barred(413, f"a body has at most {MOST_BYTES} bytes")
_TOO_SLOW = Barred(408, "the body did not come in time")

log = structlog.get_logger(__name__)


class WitnessDoor:
    """The port for others. `turn`: held while a checkpoint is judged, stored and signed; `signed`: a site went on."""

    def __init__(self, desk: SignatureDesk, turn: asyncio.Lock, signed: Callable[[str], None]) -> None:
        self._desk, self._turn, self._signed = desk, turn, signed
        self._said = OnceAMinute()
        self._http = HttpServer(self._page)

    async def start(self, host: str, port: int) -> None:
        """Raises SettingsError where the address can't be had."""
        await self._http.listen(host, port)
        log.info("witness_listens", port=self._http.port)

    async def stop(self) -> None:
        """Answers what is under way, and closes."""
        await self._http.stop()

    async def _page(self, request: web.BaseRequest, caller: Caller) -> Page:
        if request.path != "/add-checkpoint":
            return refusal(_NO_PAGE)
        if request.method != "POST":
            return refusal(_ONLY_POST)
        if (request.content_length or 0) > MOST_BYTES:
            return refusal(_TOO_LONG)
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await at_most(request.content, MOST_BYTES + 1)
        except TimeoutError:
            return refusal(_TOO_SLOW)
        if len(body) > MOST_BYTES:
            return refusal(_TOO_LONG)
        try:
            said = await self.answer(body)
        except Exception:
            if self._said.due(asyncio.get_running_loop().time()):
                log.exception("witness_call_failed")
            return refusal(BROKEN_PAGE)
        return Page(said.status, said.body.encode(), said.kind)

    async def answer(self, body: bytes) -> WitnessAnswer:
        """What a body gets. Raises OSError where the state can't be written: then nothing is signed."""
        try:
            submission = Submission.parse(body)
            origin = LogOrigin.parse(Checkpoint.parse(SignedNote.parse(submission.note).text).origin)
        except BadEvidence as error:
            return WitnessAnswer(400, f"{error}\n")
        pin = self._desk.pin_of(origin.site)
        if pin is None:
            return WitnessAnswer(404, "this log is not known here\n")
        async with self._turn:
            head = accept(submission, pin, self._desk.head_of(origin.site))
            if isinstance(head, WitnessAnswer):
                return head
            self._desk.take_head(origin.site, head)
            note = await asyncio.to_thread(self._desk.cosign, origin.site)
        self._signed(origin.site)
        return WitnessAnswer(200, "".join(one.line for one in note.of(self._desk.key)))
