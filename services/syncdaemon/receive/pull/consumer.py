"""The pull consumer at the server: found or made, and pulled from.

Subjects and answers are those of the JetStream API, version 1 (ADR-13, ADR-15 and nats-server 2.15).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog

from syncdaemon.base.errors import LanePaused, SettingsError
from syncdaemon.link import Conversation, Heard, Session
from syncdaemon.receive.pull.demand import EXPIRES, GRACE, Ask, Status, status
from syncdaemon.stream.verdict import NO_STREAM

ACK_WAIT = 60.0  # seconds that a created consumer gives us until it delivers again
MAX_ACK_PENDING = 4096  # messages of a created consumer that may be in work, at all workers together
_NO_CONSUMER = 10014

log = structlog.get_logger(__name__)


class ConsumerSettings(NamedTuple):
    """Which durable consumer of which stream. `filter` is a subject, empty: all."""

    stream: str
    name: str
    filter: str

    def config(self) -> dict[str, Any]:
        """The configuration of a created consumer."""
        config: dict[str, Any] = {
            "durable_name": self.name,
            "name": self.name,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": int(ACK_WAIT * 1e9),
            "max_ack_pending": MAX_ACK_PENDING,
            "max_deliver": -1,
        }
        return config | ({"filter_subject": self.filter} if self.filter else {})


class ConsumerInfo(NamedTuple):
    """What matters of a consumer as it is: `ack_wait`, and the most that a pull may ask for. Times in seconds."""

    ack_wait: float = ACK_WAIT
    max_batch: int = sys.maxsize
    max_bytes: int = sys.maxsize
    max_expires: float = EXPIRES

    def within(self, ask: Ask) -> Ask:
        """As much of `ask` as the consumer permits."""
        return Ask(min(ask.messages, self.max_batch), min(ask.size, self.max_bytes))


async def prepare(session: Session, settings: ConsumerSettings) -> ConsumerInfo:
    """Makes sure that the consumer is there. One that is there already is never altered.

    Raises SettingsError where only an operator can help, LanePaused where the trouble passes, LinkDown.
    """
    try:
        answer = await session.request_json(f"$JS.API.CONSUMER.INFO.{settings.stream}.{settings.name}")
    except PermissionError as error:
        log.warning("consumer_unseen", consumer=settings.name, reason=str(error), effect="its settings are not checked")
        return ConsumerInfo()
    if _error_code(answer) == _NO_CONSUMER:
        answer = await _create(session, settings)
    return _accept(_config(answer, settings), settings)


async def _create(session: Session, settings: ConsumerSettings) -> dict[str, Any] | None:
    """`action: create`: where another worker was faster with the same configuration, the answer is the same."""
    subject = f"$JS.API.CONSUMER.CREATE.{settings.stream}.{settings.name}"
    if settings.filter:
        subject += f".{settings.filter}"
    request = {"stream_name": settings.stream, "action": "create", "config": settings.config()}
    try:
        answer = await session.request_json(subject, request)
    except PermissionError as error:
        raise SettingsError(f"--consumer: {settings.name} is missing, and may not be created: {error}") from None
    if refusal := (answer or {}).get("error"):
        if refusal.get("code") in (400, 403):
            why = f"{refusal.get('description')} ({refusal.get('err_code')})"
            raise SettingsError(f"--consumer: {settings.name} can't be created on {settings.stream}: {why}")
    else:
        log.info("consumer_created", stream=settings.stream, consumer=settings.name, filter=settings.filter)
    return answer


def _error_code(answer: dict[str, Any] | None) -> int:
    return int(((answer or {}).get("error") or {}).get("err_code", 0))


def _config(answer: dict[str, Any] | None, settings: ConsumerSettings) -> dict[str, Any]:
    if answer is None:
        raise LanePaused("the server has no JetStream, or it is not available now")
    if _error_code(answer) == NO_STREAM:
        raise LanePaused(f"there is no stream {settings.stream} at the server yet")
    if refusal := answer.get("error"):
        raise LanePaused(f"consumer {settings.name}: {refusal.get('description')} ({refusal.get('err_code')})")
    config: dict[str, Any] = answer["config"]
    return config


def _accept(config: dict[str, Any], settings: ConsumerSettings) -> ConsumerInfo:
    wrong = ""
    if config.get("deliver_subject"):
        wrong = "it pushes its messages (deliver_subject)"
    elif config.get("ack_policy") != "explicit":
        wrong = f"its ack_policy is {config.get('ack_policy')}, so a single message can't be acknowledged"
    elif settings.filter and config.get("filter_subject", "") != settings.filter:
        has = config.get("filter_subject") or config.get("filter_subjects") or "no filter"
        wrong = f"it has {has}, not --filter {settings.filter}"
    if wrong:
        raise SettingsError(
            f"--consumer: {settings.name} on {settings.stream} is there already, and {wrong}; "
            "name another, or delete it"
        )
    if config.get("max_deliver", -1) > 0:
        log.warning(
            "consumer_gives_up",
            consumer=settings.name,
            max_deliver=config["max_deliver"],
            meaning="a message that could not be taken so many times is never delivered again",
        )
    waits = [config.get("ack_wait") or ACK_WAIT * 1e9, *(config.get("backoff") or ())]
    return ConsumerInfo(
        ack_wait=min(waits) / 1e9,
        max_batch=config.get("max_batch") or sys.maxsize,
        max_bytes=config.get("max_bytes") or sys.maxsize,
        max_expires=min(EXPIRES, (config.get("max_expires") or EXPIRES * 1e9) / 1e9),
    )


def pull_subject(stream: str, consumer: str) -> str:
    """Where pulls go."""
    return f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"


class Pulled(NamedTuple):
    """What a pull brought: messages, the seconds from the first to the last, and how it ended.

    `status` is None where all was brought that was asked for, or where the server did not announce the end.
    """

    messages: int
    seconds: float
    status: Status | None

    @property
    def too_large(self) -> bool:
        """Whether it ended since the next message weighs more than what was left of its bytes."""
        return self.status is not None and self.status.too_large


async def pull(conversation: Conversation, ask: Ask, wait: float, arrived: Callable[[Heard], None]) -> Pulled:
    """One pull, to its end; `arrived` gets every message. `wait`: how many seconds the pull waits for messages to come.

    Raises LinkDown, or PermissionError.
    """
    await conversation.ask(ask.body(wait))
    messages, ended = 0, None
    first = last = time.monotonic()
    while messages < ask.messages and ended is None:
        try:
            heard = await conversation.next(EXPIRES + GRACE)
        except TimeoutError:
            break
        if heard.reply:
            last = time.monotonic()
            first = first if messages else last
            messages += 1
            arrived(heard)
        elif (found := status(heard.headers)).ends:
            ended = found
    return Pulled(messages, last - first, ended)
