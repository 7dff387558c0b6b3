"""Facts in, findings out: what counts as well, as a warning, and as a failure."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncdaemon.check.diagnosis import (
    BucketFacts,
    Facts,
    Finding,
    Folder,
    Intended,
    LedgerFacts,
    LinkFacts,
    LoginFacts,
    MemoryFacts,
    ReplayFacts,
    Rights,
    ServerFacts,
    StreamFacts,
    SyncFacts,
    judge,
)

GIB = 1 << 30
CONFIG: dict[str, Any] = {  # that of the stream that the daemon creates, as nats-server 2.15 tells it
    "name": "swarm_jobs",
    "subjects": ["edge.replay.*.*"],
    "retention": "limits",
    "max_msgs": -1,
    "max_bytes": -1,
    "max_age": 0,
    "max_msgs_per_subject": 1,
    "max_msg_size": -1,
    "discard": "new",
    "storage": "file",
    "num_replicas": 1,
    "duplicate_window": 120_000_000_000,
    "sealed": False,
    "deny_delete": True,
    "discard_new_per_subject": True,
}
GOOD = Facts(
    wanted=Intended(subject="edge.replay.harbour.*", min_free=64 << 20, created="file storage"),
    server=ServerFacts(
        link=LinkFacts(
            url="tls://hub:4222",
            server="nats-server 2.15.1 hub",
            server_id="NHUB",
            max_payload=1 << 20,
            rtt=0.002,
            tls="TLSv1.3",
            certificate_days=90.0,
        ),
        stream=StreamFacts(config=CONFIG, state={"messages": 3, "bytes": 1_000}),
        rights=Rights(publish="", read="", consume=""),
        bucket=BucketFacts("edge_replay"),
        account=(1_000, -1),
        sync=SyncFacts(interval=120.0, server="hub", server_id="NHUB"),
        clock_ahead=0.001,
        clock_error=0.001,
    ),
    replay=ReplayFacts(
        folder=Folder("/replay", "", 10 * GIB),
        running=True,
        kind="ext4",
        unmovable="",
        leases="",
        clock_ahead=0.0,
        watch="",
        folders=10,
        watches=8192,
    ),
    ledger=LedgerFacts(Folder("/ledger", "", 10 * GIB), "evidence-harbour-20260101.jsonl", 17, "", 3.0),
)
CHECKS = [
    "site",
    "connection",
    "tls",
    "max_payload",
    "stream",
    "subject",
    "sealed",
    "no_ack",
    "retention",
    "dedupe",
    "max_age",
    "discard",
    "room",
    "max_msg_size",
    "storage",
    "persist_mode",
    "replicas",
    "deny_delete",
    "digests",
    "restart",
    "limits",
    "life",
    "sources",
    "may_publish",
    "may_read",
    "may_consume",
    "bucket",
    "account",
    "sync",
    "clock",
    "replay_dir",
    "replay_dir_space",
    "shared",
    "moves",
    "leases",
    "watch",
    "file_clock",
    "ledger_dir",
    "ledger_dir_space",
    "daemon",
    "chain",
    "last_receipt",
    "quarantine",
]


def changed(facts: Any, **changes: Any) -> Any:
    """The same facts, but for these: each is looked for in all parts."""
    own = {name: value for name, value in changes.items() if name in {field.name for field in fields(facts)}}
    facts = replace(facts, **own)
    rest = {name: value for name, value in changes.items() if name not in own}
    for field in fields(facts):
        part = getattr(facts, field.name)
        if rest and is_dataclass(part):
            facts = replace(facts, **{field.name: changed(part, **rest)})
    return facts


def config(**changes: Any) -> dict[str, Any]:
    """Changes of the stream's configuration."""
    return {"config": CONFIG | changes}


def stream(**changes: Any) -> dict[str, Any]:
    """Another stream."""
    return {"stream": replace(GOOD.server.stream or StreamFacts(), **changes)}


NOW = datetime(2026, 11, 30, tzinfo=UTC)
EDIT = "nats stream edit swarm_jobs --max-age=7d --max-msgs=775000 --max-bytes=5368709120 --force"


def grown(messages: int, days: float, *, max_age: int = 0, max_msgs: int = -1, **more: int) -> dict[str, Any]:
    """A stream of messages of 570 bytes that came within so many days; `max_age` in days."""
    first = NOW - timedelta(days=days)
    counted = {"messages": messages, "bytes": 570 * messages, "num_subjects": messages}
    state = counted | {"first_ts": first, "last_ts": NOW} | more
    return stream(state=state, config=CONFIG | {"max_age": max_age * 86_400 * 10**9, "max_msgs": max_msgs})


