"""What was found at the server, on the disks and the clocks, judged against the promises. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from syncdaemon.check.diagnosis.facts import (
    BucketFacts,
    Facts,
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
)
from syncdaemon.check.diagnosis.finding import Finding, Level, ok, warning
from syncdaemon.check.diagnosis.link import judge_account, judge_clock, judge_link, judge_logins, judge_rights
from syncdaemon.check.diagnosis.machine import judge_folder, judge_replay, judge_work
from syncdaemon.check.diagnosis.scale import judge_scale
from syncdaemon.check.diagnosis.stream import judge_bucket, judge_stream, judge_sync

__all__ = [
    "BucketFacts",
    "Facts",
    "Finding",
    "Folder",
    "Intended",
    "LedgerFacts",
    "Level",
    "LinkFacts",
    "LoginFacts",
    "MemoryFacts",
    "ReplayFacts",
    "Rights",
    "ServerFacts",
    "StreamFacts",
    "SyncFacts",
    "judge",
]


def judge(facts: Facts) -> Iterator[Finding]:
    """Every check, one finding each."""
    wanted, server = facts.wanted, facts.server
    yield _site(wanted)
    yield from judge_link(server.link)
    yield from judge_logins(facts.logins)
    yield from judge_stream(server.stream, server.rights, server.link, wanted)
    yield from judge_scale(server.stream, server.memory, wanted)
    yield from judge_rights(server.rights, wanted)
    yield from judge_bucket(server.bucket, wanted)
    yield from judge_account(server.account)
    yield from judge_sync(server.sync, server.link, wanted)
    yield from judge_clock(server)
    yield from judge_folder("replay_dir", "SYNC_REPLAY_DIR", facts.replay.folder, wanted.min_free, pauses=False)
    yield from judge_replay(facts.replay, wanted)
    yield from judge_folder("ledger_dir", "SYNC_LEDGER_DIR", facts.ledger.folder, wanted.min_free, pauses=True)
    yield from judge_work(facts.replay, facts.ledger)


def _site(wanted: Intended) -> Finding:
    if wanted.site_by_hostname:
        said = "named after the host, whose name may change: then subjects and ledger change with it"
        return warning("site", said, "set SITE")
    return ok("site", "set by SITE")
