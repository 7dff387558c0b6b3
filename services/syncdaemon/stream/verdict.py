"""What each answer of the server means for a file: the one table. Pure.

Four classes: stored; `Again` (the link or the stream: pause the lane, keep every file); `Stop` (configuration:
the same, with an alarm for the operator); `Refuse` (this very file, the only per-file poison). A fifth, `Known`,
says that the subject is taken: whose message is there has to be read before it counts as stored.

Answers as of nats-server 2.15; the codes are those of its errors.json, the acknowledgement is ADR-1's PubAck.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from syncdaemon.stream import fields

NO_MESSAGE, NO_STREAM, NO_CONSUMER = 10037, 10059, 10014
"""That something asked for is not there; as an answer to a message the second is in the table."""


class Stored(NamedTuple):
    """The stream holds the message at `seq`; `duplicate`: the server knew its id already."""

    stream: str
    seq: int
    duplicate: bool


class Known(NamedTuple):
    """The subject holds a message already: at `seq`, 0 where the server does not say."""

    seq: int


class Again(NamedTuple):
    """Not stored, and it passes: try again after `wait` seconds."""

    reason: str
    detail: str
    wait: float


class Doubtful(Again):
    """The answer proves nothing: the message may be stored, or not. It is in doubt, and tried again after `wait`."""

    __slots__ = ()


class Stop(NamedTuple):
    """Not stored, and only an operator can change that."""

    reason: str
    detail: str


class Refuse(NamedTuple):
    """Not stored, and never will be: it is this file."""

    reason: str
    detail: str


Verdict = Stored | Known | Again | Stop | Refuse


class Committed(NamedTuple):
    """An atomic batch of so many messages is stored, the last of them at `last_seq`."""

    stream: str
    batch: str
    messages: int
    last_seq: int
    domain: str = ""


class BatchRejected(NamedTuple):
    """Nothing of an atomic batch is stored. `barred`: the stream takes no batches at all; `busy`: not now.

    A stream keeps a number of batches open at once. Where others hold them all, the batch is refused, or all of it but
    its first message is found to be incomplete.
    """

    detail: str
    barred: bool
    busy: bool = False


class Home(NamedTuple):
    """The stream whose acknowledgements count. `domain`: of its JetStream, empty for none; None: it is not known."""

    stream: str
    domain: str | None = None

    def answers_for(self, stream: str, domain: str) -> bool:
        """Whether an acknowledgement of that stream is one of ours."""
        return stream == self.stream and (self.domain is None or domain == self.domain)

    def __str__(self) -> str:
        return _in_words(self.stream, self.domain or "")


NO_RESPONDERS = b"NATS/1.0 503"
_PLAIN = re.compile(  # what nearly every answer is
    rb'\{"stream":"([^"\\]{1,255})",(?: ?"domain":"([^"\\]{1,255})",)? ?"seq":([1-9][0-9]{0,17})\}'
)
_SOON, _LATER, _MUCH_LATER = 0.1, 5.0, 30.0
WRONG_SEQUENCE = re.compile(r"wrong last sequence: ([0-9]{1,19})(?![0-9])", re.ASCII)
_SHOWN = 80  # characters of a name that a server tells
_MOST_WORDS = 300  # and of what it says

_AGAIN_SOON = {
    10158: "twin_in_process",  # 409, replicated streams: the same id is just being stored
    10164: "twin_in_process",  # 400, the same for the expected sequence
    10167: "too_many_requests",
    10008: "cluster_unavailable",
}
_AGAIN_LATER = {
    10002: "account_limit",
    10023: "server_storage_full",
    10047: "server_storage_full",
    10028: "server_memory_full",
    10039: "jetstream_off",
    10076: "jetstream_off",
}
_STOP = {
    10109: ("sealed", "the stream is sealed; it takes no message ever again"),
    10060: ("wrong_stream", "the subject belongs to another stream than SYNC_STREAM"),
    10111: ("rollup_refused", "the stream allows no roll-up header"),
    10166: ("ttl_refused", "the stream allows no message TTL"),
    NO_STREAM: ("no_stream", "the stream is gone"),
}
_BATCHES_DISABLED = 10174
_BATCHES_BUSY = (10210, 10211, 10176)
_REFUSE = {
    10054: "too_large",
    10097: "headers_too_large",
}


def judge(data: bytes, headers: bytes | None, home: Home | None = None) -> Verdict:
    """The class of one answer: its body, and its raw header block if it has one.

    `home`: the stream that the message was for. What another one acknowledges proves nothing. None: any stream counts.
    """
    if headers is None and (plain := _PLAIN.fullmatch(data)):
        domain = plain[2].decode(errors="replace") if plain[2] else ""
        return _stored(plain[1].decode(errors="replace"), domain, int(plain[3]), home)
    if headers is not None and headers.startswith(NO_RESPONDERS):
        return Again("no_stream_responds", "no stream takes this subject now, or JetStream is not available", 1.0)
    answer = _document(data)
    match answer:
        case {"error": {"code": int(code), "err_code": int(err_code), "description": str(text)}}:
            return _judge_error(code, err_code, text)
        case {"stream": str(stream), "seq": seq} if _is_sequence(seq) and "error" not in answer:
            return _stored(stream, _domain(answer), seq, home, answer.get("duplicate") is True)
    return Doubtful("unreadable_answer", f"the server answered {data[:_SHOWN]!r}", _LATER)


def judge_batch(data: bytes, headers: bytes | None) -> Committed | BatchRejected | None:
    """What the answer to a batch's commit (ADR-50) says; None where that is not certain."""
    if headers is not None and headers.startswith(NO_RESPONDERS):
        return BatchRejected("no stream takes this subject now", False)
    answer = _document(data)
    match answer:
        case {"error": {"err_code": int(err_code), "description": str(text)}}:
            detail = f"{text[:_MOST_WORDS]} ({err_code})"
            return BatchRejected(detail, err_code == _BATCHES_DISABLED, err_code in _BATCHES_BUSY)
        case {"stream": str(stream), "seq": seq, "batch": str(batch), "count": count} if _is_sequence(seq):
            if "error" not in answer and _is_sequence(count):
                return Committed(stream, batch, count, seq, _domain(answer))
    return None


