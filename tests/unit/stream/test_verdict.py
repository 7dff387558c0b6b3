"""Each answer of the server has one meaning; none but a real acknowledgement means stored."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncdaemon.stream.verdict import Again, Known, Refuse, Stop, Stored, Verdict, judge

NO_RESPONDERS = b"NATS/1.0 503\r\n\r\n"


def error(code: int, err_code: int, description: str) -> bytes:
    """A server's refusal, as JetStream words it: with the stream and a sequence of nought beside it."""
    told = {"code": code, "err_code": err_code, "description": description}
    return json.dumps({"error": told, "stream": "swarm_jobs", "seq": 0}).encode()


def test_an_acknowledgement_is_stored() -> None:
    """The plain case: this stream, this sequence."""
    assert judge(b'{"stream":"swarm_jobs","seq":42}', None) == Stored("swarm_jobs", 42, False)


def test_a_duplicate_is_stored_and_says_so() -> None:
    """The server knew the id; the sequence is that of the message that was there first."""
    answer = b'{"stream":"swarm_jobs", "domain":"hub", "seq":7,"duplicate": true}'

    assert judge(answer, None) == Stored("swarm_jobs", 7, True)


def test_headers_of_another_kind_do_not_hide_an_acknowledgement() -> None:
    """Only a status of 503 speaks of missing responders."""
    assert judge(b'{"stream":"s","seq":1}', b"NATS/1.0\r\nA: b\r\n\r\n") == Stored("s", 1, False)


@pytest.mark.parametrize(
    "headers", [NO_RESPONDERS, b"NATS/1.0 503 No Responders\r\n\r\n", b"NATS/1.0 503 \r\nx: y\r\n\r\n"]
)
def test_no_responders_is_waited_out(headers: bytes) -> None:
    """No stream, JetStream off, a hub that is down behind a leaf, an election: it passes, and nothing is stored."""
    verdict = judge(b"", headers)

    assert isinstance(verdict, Again)
    assert verdict.reason == "no_stream_responds"
    assert verdict.wait >= 0.5


def test_no_responders_wins_over_the_body() -> None:
    """Whatever stands in the body: with this status nobody took the message."""
    assert isinstance(judge(b'{"stream":"s","seq":1}', NO_RESPONDERS), Again)


def test_503_10077_per_subject_is_not_yet_stored() -> None:
    """The subject is taken; by whom is not said, so it has to be read before it counts."""
    assert judge(error(503, 10077, "maximum messages per subject exceeded"), None) == Known(0)


@pytest.mark.parametrize("text", ["maximum bytes exceeded", "maximum messages exceeded", ""])
def test_503_10077_without_a_subject_is_a_full_stream(text: str) -> None:
    """The same code, another meaning: taking this for stored would delete a file that is nowhere else."""
    verdict = judge(error(503, 10077, text), None)

    assert isinstance(verdict, Again)
    assert verdict.reason == "stream_full"
    assert verdict.wait >= 1.0


@given(st.integers(1, 2**63))
def test_10071_with_a_number_names_the_message_that_is_there(seq: int) -> None:
    """That message is read back: it is ours, or it is not."""
    assert judge(error(400, 10071, f"wrong last sequence: {seq}"), None) == Known(seq)


@pytest.mark.parametrize("text", ["wrong last sequence", "wrong last sequence: ", "wrong last sequence: x", ""])
def test_10071_without_a_number_is_tried_again(text: str) -> None:
    """A cluster that is just storing the twin can't name it yet."""
    verdict = judge(error(400, 10071, text), None)

    assert isinstance(verdict, Again)
    assert verdict.wait <= 1.0


AGAIN = [
    (503, 10077, "maximum bytes exceeded", "stream_full"),
    (503, 10077, "maximum messages exceeded", "stream_full"),
    (400, 10002, "resource limits exceeded for account", "account_limit"),
    (503, 10023, "insufficient resources", "server_storage_full"),
    (500, 10047, "insufficient storage resources available", "server_storage_full"),
    (500, 10028, "insufficient memory resources available", "server_memory_full"),
    (503, 10008, "JetStream system temporarily unavailable", "cluster_unavailable"),
    (429, 10167, "too many requests", "too_many_requests"),
    (409, 10158, "duplicate message id is in process", "twin_in_process"),
    (400, 10164, "wrong last sequence", "twin_in_process"),
    (503, 10039, "JetStream not enabled for account", "jetstream_off"),
    (503, 10076, "JetStream not enabled", "jetstream_off"),
    (400, 10071, "wrong last sequence", "twin_in_process"),
]


@pytest.mark.parametrize(("code", "err_code", "text", "reason"), AGAIN)
def test_what_passes_is_tried_again(code: int, err_code: int, text: str, reason: str) -> None:
    """Link and stream trouble pauses the lane for a moment and keeps every file."""
    verdict = judge(error(code, err_code, text), None)

    assert isinstance(verdict, Again)
    assert verdict.reason == reason
    assert 0 < verdict.wait <= 30
    assert text in verdict.detail
    assert f"{code}/{err_code}" in verdict.detail


