"""What JetStream's API answers, each field of its kind, or no answer at all. Pure.

Fields and codes are those of the API's version 1 and of errors.json, as nats-server 2.15 has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from syncdaemon.base.errors import LanePaused
from syncdaemon.stream import fields
from syncdaemon.stream.info import StreamAnswer
from syncdaemon.stream.stored import StoredMessage
from syncdaemon.stream.verdict import NO_CONSUMER, NO_MESSAGE, NO_RESPONDERS, NO_STREAM, WRONG_SEQUENCE

_JETSTREAM_OFF = (10039, 10076)
_OTHER_STREAM = 10060  # "expected stream does not match"
_OTHER_SEQUENCE, _OTHER_LAST_ID = 10071, 10070  # what a message expects of the stream is not so
_SHOWN = 120  # bytes of an answer that can't be read
_MOST_WORDS = 300  # characters of what a server says

Value = TypeVar("Value")


class ApiRefusal(NamedTuple):
    """Why the server does not do what it was asked, in its own words; the codes are those of its errors.json.

    Where no server takes the request, so that there is no JetStream for us now, `code` is 503 and `err_code` is 0.
    """

    code: int
    err_code: int
    description: str

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.description} ({self.err_code})" if self.err_code else self.description

    @property
    def no_message(self) -> bool:
        """The stream is there, and the message is not."""
        return self.err_code == NO_MESSAGE

    @property
    def other_stream(self) -> bool:
        """The message is for another stream than the one that has its subject."""
        return self.err_code == _OTHER_STREAM

    @property
    def no_stream(self) -> bool:
        """The stream is not there."""
        return self.err_code == NO_STREAM

    @property
    def no_consumer(self) -> bool:
        """The stream is there, and the consumer is not."""
        return self.err_code == NO_CONSUMER

    @property
    def no_jetstream(self) -> bool:
        """There is no JetStream, for no account or not for this one; or it is not available now."""
        return self.err_code in _JETSTREAM_OFF or self.unanswered

    @property
    def unanswered(self) -> bool:
        """No subscriber takes messages on that subject."""
        return self.code == 503 and not self.err_code

    @property
    def last_on_subject(self) -> int | None:
        """The sequence of the subject's newest message, where that is why a message is refused; 0: it has none."""
        if self.err_code == _OTHER_LAST_ID:
            return 0
        match = WRONG_SEQUENCE.search(self.description) if self.err_code == _OTHER_SEQUENCE else None
        return int(match[1]) if match else None

    def paused(self, what: str) -> LanePaused:
        """The error that says: `what` is not possible now."""
        return LanePaused(f"{what}: {self.words}")


class ConsumerAnswer(NamedTuple):
    """What CONSUMER.INFO and CONSUMER.CREATE answer, each field of the kind that it should be.

    `pending`: how many messages it has to give. Every field of `config` may be missing.
    """

    config: dict[str, Any]
    pending: int


class AccountAnswer(NamedTuple):
    """Bytes of storage that the account uses, and the most that it may use; below 0: no limit."""

    storage: int
    most: int


_CONSUMER: Mapping[str, fields.Kind] = {
    **dict.fromkeys(("deliver_subject", "ack_policy", "filter_subject"), fields.text),
    **dict.fromkeys(("ack_wait", "max_expires"), fields.whole),
    **dict.fromkeys(("max_deliver", "max_batch", "max_bytes"), fields.signed),
    "filter_subjects": fields.each(fields.text),
    "backoff": fields.each(fields.whole),
}


def read_answer(
    subject: str, data: bytes, headers: bytes | None, shape: Callable[[dict[str, Any]], Value]
) -> Value | ApiRefusal:
    """What comes back from a request to `subject`: the value that `shape` makes of it, or the server's refusal.

    `shape` raises ValueError where it is no such answer. Raises LanePaused where it can't be read.
    """
    if headers is not None and headers.startswith(NO_RESPONDERS):
        return ApiRefusal(
            503, 0, f"no server answers {subject}: it has no JetStream now, or we have no right to this call"
        )
    try:
        answer = fields.document(data)
        return _refusal(answer["error"]) if "error" in answer else shape(answer)
    except ValueError as error:
        raise LanePaused(f"the answer to {subject} can't be read: {error}: {data[:_SHOWN]!r}") from None


def _refusal(error: object) -> ApiRefusal:
    found = fields.checked(error, {"code": fields.whole, "err_code": fields.whole, "description": fields.text})
    code, err_code = found.get("code", 0), found.get("err_code", 0)
    return ApiRefusal(code, err_code, found.get("description", f"refused with code {code}")[:_MOST_WORDS])


def refuses_as_another(data: bytes) -> bool:
    """Whether a stream answers so to a message that is meant for another stream."""
    try:
        answer = fields.document(data)
        return "error" in answer and _refusal(answer["error"]).other_stream
    except ValueError:
        return False


def account_of(answer: dict[str, Any]) -> AccountAnswer:
    """What the account stores."""
    limits = fields.mapping(answer.get("limits"))
    return AccountAnswer(fields.whole(answer.get("storage", 0)), fields.signed(limits.get("max_storage")))


def stream_of(answer: dict[str, Any], name: str) -> StreamAnswer:
    """The stream of this name. Each of these functions raises ValueError where the answer is not that."""
    found = StreamAnswer.from_api(answer)
    if found.config["name"] != name:
        raise ValueError("it is about another stream")
    return found


def described(answer: dict[str, Any], name: str) -> StreamAnswer:
    """The same, as STREAM.INFO answers it: a domain that it does not name is none."""
    return stream_of({"domain": "", **answer}, name)


def message_of(answer: dict[str, Any], is_it: Callable[[StoredMessage], bool]) -> StoredMessage:
    """The message that was asked for, as `is_it` knows it."""
    found = StoredMessage.from_api(fields.mapping(answer.get("message")))
    if not is_it(found):
        raise ValueError("it is about another message")
    return found


def consumer_of(answer: dict[str, Any], name: str) -> ConsumerAnswer:
    """The consumer of this name."""
    if answer.get("name") != name:
        raise ValueError("it is about another consumer")
    return ConsumerAnswer(fields.checked(answer.get("config"), _CONSUMER), fields.whole(answer.get("num_pending")))


def names_of(answer: dict[str, Any]) -> list[str]:
    """The names in a list of streams; null for none."""
    return [fields.text(name) for name in answer.get("streams") or ()]


def done(answer: dict[str, Any]) -> None:
    """The answer of a call that says no more than that it is done."""
    if answer.get("success") is not True:
        raise ValueError("it does not say that it is done")


def rehearsed(answer: dict[str, Any]) -> None:
    """The answer to a message that no stream can store: only a refusal can be true."""
    raise ValueError("no stream can have stored this")
