"""The bucket, as an upload needs it: made where it is missing, never altered, and known to take what we send."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import structlog

from syncdaemon.base.errors import LanePaused
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.publish.objects.bucket import Bucket
from syncdaemon.publish.objects.halt import LATER, SOON, Halt, asked, done
from syncdaemon.publish.objects.lost import Met
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.info import StreamAnswer
from syncdaemon.stream.object_format import BucketNames

log = structlog.get_logger(__name__)


async def open_bucket(
    api: Api,
    names: BucketNames,
    create: bool,
    replicas: int,
    *,
    said: OnceAMinute | None = None,
    met: Met | None = None,
) -> Bucket:
    """Makes sure that it is there and takes what we send. Raises LinkDown, and Halt where it does not.

    `create`: a missing bucket may be made, with so many `replicas`. `met` is called with what the server says of it.
    """
    made = await _made(api, names, create, replicas)
    if met is not None:
        met(names, made)
    config = made.config
    if flaw := _flaw(config):
        raise Halt("bucket_misconfigured", f"the bucket {names.bucket} {flaw}", LATER)
    said = said or OnceAMinute()
    if (max_age := config.get("max_age")) and said.due(time.monotonic(), "objects_expire"):
        log.warning("objects_expire", bucket=names.bucket, seconds=max_age / 1e9, meaning="so do files")
    for subject in (names.chunk_subject("0"), names.meta_subject("0")):
        await _rehearse(api, names, subject)
    read = await asked(names.bucket, api.last(names.stream, names.meta_subject("0")))  # of no object: a right is tried
    if isinstance(read, ApiRefusal):
        raise Halt("bucket_unavailable", f"bucket {names.bucket}: {read.words}", SOON)
    return Bucket(api, names, config.get("max_msg_size", -1), made.domain)


async def _made(api: Api, names: BucketNames, create: bool, replicas: int) -> StreamAnswer:
    found = await asked(names.bucket, api.stream(names.stream))
    if isinstance(found, StreamAnswer):
        return found
    if not found.no_stream:
        raise Halt("bucket_unavailable", f"bucket {names.bucket}: {found.words}", SOON)
    if not create:
        detail = f"there is no bucket {names.bucket} at the server, and SYNC_STREAM_CREATE=false"
        raise Halt("bucket_missing", detail, LATER)
    await done(names.bucket, api.create_stream(_config(names, replicas)))
    log.info("bucket_created", bucket=names.bucket)
    return await done(names.bucket, api.stream(names.stream))  # which tells the domain, too


async def _rehearse(api: Api, names: BucketNames, subject: str) -> None:
    """Without it, a permission that is missing would show as an error of the whole connection."""
    try:
        refusal = await api.rehearse(subject)
    except PermissionError as error:
        detail = f"these credentials may not publish to {names.everything}: {error}"
        raise Halt("bucket_denied", detail, LATER) from None
    except LanePaused as error:
        raise Halt("bucket_unavailable", str(error), SOON) from None
    if refusal is not None:
        answered = "503, for no stream takes it" if refusal.unanswered else refusal.words
        raise Halt("bucket_unavailable", f"the server answered {answered}: {subject}", SOON)


def _config(names: BucketNames, replicas: int) -> dict[str, Any]:
    """A created bucket's. It keeps all: a chunk that expired would take its file with it."""
    return {
        "name": names.stream,
        "description": "files too large for a message",
        "subjects": [names.all_chunks, names.all_metas],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "num_replicas": replicas,
        "max_age": 0,
        "max_bytes": -1,
        "max_msgs": -1,
        "max_msgs_per_subject": -1,
        "max_consumers": -1,
        "allow_rollup_hdrs": True,
        "allow_direct": True,
    }


def _flaw(config: Mapping[str, Any]) -> str:
    """Why a bucket as it is can't be used; empty where it can."""
    limited = any(config.get(limit, -1) > 0 for limit in ("max_bytes", "max_msgs"))
    flaws = {
        "is sealed and takes nothing any more": config.get("sealed"),
        "acknowledges nothing (no_ack)": config.get("no_ack"),
        "allows no roll-up (allow_rollup_hdrs), which the Object Store needs": not config.get("allow_rollup_hdrs"),
        "throws out old chunks for new ones (discard=old)": limited and config.get("discard", "old") != "new",
        "keeps only some chunks of a file (max_msgs_per_subject)": config.get("max_msgs_per_subject", -1) > 0,
    }
    return next((flaw for flaw, there in flaws.items() if there), "")