def memory(mebibytes: int, messages: int = 0) -> dict[str, Any]:
    """A server with such a memory limit."""
    return {"memory": MemoryFacts(mebibytes << 20, messages)}


def sourced_without_a_limit() -> dict[str, Any]:
    """A stream with a source that takes any number of messages on a subject."""
    return config(sources=[{}], discard_new_per_subject=False, max_msgs_per_subject=-1)


def findings(**changes: Any) -> dict[str, Finding]:
    """By their check."""
    found = list(judge(changed(GOOD, **changes)))
    assert len({finding.check for finding in found}) == len(found)
    for finding in found:
        assert bool(finding.remedy) == (finding.level != "ok"), finding
        assert "\n" not in finding.said + finding.remedy
    return {finding.check: finding for finding in found}


def test_where_all_is_well_every_check_says_so() -> None:
    """In the order of a file's way."""
    found = findings()

    assert list(found) == CHECKS
    assert {finding.level for finding in found.values()} == {"ok"}


@pytest.mark.parametrize(
    ("login", "level", "said"),
    [
        (LoginFacts("the JWT", "/k/site.creds", 400.0), "ok", "the JWT in /k/site.creds is valid for 400 days"),
        (LoginFacts("the JWT", "/k/site.creds"), "ok", "has no end"),
        (LoginFacts("the JWT", "/k/site.creds", 14.0), "ok", "valid for 14 days"),
        (LoginFacts("the JWT", "/k/site.creds", 13.9), "warning", "the JWT in /k/site.creds ends in 13.9 days"),
        (LoginFacts("the certificate", "/k/tls.crt", -2.0), "failure", "/k/tls.crt ended 2 days ago"),
        (LoginFacts("the certificate", "/k/tls.crt", problem="no PEM"), "warning", "/k/tls.crt: no PEM"),
    ],
)
def test_a_login_that_ends_soon_is_named_with_its_file(login: LoginFacts, level: str, said: str) -> None:
    (finding,) = (it for it in judge(replace(GOOD, logins=(login,))) if it.check == "login")
    assert finding.level == level
    assert said in finding.said
    assert bool(finding.remedy) == (level != "ok")


