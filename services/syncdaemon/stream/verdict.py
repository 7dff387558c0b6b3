"""What each answer of the server means for a file: the one table. Pure.

Four classes: stored; `Again` (the link or the stream: pause the lane, keep every file); `Stop` (configuration:
the same, with an alarm for the operator); `Refuse` (this very file, the only per-file poison). A fifth, `Known`,
says that the subject is taken: whose message is there has to be read before it counts as stored.

Answers as of nats-server 2.15; the codes are those of its errors.json, the acknowledgement is ADR-1's PubAck.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

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


class BatchRejected(NamedTuple):
    """Nothing of an atomic batch is stored. `barred`: the stream takes no batches at all."""

    detail: str
    barred: bool


NO_RESPONDERS = b"NATS/1.0 503"
_PLAIN = re.compile(rb'\{"stream":"([^"\\]+)", ?"seq":([1-9]\d*)\}')  # what nearly every answer is
_SOON, _LATER = 0.1, 5.0
_WRONG_SEQUENCE = re.compile(r"wrong last sequence: (\d+)")

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
_REFUSE = {
    10054: "too_large",
    10097: "headers_too_large",
}


def judge(data: bytes, headers: bytes | None) -> Verdict:
    """The class of one answer: its body, and its raw header block if it has one."""
    if headers is None and (plain := _PLAIN.fullmatch(data)):
        return Stored(plain[1].decode(), int(plain[2]), False)
    if headers is not None and headers.startswith(NO_RESPONDERS):
        return Again("no_stream_responds", "no stream takes this subject now, or JetStream is not available", 1.0)
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        answer = None
    match answer:
        case {"error": {"code": int(code), "err_code": int(err_code), "description": str(text)}}:
            return _judge_error(code, err_code, text)
        case {"stream": str(stream), "seq": int(seq)} if seq > 0 and seq is not True and "error" not in answer:
            return Stored(stream, seq, answer.get("duplicate") is True)
    return Again("unreadable_answer", f"the server answered {data[:80]!r}", _LATER)


def judge_batch(data: bytes, headers: bytes | None) -> Committed | BatchRejected | None:
    """What the answer to a batch's commit (ADR-50) says; None where that is not certain."""
    if headers is not None and headers.startswith(NO_RESPONDERS):
        return BatchRejected("no stream takes this subject now", False)
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return None
    match answer:
        case {"error": {"err_code": int(err_code), "description": str(text)}}:
            return BatchRejected(f"{text} ({err_code})", err_code == _BATCHES_DISABLED)
        case {"stream": str(stream), "seq": int(seq), "batch": str(batch), "count": int(count)}:
            return Committed(stream, batch, count, seq)
    return None


def _judge_error(code: int, err_code: int, text: str) -> Verdict:
    words = f"{text} ({code}/{err_code})"
    if err_code == 10071:
        match = _WRONG_SEQUENCE.search(text)
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
