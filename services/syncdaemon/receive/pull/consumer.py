"""The pull consumer at the server: found or made, and pulled from."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import structlog

from syncdaemon.base.errors import LanePaused, SettingsError
from syncdaemon.link import Conversation, Heard
from syncdaemon.receive.pull.demand import EXPIRES, GRACE, Ask
from syncdaemon.stream.answers import ApiRefusal, ConsumerAnswer
from syncdaemon.stream.api import Api
from syncdaemon.stream.pulled import Status, status

_LEAST_WAIT = 0.1  # seconds: with a shorter one, the reports of what is in work would have no pause between them
ACK_WAIT = 60.0  # seconds that a created consumer gives us until it delivers again
_SILENT_SECONDS = 4.0  # until a request counts as not answered; less than what the link takes for its own failure
MAX_ACK_PENDING = 4096  # messages of a created consumer that may be in work, at all workers together

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
    """What matters of a consumer as it is: `ack_wait`, and the most that a pull may ask for. Times in seconds.

    `unseen`: why these are not its own settings, but those of a consumer that we create; empty where they are.
    """

    ack_wait: float = ACK_WAIT
    max_batch: int = sys.maxsize
    max_bytes: int = sys.maxsize
    max_expires: float = EXPIRES
    unseen: str = ""

    def within(self, ask: Ask, largest: int) -> Ask:
        """As much of `ask` as the consumer permits. `largest`: bytes of a message that the connection can bear.

        A larger one then ends the pull, and not the connection. A consumer with a limit of its own could refuse this.
        """
        size = largest if not ask.size and self.max_bytes == sys.maxsize else ask.size
        return Ask(min(ask.messages, self.max_batch), min(size, self.max_bytes))


async def prepare(api: Api, settings: ConsumerSettings) -> ConsumerInfo:
    """Makes sure that the consumer is there. One that is there already is never altered.

    Where it can't be seen it is used all the same: over the imports of an account, a right that is missing looks as if
    there were no JetStream. Whether there is one, the first pull tells.

    Raises SettingsError where only an operator can help, LanePaused where the trouble passes, LinkDown.
    """
    try:
        async with asyncio.timeout(_SILENT_SECONDS):
            answer = await api.consumer(settings.stream, settings.name)
    except PermissionError as error:
        return ConsumerInfo(unseen=str(error))
    except TimeoutError:
        return ConsumerInfo(unseen="no answer")
    if isinstance(answer, ApiRefusal) and answer.no_jetstream:
        return ConsumerInfo(unseen=answer.words)
    if isinstance(answer, ApiRefusal) and answer.no_consumer:
        answer = await _create(api, settings)
    if isinstance(answer, ApiRefusal):
        if answer.no_stream:
            raise LanePaused(f"there is no stream {settings.stream} at the server yet")
        raise answer.paused(f"consumer {settings.name}")
    return _accept(answer.config, settings)


async def _create(api: Api, settings: ConsumerSettings) -> ConsumerAnswer | ApiRefusal:
    """Where another worker was faster with the same configuration, the answer is the same."""
    try:
        answer = await api.create_consumer(settings.stream, settings.config(), tail=settings.filter)
    except PermissionError as error:
        raise SettingsError(f"--consumer: {settings.name} is missing, and may not be created: {error}") from None
    if not isinstance(answer, ApiRefusal):
        log.info("consumer_created", stream=settings.stream, consumer=settings.name, filter=settings.filter)
    elif answer.no_jetstream:
        why = "no server takes the request to create it: the operator of the hub makes it, or permits that"
        raise LanePaused(f"consumer {settings.name} is missing, and {why}")
    elif answer.code in (400, 403):
        what = f"{settings.name} can't be created on {settings.stream}"
        raise SettingsError(f"--consumer: {what}: {answer.words}")
    return answer


def _accept(config: Mapping[str, Any], settings: ConsumerSettings) -> ConsumerInfo:
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
        ack_wait=max(min(waits) / 1e9, _LEAST_WAIT),
        max_batch=_limit(config, "max_batch"),
        max_bytes=_limit(config, "max_bytes"),
        max_expires=min(EXPIRES, (config.get("max_expires") or EXPIRES * 1e9) / 1e9),
    )


def _limit(config: Mapping[str, Any], name: str) -> int:
    limit: int = config.get(name, 0)
    return limit if limit > 0 else sys.maxsize


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

    def blocked(self, ask: Ask, largest: int) -> str:
        """Why not even a pull for a message of the `largest` size brought one; empty where it did."""
        if ask.size < largest or self.messages or not self.too_large:
            return ""
        return f"the next message has over {largest} bytes, which the server's max_payload does not let one have"


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