@pytest.mark.parametrize(
    ("changes", "check", "level", "said"),
    [
        ({"site_by_hostname": True}, "site", "warning", "whose name may change"),
        ({"tls": ""}, "tls", "warning", "in the clear"),
        ({"tls": "", "loopback": True}, "tls", "ok", "on this machine"),
        ({"certificate_days": 3.0}, "tls", "warning", "expires in 3 days"),
        ({"certificate_days": None}, "tls", "ok", "TLSv1.3"),
        ({"max_payload": 65536}, "max_payload", "ok", "64 KiB"),
        ({"cluster": "west"}, "connection", "ok", "of cluster west"),
        (stream(problem="no answer"), "stream", "warning", "swarm_jobs can't be looked at: no answer"),
        (stream(missing=True), "stream", "warning", "no swarm_jobs yet"),
        (stream(missing=True) | {"create": False}, "stream", "failure", "SYNC_STREAM_CREATE=false"),
        (stream(captured=False), "subject", "failure", "not edge.replay.harbour.*"),
        (config(sealed=True), "sealed", "failure", "no message ever again"),
        (config(no_ack=True), "no_ack", "failure", "no delivery can be proved"),
        (config(retention="workqueue"), "retention", "warning", "forgotten"),
        (config(retention="interest"), "retention", "warning", "forgotten"),
        (stream(horizon=120.0, **config(retention="workqueue")), "dedupe", "warning", "so may a restart of the server"),
        ({"per_digest": False}, "dedupe", "warning", "equal files over 2 minutes apart are a message each"),
        (stream(horizon=120.0) | {"per_digest": False}, "dedupe", "warning", "an outage of more than 2 minutes"),
        (stream(horizon=86400.0 * 30), "dedupe", "warning", "an outage of more than 30 days"),
        (stream(horizon=120.0, evicts=("max_msgs",)), "dedupe", "warning", "at its limit (max_msgs)"),
        (config(max_age=3600 * 10**9), "max_age", "warning", "deleted after 1 hour, read or not"),
        (config(discard="old"), "discard", "ok", "no limit"),
        (config(discard="old", max_bytes=1000), "discard", "warning", "(max_bytes)"),
        (config(discard="old", max_msgs=1000, max_bytes=1), "discard", "warning", "(max_msgs, max_bytes)"),
        (config(discard="old") | {"per_digest": False}, "discard", "warning", "(max_msgs_per_subject)"),
        (config(max_bytes=100_000), "room", "ok", "1000 bytes of 97.7 KiB"),
        (config(max_bytes=1_251), "room", "ok", "1000 bytes of 1.2 KiB"),
        (config(max_bytes=1_249), "room", "warning", "nearly full"),
        (config(max_bytes=1_000), "room", "failure", "nothing is taken"),
        (config(max_msgs=3), "room", "failure", "3 of 3 messages: full"),
        (config(max_msgs=3, discard="old"), "room", "ok", "3 of 3 messages"),
        (grown(900_000, 1_000), "digests", "ok", "900,000 messages, 900 a day"),
        (grown(1_000_001, 1_000), "digests", "warning", "over 1,000,000 subjects the server writes no index"),
        (grown(9, 1, num_deleted=1_000_001), "digests", "warning", "over 1,000,000 gaps"),
        (grown(1_000_001, 1_000) | {"per_digest": False}, "digests", "ok", ""),
        (
            grown(260_000, 900) | memory(256),
            "digests",
            "warning",
            "holds 260,000, and 250,000 fit into its memory",
        ),
        (grown(9, 9) | memory(256, messages=260_000), "digests", "warning", "the server holds 260,000"),
        (grown(70_000, 1, max_age=7) | memory(256), "digests", "warning", "there will be 490,000"),
        (grown(30_000, 1, max_age=7, max_msgs=250_000) | memory(256), "digests", "ok", ""),
        (grown(70_000, 1, max_age=7, max_msgs=250_000) | memory(256), "digests", "ok", ""),
        (grown(900_000, 1_000), "restart", "ok", "about 5 seconds to start"),
        (grown(2_200_000, 1_000), "restart", "warning", "about 12 seconds to start"),
        (grown(900_000, 100), "restart", "warning", "5 seconds to start now, and 23 seconds in a year"),
        (grown(900_000, 9, max_age=30), "restart", "warning", "now, and 17 seconds when the stream has its age"),
        ({"max_age": 604_800.0, "max_msgs": 775_000}, "limits", "warning", "max_age none, max_msgs none"),
        (config(max_msgs=775_000) | {"max_msgs": 775_000}, "limits", "ok", "those of the settings"),
        (memory(800), "limits", "warning", "no max_msgs, and the server has 800 MiB of memory"),
        (config(max_msgs=100) | memory(800), "limits", "ok", ""),
        ({"shared": True}, "life", "warning", "its server's memory fills, and for good"),
        ({"shared": True} | config(max_age=3600 * 10**9), "life", "ok", ""),
        (config(sources=[{}]), "sources", "warning", "that source stalls for good"),
        (config(sources=[{}], discard_new_per_subject=False), "sources", "ok", "takes the place of the first"),
        (sourced_without_a_limit(), "sources", "warning", "stored twice"),
        (config(max_msg_size=65536), "max_msg_size", "warning", "of up to 64 KiB, the server 1 MiB"),
        (config(max_msg_size=1 << 20), "max_msg_size", "ok", ""),
        (config(storage="memory"), "storage", "failure", "loses every message"),
        (config(persist_mode="async"), "persist_mode", "warning", "before it is written"),
        (config(persist_mode="async") | {"hold": 0.0}, "persist_mode", "failure", "before it is written"),
        (config(persist_mode="default"), "persist_mode", "ok", ""),
        ({"cluster": "west"}, "replicas", "warning", "on one server of cluster west"),
        (config(num_replicas=3) | {"cluster": "west"}, "replicas", "ok", "3"),
        ({"lagging": ("b",), **config(num_replicas=3)}, "replicas", "warning", "3, of which b are not up to date"),
        (config(deny_delete=False), "deny_delete", "warning", "can delete evidence"),
        ({"rights": Rights(create="")}, "may_create", "ok", "may be created"),
        ({"rights": Rights(create="denied")}, "may_create", "failure", "denied"),
        ({"rights": Rights(publish="denied")}, "may_publish", "failure", "denied"),
        ({"rights": Rights(read="denied")}, "may_read", "failure", "denied"),
        ({"rights": Rights(consume="denied")}, "may_consume", "warning", "denied"),
        ({"rights": Rights(consume="denied"), "per_digest": False}, "may_consume", "warning", "denied"),
        ({"bucket": BucketFacts("b", missing=True)}, "bucket", "ok", "none yet"),
        ({"bucket": BucketFacts("b", missing=True), "create": False}, "bucket", "warning", "waits"),
        ({"bucket": BucketFacts("b", "it is sealed")}, "bucket", "warning", "it is sealed: a file"),
        ({"account": (5, 100)}, "account", "ok", "5 bytes of 100 bytes"),
        ({"account": (95, 100)}, "account", "warning", "95 bytes of 100 bytes"),
        ({"account": (100, 100)}, "account", "failure", "nothing is taken"),
        ({"clock_ahead": 3.5}, "clock", "warning", "3.5 seconds behind the server's"),
        ({"clock_ahead": -90.0}, "clock", "warning", "1.5 minutes ahead of the server's"),
        ({"clock_ahead": -3.5, "clock_error": 3.0}, "clock", "ok", "within 3.500 s"),
        ({"clock_ahead": None}, "clock", "warning", "can't be seen"),
    ],
)
def test_the_other_side(changes: dict[str, Any], check: str, level: str, said: str) -> None:
    """The server, its stream and what it lets us do."""
    if "clock_ahead" in changes:
        changes = {"server": replace(GOOD.server, **changes)}
    found = findings(**changes)[check]

    assert found.level == level
    assert said in found.said


