"""Asking the server, in ways that change nothing there.

Whether something may be done is seen by asking for it wrongly: the server looks at the right first, and then refuses
the request as it is (JetStream API v1, nats-server 2.15).
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from syncdaemon.base.errors import ConnectTimeout, LanePaused, LinkDown, SettingsError
from syncdaemon.check.diagnosis import BucketFacts, LinkFacts, Rights, ServerFacts, StreamFacts
from syncdaemon.check.doctor import monitor
from syncdaemon.check.doctor.asked import SECONDS, Reported, ask
from syncdaemon.link import Session, visit
from syncdaemon.link.words import bare
from syncdaemon.publish import PROBE_ID
from syncdaemon.publish.objects import trial
from syncdaemon.publish.objects.buckets import choose
from syncdaemon.publish.objects.halt import Halt
from syncdaemon.publish.objects.opening import open_bucket
from syncdaemon.settings import parts
from syncdaemon.settings.values import Settings
from syncdaemon.stream import own, prepare, sharers
from syncdaemon.stream.answers import AccountAnswer, ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.info import StreamAnswer, captured, read_info
from syncdaemon.stream.orphans import Orphans
from syncdaemon.stream.room import shared_by_several
from syncdaemon.stream.stored import StoredMessage
from syncdaemon.stream.takers import takers

_NOT_JSON = b"{"
_MOST_READ = 100_000  # messages of a stream whose headers are read for the objects that they name
_NO_JETSTREAM = "no answer: JetStream is off, or not available now"


class _Clock(NamedTuple):
    ahead: float
    error: float


async def look(settings: Settings) -> ServerFacts:
    """Everything about the other side."""
    url = settings.nats_monitor_url
    fetching = [
        asyncio.create_task(asyncio.to_thread(monitor.fetch, f"{url}/{page}" if url else ""))
        for page in ("varz", "jsz")
    ]
    facts, (varz, seen) = await _connect(settings), await asyncio.gather(*fetching)
    if not url:
        return facts
    clock = None if facts.clock_ahead is not None else _clock(seen, monitor.time_of(seen.found))
    if clock is not None:
        facts = replace(facts, clock_ahead=clock.ahead, clock_error=clock.error)
    return replace(facts, sync=monitor.sync_of(seen), memory=monitor.memory_of((varz, seen), facts.link.server_id))


async def _connect(settings: Settings) -> ServerFacts:
    try:
        async with visit(parts.link(settings)) as session:
            return await _look_at(Api.over(session), settings)
    except ConnectTimeout as error:
        return ServerFacts(LinkFacts(bare(settings.nats_urls[0]), str(error)))


async def _look_at(api: Api, settings: Settings) -> ServerFacts:
    answer = await ask("the stream", api.stream(settings.sync_stream))
    missing = isinstance(answer.found, ApiRefusal) and answer.found.no_stream
    rivals = (await ask("streams", prepare.rivals(api, parts.stream(settings)))).found if missing else None
    stream = _stream(answer, settings, rivals or ())
    stream = replace(stream, shared=await _shared(api, settings, stream))
    rights = await _rights(api, settings, stream, answer.found)
    if rights.consume and not settings.subject_is_per_digest:  # then only the window is left
        stream = replace(stream, horizon=min(stream.horizon, stream.config.get("duplicate_window", 0) / 1e9))
    clock = _clock(answer, answer.found.at if isinstance(answer.found, StreamAnswer) else None)
    return ServerFacts(
        link=_link(api.session, (answer.answered_ns - answer.asked_ns) / 1e9 if not answer.problem else None),
        stream=stream,
        rights=rights,
        bucket=await _with_orphans(api, settings, stream, await _bucket(api, settings)),
        account=_account((await ask("the account", api.account())).found),
        clock_ahead=clock.ahead if clock else None,
        clock_error=clock.error if clock else 0.0,
    )


def _link(session: Session, rtt: float | None) -> LinkFacts:
    server, tls = session.server, session.tls
    expires = ssl.cert_time_to_seconds(tls[1]) if tls and tls[1] else None
    host = urlsplit(session.url).hostname or ""
    return LinkFacts(
        url=bare(session.url),
        server=f"nats-server {server['version']} {server['server_name']}",
        server_id=server["server_id"],
        cluster=session.cluster,
        max_payload=session.max_payload,
        rtt=rtt,
        tls=tls[0] if tls else "",
        certificate_days=None if expires is None else (expires - time.time()) / 86_400,
        loopback=host in ("localhost", "::1") or host.startswith("127."),
    )


def _stream(answer: Reported[StreamAnswer | ApiRefusal], settings: Settings, rivals: Sequence[str]) -> StreamFacts:
    found = answer.found
    if isinstance(found, ApiRefusal) and found.no_stream:
        return StreamFacts(missing=True, rivals=tuple(rivals))
    if isinstance(found, ApiRefusal):
        problem = _NO_JETSTREAM if found.unanswered else found.words
        return StreamFacts(problem=problem, unseen=found.no_jetstream)
    if found is None:
        return StreamFacts(problem=answer.problem)
    info = read_info(found)
    return StreamFacts(
        config=found.config,
        state=found.state,
        lagging=found.lagging,
        captured=prepare.captures(info, parts.stream(settings)),
        horizon=info.horizon(settings.subject_is_per_digest),
        evicts=info.evicts(settings.subject_is_per_digest),
        others=sharers.others(info, parts.stream(settings).site_form),
    )


async def _shared(api: Api, settings: Settings, stream: StreamFacts) -> bool:
    """Whether several sites use the stream: by its settings, else by its oldest and its newest message."""
    if not stream.config or "{site}" not in settings.sync_subject:
        return False
    if shared_by_several(stream.config):
        return True
    own = settings.subject_for("*")
    for seq in sorted({stream.state["first_seq"], stream.state["last_seq"]} - {0}):
        found = (await ask("a message", api.message(settings.sync_stream, seq))).found
        if isinstance(found, StoredMessage) and not captured([own], found.subject):
            return True
    return False


async def _rights(api: Api, settings: Settings, stream: StreamFacts, asked: StreamAnswer | ApiRefusal | None) -> Rights:
    hidden = asked if isinstance(asked, ApiRefusal) and asked.no_jetstream else None
    rehearsed = partial(_rehearsed, api, settings, isinstance(asked, StreamAnswer) and stream.captured, hidden)
    name, calls = settings.sync_stream, api.calls
    if stream.missing:
        if not settings.sync_stream_create:
            return Rights()
        return Rights(create=await _denied(api.session.request(calls.stream("CREATE", name), _NOT_JSON)))
    several = (await ask("the subject", takers(api.session, settings.subject_for(PROBE_ID)))).found or 0
    if stream.unseen and settings.subject_is_per_digest:  # then it is never read through
        may_read = await _denied(_own_newest(api, settings))
        return Rights(publish=await rehearsed(), read=may_read, takers=several)
    make = await _denied(api.session.request(calls.consumer("CREATE", name, "doctor"), _NOT_JSON))
    pull = calls.consumer("MSG.NEXT", name, "doctor")
    return Rights(
        publish=await rehearsed(),
        read=await _denied(_own_newest(api, settings)),
        consume=make or await _denied(api.session.request(pull)),
        takers=several,
    )


async def _own_newest(api: Api, settings: Settings) -> own.OwnMessage:
    return await own.newest(api, settings.sync_stream, settings.subject_for(PROBE_ID))


async def _denied(asking: Awaitable[object]) -> str:
    """What the server says where it does not let us ask; what it answers otherwise is of no interest."""
    answer = await ask("a right", asking)
    return answer.problem if answer.denied else ""


async def _rehearsed(api: Api, settings: Settings, seen: bool, hidden: ApiRefusal | None) -> str:
    """Why no message of ours is taken, other than that no stream captures our subject: that is said of the stream."""
    wanted, subject = parts.stream(settings), settings.subject_for(PROBE_ID)
    try:
        async with asyncio.timeout(SECONDS):
            await prepare.rehearse(api, wanted, subject, seen=seen, hidden=hidden)
    except prepare.Uncaptured:
        return ""
    except TimeoutError:
        return f"no acknowledgement within {SECONDS:g} seconds"
    except (SettingsError, LanePaused, LinkDown) as error:
        return str(error)
    return ""


async def _bucket(api: Api, settings: Settings) -> BucketFacts | None:
    own = names = parts.bucket(settings)
    missing, lacks = False, ""
    try:
        async with asyncio.timeout(SECONDS):
            names = (await choose(api, own, parts.former(settings))).names
            try:
                await open_bucket(api, names, create=False, replicas=1)
            except Halt as halt:
                if halt.reason != "bucket_missing" or not settings.sync_stream_create:
                    raise
                missing = True
            lacks = await trial.lacking(api, names, settings.sync_stream_create)
    except Halt as halt:
        return BucketFacts(names.bucket, str(halt), missing=halt.reason == "bucket_missing")
    except TimeoutError:
        return BucketFacts(names.bucket, f"no answer within {SECONDS:g} seconds")
    except LinkDown:
        return None
    if lacks:
        return BucketFacts(names.bucket, lacks)
    return BucketFacts(names.bucket, missing=missing, instead_of="" if names == own else own.bucket)


async def _with_orphans(
    api: Api, settings: Settings, stream: StreamFacts, bucket: BucketFacts | None
) -> BucketFacts | None:
    """The same with the objects that no message names, where the stream is small enough to be read through now."""
    messages = stream.state.get("messages", _MOST_READ + 1)
    if bucket is None or bucket.problem or bucket.missing or bucket.instead_of or messages > _MOST_READ:
        return bucket
    if parts.objects(settings).shared:
        return bucket
    orphans = Orphans(api, settings.sync_stream, parts.bucket(settings), parts.subject_of_content(settings))
    found = (await ask("objects", orphans.look())).found or []
    return replace(bucket, orphans=len(found), orphan_bytes=sum(one.meta.size for one in found))


def _account(found: AccountAnswer | ApiRefusal | None) -> tuple[int, int] | None:
    return (found.storage, found.most) if isinstance(found, AccountAnswer) else None


def _clock(answer: Reported[Any], server: datetime | None) -> _Clock | None:
    """The server's clock against the middle of asking and answering."""
    if server is None:
        return None
    asked, answered = answer.asked_ns / 1e9, answer.answered_ns / 1e9
    return _Clock(server.timestamp() - (asked + answered) / 2, (answered - asked) / 2)
