"""Asking for messages: as many as there is room for, while the disk takes them, until the worker stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from syncdaemon.base.errors import LanePaused, LinkDown, SettingsError
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.base.tasks import cancel
from syncdaemon.link import Conversation, Heard, Link, Session
from syncdaemon.receive.incoming import Arrival
from syncdaemon.receive.pull.consumer import ConsumerInfo, ConsumerSettings, prepare, pull
from syncdaemon.receive.pull.demand import Demand
from syncdaemon.receive.pull.hands import Hands
from syncdaemon.stream.api import Api
from syncdaemon.stream.pulled import is_from

_RETRY = 1.0  # seconds until a stream or consumer that is not available is asked again
_CONFIG_RETRY = 30.0  # the same where only an operator can help
_UNANSWERED = "no server takes a pull: it is not there, there is no right to it, or JetStream is not available now"
_SHOWN = 200  # bytes of a subject
_FENCE_SECONDS = 4.0  # an answer to a request that never comes is not waited for
_DISK_RETRY = 5.0  # seconds between two looks at a disk that takes nothing

log = structlog.get_logger(__name__)


class Intake:
    """Pulls into `hands`, which hold at most `most` messages.

    `disk` says what is wrong with the disk; it is empty while the disk can be written to. `first` is called on each
    connection before anything is pulled; it raises what `prepare` raises.
    """

    def __init__(
        self,
        link: Link,
        settings: ConsumerSettings,
        hands: Hands,
        *,
        most: int,
        disk: Callable[[], Awaitable[str]],
        first: Callable[[Api], Awaitable[None]] | None = None,
    ) -> None:
        self._link, self._settings, self._hands, self._disk = link, settings, hands, disk
        self._demand, self._first = Demand(most), first
        self._session: Session | None = None
        self._conversation: Conversation | None = None
        self._ever_pulled = False
        self._said, self._strange, self._unseen = OnceAMinute(), OnceAMinute(), OnceAMinute()
        self._said_reason = ""
        self.info = ConsumerInfo()
        self.paused = "not connected yet"

    async def run(self, stop: asyncio.Event) -> None:
        """Pulls until `stop`. When it returns, all that was delivered to us is in `hands`.

        Raises SettingsError where the consumer is wrong at the first contact; later that is a pause with an alarm.
        """
        pulling, stopping = asyncio.create_task(self._pull()), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((pulling, stopping), return_when=asyncio.FIRST_COMPLETED)
            if pulling.done():
                pulling.result()
            await self._hang_up()
        finally:
            stopping.cancel()
            await cancel([pulling])

    async def _hang_up(self) -> None:
        """Ends the deliveries: the answer to a request that is sent after this comes after the last delivery."""
        if self._conversation is None or self._session is None:
            return
        with suppress(LinkDown, PermissionError, LanePaused, TimeoutError):
            await self._conversation.hang_up()
            async with asyncio.timeout(_FENCE_SECONDS):
                await Api.over(self._session).consumer(self._settings.stream, self._settings.name)

    async def _pull(self) -> None:
        while True:
            session = await self._link.wait_up()
            try:
                if self._first is not None:
                    await self._first(Api.over(session))
                self.info = await prepare(Api.over(session), self._settings, self._unseen)
                self._say_unseen(self.info.unseen)
                await self._pull_from(session)
            except LinkDown as error:
                self.paused = str(error)
            except LanePaused as error:
                await self._pause(str(error), _RETRY, session)
            except SettingsError as error:
                if not self._ever_pulled:
                    raise
                await self._pause(str(error), _CONFIG_RETRY, session)

    def _say_unseen(self, reason: str) -> None:
        if reason and self._unseen.due(time.monotonic(), "consumer_unseen"):
            name, effect = self._settings.name, "its settings are not checked"
            log.warning("consumer_unseen", consumer=name, reason=reason, effect=effect)

    async def _pull_from(self, session: Session) -> None:
        """Raises LinkDown, or LanePaused where the consumer has to be looked at again."""
        async with Api.over(session).pulls(self._settings.stream, self._settings.name) as conversation:
            self._session, self._conversation = session, conversation
            self.paused = ""
            try:
                while True:
                    await self._disk_ready(session)
                    await self._pull_some(conversation, session)
            except PermissionError as error:
                raise SettingsError(f"--consumer: these credentials may not pull from it: {error}") from None
            finally:
                self._conversation = None
                for heard in conversation.rest():
                    self._take(heard)

    async def _pull_some(self, conversation: Conversation, session: Session) -> None:
        while (ask := self._demand.next(len(self._hands), self._hands.bytes, self._hands.objects)) is None:
            await self._hands.fewer()
        largest = session.largest
        ask = self.info.within(ask, largest)
        pulled = await pull(conversation, ask, self.info.max_expires, self._take)
        self._ever_pulled = True
        self._demand.ended(ask, pulled.messages, pulled.seconds, pulled.too_large)
        if blocked := pulled.blocked(ask, largest):
            raise LanePaused(f"consumer {self._settings.name}: {blocked}")
        if pulled.status is not None and not pulled.status.usual:
            why = _UNANSWERED if pulled.status.unanswered else pulled.status.words
            raise LanePaused(f"consumer {self._settings.name}: {why}")

    def _take(self, heard: Heard) -> None:
        if not heard.reply:
            return
        if is_from(heard.reply, self._settings.stream, self._settings.name):
            self._hands.take(Arrival(*heard))
        elif self._strange.due(time.monotonic(), "strange_delivery"):
            log.error("strange_delivery", reply=str(heard.reply[:_SHOWN]), effect="the message is not taken")

    async def _disk_ready(self, session: Session) -> None:
        before = ""
        while problem := await self._disk():
            before = problem
            await self._pause(problem, _DISK_RETRY, session)
        if before:
            log.info("pulling_again", after=before)
        self.paused = ""

    async def _pause(self, reason: str, seconds: float, session: Session) -> None:
        self.paused = reason
        if reason != self._said_reason:
            self._said_reason = reason
            self._said.over()
        if self._said.due(time.monotonic()):
            log.warning("pulling_paused", reason=reason, effect="the stream keeps every message")
        await asyncio.wait((session.lost,), timeout=seconds)
