"""Asking the server, in ways that change nothing there.

Whether something may be done is seen by asking for it wrongly: the server looks at the right first, and then refuses
the request as it is (JetStream API v1, nats-server 2.15).
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
import urllib.request
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from syncdaemon.base.errors import ConnectTimeout, LanePaused, LinkDown, SettingsError
from syncdaemon.check.diagnosis import BucketFacts, LinkFacts, Rights, ServerFacts, StreamFacts, SyncFacts
from syncdaemon.link import Session, visit
from syncdaemon.link.words import bare
from syncdaemon.publish import PROBE_ID
from syncdaemon.publish.objects.bucket import Bucket, Halt
from syncdaemon.settings import Settings, parts
from syncdaemon.stream import object_format
from syncdaemon.stream.prepare import captured, read_info, rehearse
from syncdaemon.stream.verdict import NO_STREAM

_SECONDS = 5.0  # for each answer
_NOT_JSON = b"{"


class _Answer(NamedTuple):
    """What came back, and when it was asked and answered (ns of our wall clock); `problem` where nothing did."""

    body: dict[str, Any]
    problem: str = ""
    denied: bool = False
    asked_ns: int = 0
    answered_ns: int = 0

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = self.body.get("error") or {}
        return found


class _Clock(NamedTuple):
    ahead: float
    error: float


async def look(settings: Settings) -> ServerFacts:
    """Everything about the other side."""
    url = settings.nats_monitor_url
    fetching = asyncio.create_task(asyncio.to_thread(_fetch, f"{url}/jsz" if url else ""))
    facts, seen = await _connect(settings), await fetching
    if not url:
        return facts
    clock = None if facts.clock_ahead is not None else _clock(seen, "now")
    if clock is not None:
        facts = replace(facts, clock_ahead=clock.ahead, clock_error=clock.error)
    return replace(facts, sync=_sync(seen))


async def _connect(settings: Settings) -> ServerFacts:
    try:
        async with visit(parts.link(settings)) as session:
            return await _look_at(session, settings)
    except ConnectTimeout as error:
        return ServerFacts(LinkFacts(bare(settings.nats_urls[0]), str(error)))


async def _look_at(session: Session, settings: Settings) -> ServerFacts:
    name = settings.sync_stream
    answer = await _ask(session, f"$JS.API.STREAM.INFO.{name}")
    stream = _stream(answer, settings)
    rights = await _rights(session, settings, stream)
    if rights.consume and not settings.subject_is_per_digest:  # then only the window is left
        stream = replace(stream, horizon=min(stream.horizon, stream.config.get("duplicate_window", 0) / 1e9))
    clock = _clock(answer, "ts")
    return ServerFacts(
        link=_link(session, (answer.answered_ns - answer.asked_ns) / 1e9 if not answer.problem else None),
        stream=stream,
        rights=rights,
        bucket=await _bucket(session),
        account=_account(await _ask(session, "$JS.API.INFO")),
        clock_ahead=clock.ahead if clock else None,
        clock_error=clock.error if clock else 0.0,
    )


async def _ask(session: Session, subject: str, payload: bytes = b"") -> _Answer:
    asked = time.time_ns()
    try:
        async with asyncio.timeout(_SECONDS):
            data, headers = await session.request(subject, payload)
    except PermissionError as error:
        return _Answer({}, str(error), denied=True)
    except TimeoutError:
        return _Answer({}, f"no answer to {subject} within {_SECONDS:g} seconds")
    except LinkDown as error:
        return _Answer({}, f"the connection was lost: {error}")
    if headers is not None and headers.startswith(b"NATS/1.0 503"):
        return _Answer({}, "nobody answers: JetStream is off, or not available now")
    try:
        body = json.loads(data)
    except ValueError:
        return _Answer({}, f"the server answered {data[:80]!r}")
    return _Answer(body if isinstance(body, dict) else {}, "", False, asked, time.time_ns())


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


def _stream(answer: _Answer, settings: Settings) -> StreamFacts:
    if answer.error.get("err_code") == NO_STREAM:
        return StreamFacts(missing=True)
    if answer.problem or answer.error:
        return StreamFacts(problem=answer.problem or str(answer.error.get("description")))
    info, cluster = read_info(answer.body), answer.body.get("cluster") or {}
    replicas = cluster.get("replicas") or ()
    return StreamFacts(
        config=answer.body["config"],
        state=answer.body["state"],
        lagging=tuple(one["name"] for one in replicas if one.get("offline") or not one.get("current")),
        captured=captured(info.subjects, settings.subject_for("*")),
        horizon=info.horizon(settings.subject_is_per_digest),
    )


async def _rights(session: Session, settings: Settings, stream: StreamFacts) -> Rights:
    name = settings.sync_stream
    if stream.missing:
        if not settings.sync_stream_create:
            return Rights()
        return Rights(create=_denied(await _ask(session, f"$JS.API.STREAM.CREATE.{name}", _NOT_JSON)))
    newest = json.dumps({"last_by_subj": settings.subject_for(PROBE_ID)}).encode()
    make = _denied(await _ask(session, f"$JS.API.CONSUMER.CREATE.{name}.doctor", _NOT_JSON))
    return Rights(
        publish=await _rehearsed(session, settings),
        read=_denied(await _ask(session, f"$JS.API.STREAM.MSG.GET.{name}", newest)),
        consume=make or _denied(await _ask(session, f"$JS.API.CONSUMER.MSG.NEXT.{name}.doctor")),
    )


def _denied(answer: _Answer) -> str:
    return answer.problem if answer.denied else ""


async def _rehearsed(session: Session, settings: Settings) -> str:
    try:
        async with asyncio.timeout(_SECONDS):
            await rehearse(session, parts.stream(settings), settings.subject_for(PROBE_ID))
    except TimeoutError:
        return f"no acknowledgement within {_SECONDS:g} seconds"
    except (SettingsError, LanePaused, LinkDown) as error:
        return str(error)
    return ""


async def _bucket(session: Session) -> BucketFacts | None:
    try:
        async with asyncio.timeout(_SECONDS):
            await Bucket.open(session, create=False, replicas=1)
    except Halt as halt:
        return BucketFacts(object_format.BUCKET, str(halt), missing=halt.reason == "bucket_missing")
    except TimeoutError:
        return BucketFacts(object_format.BUCKET, f"no answer within {_SECONDS:g} seconds")
    except LinkDown:
        return None
    return BucketFacts(object_format.BUCKET)


def _account(answer: _Answer) -> tuple[int, int] | None:
    most = answer.body.get("limits", {}).get("max_storage")
    return None if most is None else (int(answer.body.get("storage", 0)), int(most))


def _clock(answer: _Answer, field: str) -> _Clock | None:
    """The server's clock against the middle of asking and answering."""
    try:
        server = datetime.fromisoformat(str(answer.body.get(field))).timestamp()
    except ValueError:
        return None
    asked, answered = answer.asked_ns / 1e9, answer.answered_ns / 1e9
    return _Clock(server - (asked + answered) / 2, (answered - asked) / 2)


def _fetch(url: str) -> _Answer:
    """A page of the monitoring port, as JSON; nothing without a URL."""
    if not url:
        return _Answer({})
    asked = time.time_ns()
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as page:
            body = json.load(page)
    except (OSError, ValueError) as error:
        return _Answer({}, f"{url} can't be read: {getattr(error, 'reason', error)}")
    if not isinstance(body, dict) or "server_id" not in body:
        return _Answer({}, f"{url} is no page of a nats-server")
    return _Answer(body, "", False, asked, time.time_ns())


def _sync(seen: _Answer) -> SyncFacts:
    """From /jsz (nats-server 2.15): `sync_always` is there only where it is true, `sync_interval` is in ns."""
    config = seen.body.get("config") or {}
    if seen.problem or not config:
        return SyncFacts(seen.problem or "the server there has no JetStream")
    return SyncFacts(
        always=config.get("sync_always") is True,
        interval=config.get("sync_interval", 0) / 1e9,
        server=str(seen.body.get("server_name", "")),
        server_id=str(seen.body["server_id"]),
    )
