"""What a server answers: to a message, to a batch, to a call of the API, to a pull."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from random import Random
from typing import Any

from syncdaemon.base.errors import LanePaused
from syncdaemon.stream import answers, verdict
from syncdaemon.stream.info import StreamAnswer, read_info
from syncdaemon.stream.pulled import delivery, status
from syncdaemon.stream.stored import StoredMessage
from tests.fuzz import mutate
from tests.fuzz.surface import Case, Surface

HIGHEST = 2**64 - 1
HOME = verdict.Home("swarm_jobs")
HEADS = (
    None,
    None,
    None,
    b"NATS/1.0\r\nA: b\r\n\r\n",
    b"NATS/1.0 503\r\n\r\n",
    b"NATS/1.0 408 Request Timeout\r\n\r\n",
)
REPLIES = (b"$JS.ACK.swarm_jobs.w.1.7.3.1700000000000000000.0", b"$JS.ACK.hub.hash.swarm_jobs.w.1.7.3.17000.0.x")
ERROR = {"code": 400, "err_code": 10071, "description": "wrong last sequence: 12"}
ERRORS = [ERROR] + [
    {"code": 400, "err_code": code, "description": "maximum messages per subject exceeded"}
    for code in (10077, 10109, 10054, 10059, 10023, 10174, 10201, 10158, 99999)
]
PUBLISHED: list[dict[str, Any]] = [
    {"stream": "swarm_jobs", "seq": 7},
    {"stream": "swarm_jobs", "seq": 7, "duplicate": True},
    {"stream": "swarm_jobs", "seq": 7, "domain": "hub"},
    {"stream": "swarm_jobs", "seq": 9, "batch": "b", "count": 3},
    *({"type": "io.nats.jetstream.api.v1.pub_ack_response", "error": error} for error in ERRORS),
]
CONFIG: dict[str, Any] = {
    "name": "swarm_jobs",
    "subjects": ["edge.replay.*.*"],
    "retention": "limits",
    "discard": "new",
    "max_age": 0,
    "max_msgs": -1,
    "max_bytes": -1,
    "max_msgs_per_subject": 1,
    "max_msg_size": -1,
    "duplicate_window": 120_000_000_000,
    "discard_new_per_subject": True,
    "num_replicas": 3,
    "no_ack": False,
    "sealed": False,
    "allow_atomic": True,
}
STATE: dict[str, Any] = {
    "messages": 3,
    "bytes": 300,
    "first_seq": 1,
    "last_seq": 3,
    "last_ts": "2026-03-04T05:06:07.123456789Z",
    "subjects": {"edge.replay.a.b": 1},
}
STREAM: dict[str, Any] = {
    "type": "io.nats.jetstream.api.v1.stream_info_response",
    "config": CONFIG,
    "state": STATE,
    "created": "2026-01-02T03:04:05.6Z",
    "ts": "2026-01-02T03:04:05.6Z",
    "cluster": {"name": "c", "leader": "n1", "replicas": [{"name": "n2", "current": True}]},
}
HEADERS = base64.b64encode(b"NATS/1.0\r\nNats-Msg-Id: a\r\nEdge-Site: edge-1\r\n\r\n").decode()
MESSAGE: dict[str, Any] = {
    "message": {"subject": "edge.replay.a.b", "seq": 7, "hdrs": HEADERS, "data": "YWJj", "time": "2026-01-02T03:04:05Z"}
}
CONSUMER: dict[str, Any] = {
    "name": "w",
    "num_pending": 5,
    "config": {"ack_policy": "explicit", "ack_wait": 30_000_000_000, "filter_subjects": ["a"], "backoff": [1, 2]},
}
ACCOUNT: dict[str, Any] = {"storage": 10, "limits": {"max_storage": -1}}
Shape = Callable[[dict[str, Any]], Any]
CALLS: list[tuple[dict[str, Any], Shape]] = [
    (ACCOUNT, answers.account_of),
    (STREAM, partial(answers.stream_of, name="swarm_jobs")),
    (MESSAGE, partial(answers.message_of, is_it=lambda found: found.seq == 7)),
    (CONSUMER, partial(answers.consumer_of, name="w")),
    ({"success": True}, answers.done),
    ({"error": ERROR}, answers.rehearsed),
]


@contextmanager
def acknowledgements() -> Iterator[Case]:
    """Every answer to a message has its class; a receipt names a stream and a sequence that can be."""

    def case(random: Random) -> None:
        written, headers = mutate.spelled(random, random.choice(PUBLISHED)), random.choice(HEADS)
        found = verdict.judge(written, headers, HOME)
        if isinstance(found, verdict.Stored):
            assert found.stream == HOME.stream
            assert 0 < found.seq <= HIGHEST, (written, found)
        if isinstance(found, verdict.Known):
            assert 0 <= found.seq <= HIGHEST, (written, found)
        batch = verdict.judge_batch(written, headers)
        if isinstance(batch, verdict.Committed):
            assert 0 < batch.messages <= HIGHEST, (written, batch)
            assert 0 < batch.last_seq <= HIGHEST, (written, batch)

    yield case


@contextmanager
def api() -> Iterator[Case]:
    """Every answer to a call is a value of its type, a refusal, or a pause in words."""

    def case(random: Random) -> None:
        valid, shape = random.choice(CALLS)
        valid = valid if random.random() < 0.9 else {"error": random.choice(ERRORS)}
        with suppress(LanePaused):
            found = answers.read_answer("$JS.API.X", mutate.spelled(random, valid), random.choice(HEADS), shape)
            if isinstance(found, StreamAnswer):
                read_info(found).memory(True)
            if isinstance(found, StoredMessage):
                assert 0 < found.seq <= HIGHEST
                found.subject.encode()
            if isinstance(found, answers.ApiRefusal):
                found.words.encode()

    yield case


@contextmanager
def pulls() -> Iterator[Case]:
    """A message's reply subject tells which one it is, or is none; every status line has a code."""

    def case(random: Random) -> None:
        with suppress(ValueError):
            found = delivery(mutate.data(random, random.choice(REPLIES)))
            assert 0 < found.seq <= HIGHEST
            assert 0 <= found.times <= HIGHEST
            assert "/" not in found.name
        block = mutate.data(random, random.choice((b"NATS/1.0 409 Message Size Exceeds MaxBytes\r\n\r\n", *HEADS[3:])))
        said = status(block)
        assert 0 <= said.code < 10**9
        said.words.encode()

    yield case


SURFACES = (
    Surface("acknowledgements", "answers to messages and batches", acknowledgements),
    Surface("api", "answers of JetStream's API", api),
    Surface("pulls", "reply subjects and status lines", pulls),
)
