"""One JetStream stream in memory: what it keeps, what it refuses, and in which words.

Pure: the time comes in as an argument. Rules, their order, texts and the count of bytes are those of a single
nats-server 2.15 with file storage; `test_contract.py` holds them against one.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

DEFAULTS: Mapping[str, Any] = {
    "retention": "limits",
    "storage": "file",
    "discard": "old",
    "num_replicas": 1,
    "max_age": 0,
    "compression": "none",
    "sealed": False,
    "allow_direct": False,
    "deny_delete": False,
    "deny_purge": False,
    "allow_rollup_hdrs": False,
}
_LIMITS = ("max_consumers", "max_msgs", "max_bytes", "max_msgs_per_subject", "max_msg_size")  # none is -1
_MOST_HEADERS = 64 << 10
_MOST_OPEN = 50  # atomic batches at once
_MOST_BATCHED, _LONGEST_BATCH_ID, _BATCH_SECONDS = 1_000, 64, 10.0
_MOST_SUBJECTS = 100_000  # in one answer
_WINDOW_NS, _LEAST_WINDOW_NS = 120_000_000_000, 100_000_000
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Refused(Exception):
    """The server's refusal, as its answers carry it."""

    def __init__(self, code: int, err_code: int, description: str) -> None:
        super().__init__(description)
        self.error = {"code": code, "err_code": err_code, "description": description}


class Message(NamedTuple):
    """A stored message; `headers` is the raw block, empty where it had none."""

    seq: int
    subject: str
    headers: bytes
    data: bytes
    at: float

    @property
    def size(self) -> int:
        """The bytes that it counts for in the file store."""
        return _size(self.subject, self.headers, self.data)

    def placed(self, stream: str) -> bytes:
        """Its header block as a direct get tells it: the server's headers come last, whatever a message has."""
        fields = f"Nats-Stream: {stream}\r\nNats-Subject: {self.subject}\r\nNats-Sequence: {self.seq}\r\n"
        block = self.headers[:-2] or b"NATS/1.0\r\n"
        return block + f"{fields}Nats-Time-Stamp: {_time(self.at)}\r\n\r\n".encode()

    def shown(self) -> dict[str, Any]:
        """The message as MSG.GET tells it."""
        told: dict[str, Any] = {"subject": self.subject, "seq": self.seq}
        if self.headers:
            told["hdrs"] = base64.b64encode(self.headers).decode()
        if self.data:
            told["data"] = base64.b64encode(self.data).decode()
        return told | {"time": _time(self.at)}