ALWAYS = SyncFacts(always=True, interval=120.0, server="hub", server_id="NHUB")
SOMETIMES = SyncFacts(interval=300.0, server="hub", server_id="NHUB")


@pytest.mark.parametrize(
    ("sync", "hold", "archive", "level", "said"),
    [
        (ALWAYS, 0.0, False, "ok", "SYNC_HOLD_SECONDS=0 is right"),
        (ALWAYS, 150.0, False, "ok", "SYNC_HOLD_SECONDS=150 is not needed, 0 is right"),
        (SOMETIMES, 300.0, False, "ok", "the server syncs every 5 minutes, and a delivered file is held for 5 minutes"),
        (SOMETIMES, 150.0, False, "warning", "SYNC_HOLD_SECONDS=150 is not right"),
        (SOMETIMES, 0.0, False, "warning", "SYNC_HOLD_SECONDS=0 is not right"),
        (SOMETIMES, 0.0, True, "ok", "SYNC_AFTER=archive"),
        (None, 150.0, False, "ok", "can't be seen without NATS_MONITOR_URL"),
        (None, 0.0, False, "warning", "can't be seen without NATS_MONITOR_URL"),
        (None, 0.0, True, "ok", "SYNC_AFTER=archive"),
        (SyncFacts("no answer"), 0.0, False, "warning", "NATS_MONITOR_URL: no answer"),
        (replace(ALWAYS, server_id="NOTHER"), 0.0, False, "warning", "another server"),
    ],
)
def test_a_hold_is_right_or_not(sync: SyncFacts | None, hold: float, archive: bool, level: str, said: str) -> None:
    """By what the server does with an acknowledged message, as far as that can be seen."""
    found = findings(sync=sync, hold=hold, archive=archive)["sync"]

    assert found.level == level
    assert said in found.said
    assert "SYNC_HOLD_SECONDS=330" in found.remedy or not (sync == SOMETIMES and level == "warning")


def test_without_a_connection_this_machine_is_looked_at_all_the_same() -> None:
    """And nothing is said of what could not be seen."""
    found = findings(server=ServerFacts(LinkFacts("nats://hub:4222", "nats://hub:4222: refused")))

    assert found["connection"].level == "failure"
    assert [check for check in CHECKS if check not in found] == [
        check for check in CHECKS[2:] if check not in ("sync", *CHECKS[CHECKS.index("replay_dir") :])
    ]


@pytest.mark.parametrize(
    ("changes", "check", "command"),
    [
        ({"max_age": 604_800.0, "max_msgs": 775_000, "max_bytes": 5 << 30}, "limits", EDIT),
        (
            {"max_msgs": 9, "js_domain": "hub"},
            "limits",
            "nats --js-domain=hub stream edit swarm_jobs --max-msgs=9 --force",
        ),
        (memory(800), "limits", "nats stream edit swarm_jobs --max-msgs=781250 --force"),
        (
            config(sources=[{}]),
            "sources",
            "nats stream edit swarm_jobs --no-discard-per-subject --max-msgs-per-subject=1 --force",
        ),
        (sourced_without_a_limit(), "sources", "nats stream edit swarm_jobs --max-msgs-per-subject=1 --force"),
    ],
)
def test_the_cure_of_a_stream_that_is_there_is_a_command(changes: dict[str, Any], check: str, command: str) -> None:
    """As the tool `nats` takes it; the daemon never alters a stream."""
    assert findings(**changes)[check].remedy == command


