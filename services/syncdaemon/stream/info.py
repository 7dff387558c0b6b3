"""A stream as it is: what the server tells of it, and what of that matters. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

from syncdaemon.stream import fields

_CONFIG: Mapping[str, fields.Kind] = {
    **dict.fromkeys(("name", "retention", "discard", "storage", "persist_mode"), fields.text),
    **dict.fromkeys(("duplicate_window", "max_age", "max_bytes", "max_msgs", "max_msgs_per_subject"), fields.signed),
    **dict.fromkeys(("max_consumers", "max_msg_size", "num_replicas"), fields.signed),
    **dict.fromkeys(("no_ack", "sealed", "discard_new_per_subject", "allow_atomic", "allow_rollup_hdrs"), fields.flag),
    **dict.fromkeys(("allow_direct", "deny_delete", "deny_purge"), fields.flag),
    "subjects": fields.each(fields.text),
    "sources": fields.each(fields.mapping),
}
_STATE: Mapping[str, fields.Kind] = {
    **dict.fromkeys(
        ("messages", "bytes", "first_seq", "last_seq", "num_subjects", "num_deleted", "consumer_count"), fields.whole
    ),
    **dict.fromkeys(("first_ts", "last_ts"), fields.moment),
    "subjects": fields.counts,
}
_REPLICA: Mapping[str, fields.Kind] = {"name": fields.text, "current": fields.flag, "offline": fields.flag}
_SHOWN = 80  # characters of a setting
_CLUSTER: Mapping[str, fields.Kind] = {"leader": fields.text, "replicas": fields.each(fields.mapping)}


class StreamAnswer(NamedTuple):
    """What STREAM.INFO and STREAM.CREATE answer (JetStream API v1), each field of the kind that it should be.

    `config` has a name, and `state` the first and the last sequence; every other field of the two may be missing.
    `leader` is empty outside a cluster; `lagging`: the replicas that are not up to date. `at`: the server's time,
    which nats-server tells since 2.10; `newest_at`: that of the newest message. `domain`: of the JetStream that has the
    stream, empty for none; None where the answer does not say it.
    """

    config: dict[str, Any]
    state: dict[str, Any]
    created: str
    leader: str
    lagging: tuple[str, ...]
    at: datetime | None
    newest_at: datetime | None
    domain: str | None = None

    @classmethod
    def from_api(cls, answer: Mapping[str, Any]) -> StreamAnswer:
        """Raises ValueError where it is no such answer."""
        config = fields.checked(answer.get("config"), _CONFIG)
        state = fields.checked(answer.get("state"), _STATE)
        if missing := [*({"name"} - config.keys()), *({"first_seq", "last_seq"} - state.keys())]:
            raise ValueError(f"it has no {missing[0]}")
        cluster = fields.checked(answer.get("cluster") or {}, _CLUSTER)
        replicas = [fields.checked(one, _REPLICA) for one in cluster.get("replicas", ())]
        lagging = tuple(one.get("name", "") for one in replicas if one.get("offline") or not one.get("current"))
        created, at, domain = answer.get("created"), answer.get("ts"), answer.get("domain")
        return cls(
            config,
            state,
            "" if created is None else fields.text(created),
            cluster.get("leader", ""),
            lagging,
            None if at is None else fields.moment(at),
            state.get("last_ts"),
            None if domain is None else fields.text(domain),
        )


class Memory(Enum):
    """How it is found out whether a message that was sent and not acknowledged is in the stream."""

    SUBJECT = "the stream refuses a second message on its subject"
    HISTORY = "the stream's messages are read back"
    WINDOW = "the server knows its id for some time, and then we cannot tell"


@dataclass(frozen=True)
class StreamInfo:
    """What matters of a stream as it is. `window` and `max_age` in seconds; a `max_age` of 0: none.

    `forgets`: messages leave it by its own rules; `allow_atomic`: it takes atomic batches (nats-server 2.12);
    `leader` is empty outside a cluster. `max_msg_size` in bytes, headers counted; below 0: no limit of its own.
    `domain`: of its JetStream, empty for none; None where that is not known. `evicting`: the limits in count or size
    at which it throws away messages. `settings`: all of its configuration that we know of. `messages`: how many it has;
    `oldest_at`: when the first of them was stored, None where the server does not say it. `answer`: all that it said.
    """

    name: str
    subjects: tuple[str, ...]
    retention: str
    discard: str
    window: float
    max_age: float
    first_seq: int
    last_seq: int
    no_ack: bool
    sealed: bool
    forgets: bool
    allow_atomic: bool
    created: str
    leader: str
    max_msg_size: int = -1
    domain: str | None = None
    evicting: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    messages: int = 0
    oldest_at: datetime | None = None
    answer: StreamAnswer | None = None

    def memory(self, per_digest: bool) -> Memory:
        """What the stream can tell of a message that was sent to it and not acknowledged."""
        if self.retention != "limits":
            return Memory.WINDOW
        return Memory.SUBJECT if per_digest else Memory.HISTORY

    def horizon(self, per_digest: bool) -> float:
        """For how long an outage can last without a second copy, in seconds; infinite where nothing is forgotten."""
        if self.memory(per_digest) is Memory.WINDOW or self.evicts(per_digest):
            return self.window
        return self.max_age or float("inf")

    def evicts(self, per_digest: bool) -> tuple[str, ...]:
        """The limits at which it throws away messages of ours: on a subject per digest, we never send a second one."""
        return tuple(limit for limit in self.evicting if not (per_digest and limit == "max_msgs_per_subject"))

    def changes(self, before: StreamInfo) -> str:
        """What is set otherwise than `before`, in words; empty where nothing is."""
        names = sorted(name for name in _CONFIG if self.settings.get(name) != before.settings.get(name))
        return ", ".join(f"{name}={_shown(self, name)} (was {_shown(before, name)})" for name in names)


def read_info(answer: StreamAnswer) -> StreamInfo:
    """What matters of an answer."""
    config, state = answer.config, answer.state
    return StreamInfo(
        name=config["name"],
        subjects=tuple(config.get("subjects", ())),
        retention=config.get("retention", "limits"),
        discard=config.get("discard", "old"),
        window=config.get("duplicate_window", 0) / 1e9,
        max_age=config.get("max_age", 0) / 1e9,
        first_seq=state["first_seq"],
        last_seq=state["last_seq"],
        no_ack=config.get("no_ack", False),
        sealed=config.get("sealed", False),
        forgets=_forgets(config),
        allow_atomic=config.get("allow_atomic", False),
        created=answer.created,
        leader=answer.leader,
        max_msg_size=config.get("max_msg_size", -1),
        domain=answer.domain,
        evicting=_evicting(config),
        settings=config,
        messages=state.get("messages", 0),
        oldest_at=state.get("first_ts"),
        answer=answer,
    )


def _shown(info: StreamInfo, name: str) -> str:
    return str(info.settings.get(name, "not set"))[:_SHOWN]


def _evicting(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The limits in count or size at which the stream throws away old messages for new ones."""
    limits = [name for name in ("max_msgs", "max_bytes", "max_msgs_per_subject") if config.get(name, -1) > 0]
    if config.get("discard", "old") == "new":  # then only the limit of a subject can throw away
        refuses = config.get("discard_new_per_subject", False)
        limits = [name for name in limits if name == "max_msgs_per_subject" and not refuses]
    return tuple(limits)


def _forgets(config: Mapping[str, Any]) -> bool:
    """Whether messages leave the stream by its own rules."""
    return bool(config.get("retention", "limits") != "limits" or config.get("max_age") or _evicting(config))


def captured(subjects: Sequence[str], wildcard: str) -> bool:
    """Whether one of the stream's subjects covers all that `wildcard` stands for."""
    return any(_covers(subject.split("."), wildcard.split(".")) for subject in subjects)


def _covers(pattern: list[str], wanted: list[str]) -> bool:
    for at, token in enumerate(pattern):
        if token == ">":
            return len(wanted) > at
        if at >= len(wanted) or (token != "*" and token != wanted[at]):
            return False
    return len(pattern) == len(wanted)