class Batch:
    """An atomic batch that is not committed yet: what came of it, and when the last of that came."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes, bytes]] = []
        self.at = 0.0


class FakeStream:
    """A stream of this configuration.

    `history` is every message that it ever stored, whatever became of it; `full` is as if it were at the limit of
    its bytes.
    """

    def __init__(self, config: Mapping[str, Any], now: float) -> None:
        self.config = completed(config)
        self.messages: dict[int, Message] = {}
        self.history: list[Message] = []
        self.last_seq = 0
        self.full = False
        self._created = now
        self._batches: dict[str, Batch] = {}
        self._ids: dict[str, tuple[int, float]] = {}  # message id: where it was stored first, and when

    def take(self, subject: str, headers: bytes, data: bytes, now: float) -> bytes:
        """A message arrives; the acknowledgement or the refusal, word for word."""
        batch = header_fields(headers).get("Nats-Batch-Id", "")
        try:
            if batch:
                return self._take_batched(batch, subject, headers, data, now)
            seq, duplicate = self._store(subject, headers, data, now)
        except Refused as refused:
            told: dict[str, Any] = {"error": refused.error, "stream": self.config["name"], "seq": 0}
            return json.dumps(told, separators=(",", ":")).encode()
        mark = ',"duplicate": true' if duplicate else ""
        return f'{{"stream":"{self.config["name"]}","seq":{seq}{mark}}}'.encode()

    def _take_batched(self, name: str, subject: str, headers: bytes, data: bytes, now: float) -> bytes:
        """A message of a batch: nothing of it is there before the commit, and then all, or nothing."""
        config, fields = self.config, header_fields(headers)
        self._batches = {name: one for name, one in self._batches.items() if now - one.at < _BATCH_SECONDS}
        if not config.get("allow_atomic"):
            raise Refused(400, 10174, "atomic publish is disabled")
        if config["sealed"]:
            raise Refused(400, 10109, "invalid operation on sealed stream")
        if len(name) > _LONGEST_BATCH_ID:
            raise Refused(400, 10179, "atomic publish batch ID is invalid")
        if 0 <= config["max_msg_size"] < len(headers) + len(data):
            raise Refused(400, 10054, "message size exceeds maximum allowed")
        number = int(fields["Nats-Batch-Sequence"])
        if name not in self._batches and number == 1 and len(self._batches) >= _MOST_OPEN:
            raise Refused(429, 10210, "atomic publish too many inflight")
        batch = self._batches.pop(name, Batch())
        if number != len(batch.messages) + 1:
            raise Refused(400, 10176, "atomic publish batch is incomplete")
        if number > _MOST_BATCHED:
            raise Refused(400, 10199, f"atomic publish batch is too large: {_MOST_BATCHED}")
        batch.messages.append((subject, headers, data))
        batch.at = now
        if "Nats-Batch-Commit" not in fields:
            self._batches[name] = batch
            return b""
        self._commit(batch.messages, now)
        told = {"stream": config["name"], "seq": self.last_seq, "batch": name, "count": number}
        return json.dumps(told, separators=(",", ":")).encode()

    def _commit(self, messages: Sequence[tuple[str, bytes, bytes]], now: float) -> None:
        """All are looked at before the first is stored."""
        self._forget(now)
        ids: set[str] = set()
        before: list[tuple[str, int]] = []
        for subject, headers, data in messages:
            fields = header_fields(headers)
            msg_id = fields.get("Nats-Msg-Id", "")
            if fields.get("Nats-Expected-Stream", self.config["name"]) != self.config["name"]:
                raise Refused(400, 10060, "expected stream does not match")
            if msg_id and (msg_id in ids or msg_id in self._ids):
                raise Refused(400, 10201, "atomic publish batch contains duplicate message id")
            if "Nats-Expected-Last-Subject-Sequence" in fields and subject in dict(before):
                raise Refused(400, 10164, "wrong last sequence")
            self._admit(subject, headers, data, fields)
            self._may_roll_up(fields)
            self._has_room(before, subject, _size(subject, headers, data))
            ids.add(msg_id)
            before.append((subject, _size(subject, headers, data)))
        for subject, headers, data in messages:
            self._store(subject, headers, data, now)

    def _has_room(self, before: Sequence[tuple[str, int]], subject: str, size: int) -> None:
        """Whether a message fits behind those before it in its batch."""
        config = self.config
        if config["discard"] != "new":
            return
        if 0 < config["max_msgs"] <= len(self.messages) + len(before):
            raise Refused(503, 10077, "maximum messages exceeded")
        if self.full or 0 < config["max_bytes"] < self.bytes + sum(size for _, size in before) + size:
            raise Refused(503, 10077, "maximum bytes exceeded")
        subjects = [message.subject for message in self.messages.values()] + [subject for subject, _ in before]
        if config.get("discard_new_per_subject") and config["max_msgs_per_subject"] <= subjects.count(subject):
            raise Refused(503, 10077, "maximum messages per subject exceeded")

    def _store(self, subject: str, headers: bytes, data: bytes, now: float) -> tuple[int, bool]:
        self._forget(now)
        fields = header_fields(headers)
        self._admit(subject, headers, data, fields)
        msg_id = fields.get("Nats-Msg-Id", "")
        if msg_id in self._ids:
            return self._ids[msg_id][0], True
        self._may_roll_up(fields)
        self._make_room(subject, _size(subject, headers, data), rolls_up="Nats-Rollup" in fields)
        self.last_seq += 1
        message = Message(self.last_seq, subject, headers, data, now)
        self.messages[message.seq] = message
        self.history.append(message)
        self._evict()
        if msg_id:
            self._ids[msg_id] = (message.seq, now)
        if "Nats-Rollup" in fields:
            older = [seq for seq, one in self.messages.items() if one.subject == subject and seq < message.seq]
            for seq in older:
                del self.messages[seq]
        return message.seq, False

    def _admit(self, subject: str, headers: bytes, data: bytes, fields: Mapping[str, str]) -> None:
        config = self.config
        if config["sealed"]:
            raise Refused(400, 10109, "invalid operation on sealed stream")
        if 0 <= config["max_msg_size"] < len(headers) + len(data):
            raise Refused(400, 10054, "message size exceeds maximum allowed")
        if len(headers) > _MOST_HEADERS:
            raise Refused(400, 10097, "header size exceeds maximum allowed of 64k")
        if fields.get("Nats-Expected-Stream", config["name"]) != config["name"]:
            raise Refused(400, 10060, "expected stream does not match")
        if "Nats-Expected-Last-Subject-Sequence" in fields:
            last = self.last(subject)
            found = last.seq if last else 0
            if int(fields["Nats-Expected-Last-Subject-Sequence"]) != found:
                raise Refused(400, 10071, f"wrong last sequence: {found}")
        if "Nats-Expected-Last-Msg-Id" in fields:
            newest = self.history[-1].headers if self.history else b""
            if (last_id := header_fields(newest).get("Nats-Msg-Id", "")) != fields["Nats-Expected-Last-Msg-Id"]:
                raise Refused(400, 10070, f"wrong last msg ID: {last_id}")

    def _may_roll_up(self, fields: Mapping[str, str]) -> None:
        if "Nats-Rollup" in fields and not self.config["allow_rollup_hdrs"]:
            raise Refused(500, 10111, "rollup not permitted")

    def _make_room(self, subject: str, size: int, rolls_up: bool) -> None:
        """A roll-up replaces its subject's messages also where new ones are refused (nats-server 2.15.1)."""
        config = self.config
        same = [message for message in self.messages.values() if message.subject == subject]
        replaces = 0 < config["max_msgs_per_subject"] <= len(same)
        if replaces and config.get("discard_new_per_subject") and not rolls_up:
            raise Refused(503, 10077, "maximum messages per subject exceeded")
        if config["discard"] == "new" and not replaces:
            if 0 < config["max_msgs"] <= len(self.messages):
                raise Refused(503, 10077, "maximum messages exceeded")
            if self.full or 0 < config["max_bytes"] < self.bytes + size:
                raise Refused(503, 10077, "maximum bytes exceeded")
        if replaces:
            del self.messages[same[0].seq]

    def _evict(self) -> None:
        """Takes out what is over the limits, the oldest first."""
        most, most_bytes = self.config["max_msgs"], self.config["max_bytes"]
        while 0 < most < len(self.messages) or 0 < most_bytes < self.bytes:
            del self.messages[next(iter(self.messages))]

    def _forget(self, now: float) -> None:
        window, age = self.config["duplicate_window"] / 1e9, self.config["max_age"] / 1e9
        self._ids = {msg_id: (seq, at) for msg_id, (seq, at) in self._ids.items() if now - at < window}
        if age:
            self.messages = {seq: message for seq, message in self.messages.items() if now - message.at < age}

    def restarted(self, now: float) -> None:
        """The server came back: it knows the ids of the messages that it still holds, and no others."""
        self._forget(now)
        self._batches.clear()
        kept = ((header_fields(message.headers).get("Nats-Msg-Id", ""), message) for message in self.messages.values())
        self._ids = {
            msg_id: (message.seq, message.at)
            for msg_id, message in kept
            if msg_id and now - message.at < self.config["duplicate_window"] / 1e9
        }

    def lose(self, since: float, now: float) -> None:
        """A power cut: what was stored after `since` was not on the disk yet. It never was."""
        self.messages = {seq: message for seq, message in self.messages.items() if message.at <= since}
        self.history = [message for message in self.history if message.at <= since]
        self.last_seq = max((message.seq for message in self.history), default=0)
        self.restarted(now)

    def remove(self, subjects: str, now: float, before: int | None = None) -> int:
        """Purges what these subjects cover, below a sequence; how many messages that were. The ids stay known."""
        self._forget(now)
        end = before or self.last_seq + 1
        gone = [seq for seq, message in self.messages.items() if matches(subjects, message.subject) and seq < end]
        for seq in gone:
            del self.messages[seq]
        return len(gone)

    def last(self, subject: str) -> Message | None:
        """The newest message of a subject."""
        return next((one for one in reversed(self.messages.values()) if one.subject == subject), None)

    @property
    def bytes(self) -> int:
        """What the messages count for."""
        return sum(message.size for message in self.messages.values())

    def info(self, now: float, subjects: str | None = None) -> dict[str, Any]:
        """Configuration and state, as STREAM.INFO tells them; with the number of messages of each of the `subjects`."""
        self._forget(now)
        first = next(iter(self.messages.values()), None)
        state: dict[str, Any] = {
            "messages": len(self.messages),
            "bytes": self.bytes,
            "first_seq": first.seq if first else self.last_seq + 1 if self.last_seq else 0,
            "last_seq": self.last_seq,
            "consumer_count": 0,
        }
        counts = Counter(message.subject for message in self.messages.values())
        if counts:
            state["num_subjects"] = len(counts)
        told = {"config": dict(self.config), "created": _time(self._created), "state": state, "ts": _time(now)}
        if subjects is None:
            return told
        wanted = {subject: count for subject, count in counts.items() if matches(subjects, subject)}
        if wanted:
            state["subjects"] = wanted
        return told | {"total": len(wanted), "offset": 0, "limit": _MOST_SUBJECTS if wanted else 0}


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with the server's defaults in place. Raises Refused where a single server can't have it."""
    full = {**DEFAULTS, **config}
    full["subjects"] = list(config.get("subjects") or [config["name"]])
    for limit in _LIMITS:
        full[limit] = config.get(limit) or -1
    longest = full["max_age"] or _WINDOW_NS
    full["duplicate_window"] = config.get("duplicate_window") or min(_WINDOW_NS, longest)
    if full["num_replicas"] > 1:
        raise Refused(500, 10074, "replicas > 1 not supported in non-clustered mode")
    if full["duplicate_window"] < _LEAST_WINDOW_NS:
        raise Refused(500, 10052, "duplicates window needs to be >= 100ms")
    if full["deny_purge"] and full["allow_rollup_hdrs"]:
        raise Refused(500, 10052, "roll-ups require the purge permission")
    if full["max_age"] and full["duplicate_window"] > full["max_age"]:
        raise Refused(500, 10052, "duplicates window can not be larger then max age")
    if full.get("discard_new_per_subject") and full["discard"] != "new":
        raise Refused(500, 10052, "discard new per subject requires discard new policy to be set")
    if full.get("discard_new_per_subject") and full["max_msgs_per_subject"] < 1:
        raise Refused(500, 10052, "discard new per subject requires max msgs per subject > 0")
    if full["sealed"]:
        full["deny_delete"] = full["deny_purge"] = True
    return full


def header_fields(block: bytes) -> dict[str, str]:
    """The fields of a header block."""
    lines = block.decode(errors="replace").split("\r\n")[1:]
    return {name: value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject is one of those that the pattern, with `*` and `>`, stands for."""
    wanted = subject.split(".")
    for at, token in enumerate(pattern.split(".")):
        if token == ">":
            return len(wanted) > at
        if at >= len(wanted) or token not in ("*", wanted[at]):
            return False
    return pattern.count(".") == subject.count(".")


def overlap(one: str, other: str) -> bool:
    """Whether some subject is covered by both patterns."""
    for ours, theirs in zip(one.split("."), other.split("."), strict=False):
        if ">" in (ours, theirs):
            return True
        if ours != theirs and "*" not in (ours, theirs):
            return False
    return one.count(".") == other.count(".")


def _size(subject: str, headers: bytes, data: bytes) -> int:
    return 30 + len(subject) + len(data) + (4 + len(headers) if headers else 0)


def _time(at: float) -> str:
    return (_EPOCH + timedelta(seconds=at)).isoformat().replace("+00:00", "Z")