@pytest.mark.parametrize("answer", [(429, 10167, "too many requests"), (409, 10158, "duplicate in process")])
def test_what_passes_in_a_moment_is_tried_again_soon(answer: tuple[int, int, str]) -> None:
    """A twin in process or a full buffer is over in milliseconds; a full disk is not."""
    soon, late = judge(error(*answer), None), judge(error(503, 10077, "maximum bytes exceeded"), None)

    assert isinstance(soon, Again)
    assert isinstance(late, Again)
    assert soon.wait < 1.0 < late.wait


STOP = [
    (400, 10109, "invalid operation on sealed stream", "sealed"),
    (400, 10060, "expected stream does not match", "wrong_stream"),
    (500, 10111, "rollup not permitted", "rollup_refused"),
    (400, 10166, "per-message ttl is disabled", "ttl_refused"),
    (404, 10059, "stream not found", "no_stream"),
]


@pytest.mark.parametrize(("code", "err_code", "text", "reason"), STOP)
def test_what_only_an_operator_can_change_stops_the_lane(code: int, err_code: int, text: str, reason: str) -> None:
    """Configuration is nobody's file's fault: everything stays, and the alarm says what it is."""
    verdict = judge(error(code, err_code, text), None)

    assert isinstance(verdict, Stop)
    assert verdict.reason == reason
    assert text in verdict.detail


@pytest.mark.parametrize(
    ("code", "err_code", "text", "reason"),
    [
        (400, 10054, "message size exceeds maximum allowed", "too_large"),
        (400, 10097, "header size exceeds maximum allowed of 64k", "headers_too_large"),
    ],
)
def test_size_and_headers_are_the_only_poison(code: int, err_code: int, text: str, reason: str) -> None:
    """These answers speak of this very file, and would be the same tomorrow."""
    verdict = judge(error(code, err_code, text), None)

    assert isinstance(verdict, Refuse)
    assert verdict.reason == reason
    assert text in verdict.detail


@pytest.mark.parametrize("code", [429, 500, 503])
def test_an_unknown_answer_of_a_server_in_trouble_is_tried_again(code: int) -> None:
    """A newer server may have a new code for an old kind of trouble."""
    assert isinstance(judge(error(code, 19999, "something new"), None), Again)


def test_an_unknown_refusal_is_an_alarm_and_no_poison() -> None:
    """A code that nobody has seen yet never costs a file."""
    verdict = judge(error(400, 19999, "something new"), None)

    assert isinstance(verdict, Stop)
    assert "something new (400/19999)" in verdict.detail


@given(
    st.integers(0, 999),
    st.one_of(st.sampled_from([10071, 10077, 10054, 10097, 10109]), st.integers(0, 20000)),
    st.text(max_size=40),
)
def test_an_error_is_never_stored_and_rarely_poison(code: int, err_code: int, text: str) -> None:
    """Whatever the server complains of, only two codes set a file aside, and none lets it go."""
    verdict = judge(error(code, err_code, text), None)

    assert not isinstance(verdict, Stored)
    assert isinstance(verdict, Refuse) == (err_code in (10054, 10097))
    assert isinstance(verdict, Known) <= (err_code in (10071, 10077))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{",
        b"-ERR",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"7",
        b'"ok"',
        b"{}",
        b'{"type":"ack","seq":3,"msgs":3}',
        b'{"stream":"s"}',
        b'{"seq":3}',
        b'{"stream":"s","seq":null}',
        b'{"stream":"s","seq":"3"}',
        b'{"stream":"s","seq":0}',
        b'{"stream":"s","seq":-1}',
        b'{"stream":"s","seq":true}',
        b'{"stream":"s","seq":3.5}',
        b'{"stream":null,"seq":3}',
        b'{"stream":"s","seq":3,"error":"text"}',
        b'{"stream":"s","seq":3,"error":[1]}',
        b'{"error":{"code":400,"err_code":10071,"description":null}}',
        b'{"error":{"code":503,"err_code":10077,"description":null}}',
        b'{"error":{"code":[],"err_code":{},"description":[]}}',
        b'{"error":{"code":400}}',
        b"[" * 5_000,
    ],
    ids=lambda answer: answer.decode(errors="replace")[:60] or "nothing",
)
def test_what_is_no_acknowledgement_never_counts_as_one(answer: bytes) -> None:
    """A half answer, or one from somebody else on the inbox, keeps the file and does not raise."""
    assert isinstance(judge(answer, None), Again | Stop)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["code", "err_code", "description", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["stream", "seq", "error", "duplicate", "type"]), json_values))
@example({"error": {"err_code": 10071, "description": 5}})
@example({"stream": "s", "seq": float("nan")})
def test_any_answer_has_a_meaning(answer: dict[str, Any]) -> None:
    """No shape of JSON raises, and what counts as stored names a stream and a sequence."""
    verdict: Verdict = judge(json.dumps(answer).encode(), None)

    if isinstance(verdict, Stored):
        assert not answer.get("error")
        assert type(verdict.stream) is str
        assert type(verdict.seq) is int
        assert verdict.seq > 0


@given(st.binary(max_size=40), st.one_of(st.none(), st.binary(max_size=20)))
def test_noise_keeps_the_file(data: bytes, headers: bytes | None) -> None:
    """Bytes from anywhere are answered with patience."""
    assert isinstance(judge(data, headers), Again)