def other_stream(stream: str, domain: str, home: Home) -> Doubtful:
    """What it means that this stream acknowledges a message for `home`: nothing for the message, much for us."""
    detail = (
        f"the server acknowledges for {_in_words(stream, domain)}, and the message was for {home}; what answers there "
        "is not that stream, so nothing counts as stored (see `syncdaemon doctor`)"
    )
    return Doubtful("other_stream_acknowledged", detail, _MUCH_LATER)


def _stored(stream: str, domain: str, seq: int, home: Home | None, duplicate: bool = False) -> Stored | Doubtful:
    if home is None or home.answers_for(stream, domain):
        return Stored(stream, seq, duplicate)
    return other_stream(stream, domain, home)


def _document(data: bytes) -> Any:
    """What the answer says; None where it is no JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _domain(answer: Mapping[str, Any]) -> str:
    """The domain that an acknowledgement names; empty for none. A name of another kind is the name of no domain."""
    found = answer.get("domain", "")
    return found if isinstance(found, str) else f"({type(found).__name__})"


def _is_sequence(value: object) -> bool:
    """Whether a stream can have a message there, or a batch so many: a whole number of 63 bits, and not 0."""
    return type(value) is int and 1 <= value <= fields.MOST


def _in_words(stream: str, domain: str) -> str:
    name = f"the stream {stream[:_SHOWN]!r}"
    return f"{name} in the domain {domain[:_SHOWN]!r}" if domain else name


def _judge_error(code: int, err_code: int, text: str) -> Verdict:
    words = f"{text[:_MOST_WORDS]} ({code}/{err_code})"
    if err_code == 10071:
        match = WRONG_SEQUENCE.search(text)
        return Known(int(match[1])) if match else Again("twin_in_process", words, _SOON)
    if err_code == 10077:
        if "per subject" in text:
            return Known(0)
        return Again("stream_full", words, _LATER)
    if reason := _AGAIN_SOON.get(err_code):
        return Again(reason, words, _SOON)
    if reason := _AGAIN_LATER.get(err_code):
        return Again(reason, words, _LATER)
    if reason := _REFUSE.get(err_code):
        return Refuse(reason, words)
    if stop := _STOP.get(err_code):
        return Stop(stop[0], f"{stop[1]}: {words}")
    if code in (429, 503, 500):
        return Again("server_error", words, _LATER)
    return Stop("unknown_answer", words)
