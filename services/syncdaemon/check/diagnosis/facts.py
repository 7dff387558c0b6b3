"""What `doctor` found out, as bare facts. None where something was not tried, or can't be known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any


@dataclass(frozen=True)
class Intended:
    """What the settings ask for. `hold` and `rescan` in seconds; `created`: what `run` makes of a missing stream.

    `js_domain`: that of NATS_JS_DOMAIN, empty for none. `max_age` in seconds, `max_bytes` and `max_msgs`: limits of a
    created stream; 0: none.
    """

    site_by_hostname: bool = False
    stream_name: str = "swarm_jobs"
    subject: str = "edge.replay.*.*"
    per_digest: bool = True
    create: bool = True
    created: str = ""
    hold: float = 150.0
    archive: bool = False
    min_free: int = 0
    rescan: float = 30.0
    js_domain: str = ""
    max_age: float = 0.0
    max_bytes: int = 0
    max_msgs: int = 0


@dataclass(frozen=True)
class LinkFacts:
    """The connection; `problem` where there is none. `tls`: its version. `certificate_days`: until it expires.

    `loopback`: the server is this machine. `rtt` in seconds.
    """

    url: str
    problem: str = ""
    server: str = ""
    server_id: str = ""
    cluster: str = ""
    max_payload: int = 0
    rtt: float | None = None
    tls: str = ""
    certificate_days: float | None = None
    loopback: bool = False


@dataclass(frozen=True)
class StreamFacts:
    """The stream. `problem`: why it could not be looked at; `missing`: it is not there.

    `rivals`: the streams whose subjects overlap with those of a missing one, so that it can't be created. `evicts`: the
    limits at which it throws away messages of ours. `shared`: by several sites, as far as was looked.

    `unseen`: no JetStream tells of it; where a message is taken all the same, its settings are kept from us.

    `config` and `state` are those of JetStream's STREAM.INFO, `lagging` the replicas that are not up to date.
    `captured`: whether it takes all subjects of ours; `horizon`: for how many seconds it refuses a second copy.
    `others`: what it takes beside the messages of this site, in words; empty for nothing.
    """

    problem: str = ""
    missing: bool = False
    rivals: tuple[str, ...] = ()
    unseen: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)
    lagging: tuple[str, ...] = ()
    captured: bool = True
    horizon: float = float("inf")
    evicts: tuple[str, ...] = ()
    others: str = ""
    shared: bool = False


@dataclass(frozen=True)
class MemoryFacts:
    """The server's memory: its limit in bytes, as GOMEMLIMIT lets one guess; and the messages of all its streams."""

    limit: int
    messages: int = 0


@dataclass(frozen=True)
class Rights:
    """What we may do: an empty text where it was tried and went well, else what the server said.

    `takers`: how many streams would take a message of ours.
    """

    create: str | None = None
    publish: str | None = None
    read: str | None = None
    consume: str | None = None
    takers: int = 1


@dataclass(frozen=True)
class BucketFacts:
    """The bucket for large files. `problem`: why it can't be used; `missing`: it is not there.

    `instead_of`: the site's own bucket, which is not there, while this one of all sites is. `orphans`: objects that no
    message of the stream names, as far as was looked, and their bytes.
    """

    name: str
    problem: str = ""
    missing: bool = False
    instead_of: str = ""
    orphans: int = 0
    orphan_bytes: int = 0


@dataclass(frozen=True)
class SyncFacts:
    """What the monitoring URL says: whether the server syncs before it acknowledges, else how often, in seconds."""

    problem: str = ""
    always: bool = False
    interval: float = 0.0
    server: str = ""
    server_id: str = ""


@dataclass(frozen=True)
class ServerFacts:
    """All of the other side. `account`: bytes of storage used, allowed.

    `clock_ahead`: the server's, in seconds. `clock_error`: by how much `clock_ahead` may be wrong.
    """

    link: LinkFacts
    stream: StreamFacts | None = None
    rights: Rights = Rights()
    bucket: BucketFacts | None = None
    account: tuple[int, int] | None = None
    sync: SyncFacts | None = None
    memory: MemoryFacts | None = None
    clock_ahead: float | None = None
    clock_error: float = 0.0


@dataclass(frozen=True)
class Folder:
    """A directory that is written to; `problem` where it can't be. `free` bytes, and room for `files` more."""

    path: str
    problem: str = ""
    free: int | None = None
    files: float = inf


@dataclass(frozen=True)
class ReplayFacts:
    """The replay directory and its file system.

    `unmovable`: why files can't be moved within it; `mounts` below it; `clock_ahead`: the file system's clock, in
    seconds; `leases`, `watch`: empty, or why there are none; `blind`: neither writers nor closes can ever be seen;
    `folders` against the limit `watches`; `waiting` files, the oldest for `oldest` seconds; `counted_all`: whether
    those are all. `danger`: what other users can do there, and `stuck`: a folder that files can't be moved out of, each
    empty where there is none, and with its cure.
    """

    folder: Folder
    running: bool = False
    kind: str = ""
    remote: bool = False
    unmovable: str | None = None
    mounts: tuple[str, ...] = ()
    leases: str | None = None
    blind: bool = False
    clock_ahead: float | None = None
    watch: str | None = None
    folders: int = 0
    watches: int | None = None
    waiting: int = 0
    oldest: float = 0.0
    counted_all: bool = True
    quarantined: int = 0
    danger: str = ""
    danger_cure: str = ""
    stuck: str = ""
    stuck_cure: str = ""
    stuck_folders: int = 0


@dataclass(frozen=True)
class LedgerFacts:
    """The ledger. `rows` in its newest file; `damage` in what was read; `last_receipt`: seconds ago.

    `unknown`: an event in the newest file that this version does not know, with file and line.
    """

    folder: Folder
    file: str = ""
    rows: int = 0
    damage: str = ""
    last_receipt: float | None = None
    unknown: str = ""


@dataclass(frozen=True)
class LoginFacts:
    """A file that the daemon logs in with. `days` until what is in it ends, infinite for no end.

    `what` it holds, in words; `problem`: why its end can't be read.
    """

    what: str
    file: str
    days: float = float("inf")
    problem: str = ""


@dataclass(frozen=True)
class Facts:
    """Everything."""

    wanted: Intended
    server: ServerFacts
    replay: ReplayFacts
    ledger: LedgerFacts
    logins: tuple[LoginFacts, ...] = ()