@pytest.mark.parametrize(
    ("changes", "check", "level", "said"),
    [
        (
            {"replay": ReplayFacts(Folder("/r", "/r is not a directory"))},
            "replay_dir",
            "failure",
            "SYNC_REPLAY_DIR: /r",
        ),
        ({"replay": replace(GOOD.replay, folder=Folder("/r", "", 1))}, "replay_dir_space", "warning", "1 bytes free"),
        ({"replay": replace(GOOD.replay, folder=Folder("/r", "", 1)), "min_free": 0}, "replay_dir_space", "ok", ""),
        ({"unmovable": None}, "moves", "ok", "no daemon has run here yet"),
        ({"unmovable": "Invalid cross-device link"}, "moves", "failure", "Invalid cross-device link"),
        ({"mounts": ("usb",)}, "moves", "failure", "below usb"),
        ({"danger": "others may write", "danger_cure": "chmod"}, "shared", "warning", "others may write"),
        ({"stuck": "/r/a is sticky", "stuck_cure": "chmod -t /r/a"}, "moves", "failure", "/r/a is sticky"),
        (
            {"stuck": "/a is sticky", "stuck_cure": "-t", "stuck_folders": 3},
            "moves",
            "failure",
            "and 2 more folders like it",
        ),
        ({"leases": "Invalid argument", "kind": "nfs4"}, "leases", "warning", "no leases on nfs4"),
        ({"leases": "Function not implemented", "blind": True}, "leases", "warning", "SYNC_SETTLE_SECONDS counts"),
        ({"watch": "no watches left"}, "watch", "warning", "found by the scan every 30 seconds"),
        ({"folders": 8000}, "watch", "warning", "fs.inotify.max_user_watches is 8192"),
        ({"watches": None}, "watch", "ok", "any number"),
        ({"remote": True, "kind": "nfs4"}, "watch", "warning", "nfs4 tells nothing"),
        ({"replay": replace(GOOD.replay, clock_ahead=-7.0)}, "file_clock", "warning", "7 seconds behind"),
        ({"replay": replace(GOOD.replay, clock_ahead=7.0)}, "file_clock", "warning", "7 seconds ahead of"),
        ({"running": False}, "daemon", "warning", "none runs"),
        ({"quarantined": 2}, "quarantine", "warning", "2 refused files"),
        ({"ledger": LedgerFacts(Folder("/l", "read-only"))}, "ledger_dir", "failure", "SYNC_LEDGER_DIR: read-only"),
        ({"ledger": LedgerFacts(Folder("/l", "", 5))}, "ledger_dir_space", "failure", "delivery pauses"),
        ({"ledger": LedgerFacts(Folder("/l", "", GIB))}, "chain", "ok", "no ledger yet"),
        ({"ledger": LedgerFacts(Folder("/l", "", GIB))}, "last_receipt", "ok", "none yet"),
        ({"damage": "line 3: altered"}, "chain", "failure", "line 3: altered"),
        ({"unknown": "line 4: unknown event 'anchor'"}, "chain", "warning", "line 4: unknown event 'anchor'"),
        ({"waiting": 5, "oldest": 700.0}, "last_receipt", "ok", "5 files wait, the oldest for 11.7 minutes"),
        ({"last_receipt": 9000.0}, "last_receipt", "ok", "2.5 hours ago; no file waits"),
        ({"waiting": 5, "oldest": 700.0, "last_receipt": 601.0}, "last_receipt", "warning", "while 5 files wait"),
        ({"waiting": 5, "oldest": 700.0, "last_receipt": None}, "last_receipt", "warning", "none in the newest rows"),
        ({"waiting": 5, "oldest": 70.0, "last_receipt": 9e9}, "last_receipt", "ok", "the oldest for 1.2 minutes"),
        ({"waiting": 5, "oldest": 700.0, "counted_all": False}, "last_receipt", "ok", "at least 5 files wait"),
        ({"last_receipt": -5.0}, "last_receipt", "ok", "0 seconds ago"),
    ],
)
def test_this_machine(changes: dict[str, Any], check: str, level: str, said: str) -> None:
    """Directories, file system, ledger, and what is under way."""
    found = findings(**changes)[check]

    assert found.level == level
    assert said in found.said


def test_of_a_directory_that_is_not_there_nothing_else_is_said() -> None:
    """One line, not ten that follow from it."""
    found = findings(
        replay=ReplayFacts(Folder("/r", "/r is not a directory")), ledger=LedgerFacts(Folder("/l", "read-only"))
    )

    assert list(found)[CHECKS.index("replay_dir") :] == ["replay_dir", "ledger_dir"]
