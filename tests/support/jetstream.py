"""The auditor: what is in the stream and what is in the ledger, read with nothing of ours.

What tests claim about a delivery rests on this, so it uses only nats-py's documented calls and the json
module. It leaves no trace: it makes no consumer, and so reads a work queue as well as any other stream.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from tests.support.client import connect

_AT_ONCE = 256
_PATIENCE = 60.0  # seconds for any answer: how busy the machine is, is not what an audit finds out


class Stored(NamedTuple):
    """One message as the stream holds it."""

    seq: int
    subject: str
    headers: dict[str, str]
    data: bytes


async def messages(url: str, stream: str) -> list[Stored]:
    """Every message of the stream, in its order."""
    return [message async for message in each_message(url, stream)]


async def each_message(url: str, stream: str) -> AsyncIterator[Stored]:
    """The same, for streams that are larger than the memory."""
    client = await connect(url, connect_timeout=_PATIENCE)
    try:
        js = client.jetstream(timeout=_PATIENCE)
        state = (await js.stream_info(stream)).state
        for first in range(max(1, state.first_seq), state.last_seq + 1, _AT_ONCE):
            wanted = range(first, min(first + _AT_ONCE, state.last_seq + 1))
            for answer in await asyncio.gather(*(_message(js, stream, seq) for seq in wanted)):
                if answer is not None:
                    yield answer
    finally:
        await client.close()


async def _message(js: JetStreamContext, stream: str, seq: int) -> Stored | None:
    try:
        message = await js.get_msg(stream, seq)
    except NotFoundError:
        return None  # deleted: a gap
    return Stored(seq, message.subject or "", dict(message.headers or {}), message.data or b"")


def ledger_rows(folder: Path) -> list[dict[str, Any]]:
    """Every row of a site's ledger, oldest first. A line that is not whole is an error."""
    rows = []
    for path in sorted(folder.glob("evidence-*.jsonl")):
        for line in path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                raise ValueError(f"{path}: the last line has no end: {line[:80]!r}")
            rows.append(json.loads(line))
    return rows


async def read_object(url: str, bucket: str, name: str, within: float = 60.0) -> str:
    """The SHA-256 of an object's content, as nats-py's object store reads it; it checks the digest as well.

    nats-py waits for ever for chunks that are not there, so there is a limit: TimeoutError.
    """
    return (await measured_object(url, bucket, name, within))[0]


async def measured_object(url: str, bucket: str, name: str, within: float = 60.0) -> tuple[str, int]:
    """The same, and its size in bytes."""
    digest = _Digest()
    client = await connect(url, connect_timeout=_PATIENCE)
    try:
        store = await client.jetstream(timeout=_PATIENCE).object_store(bucket)
        found = await asyncio.wait_for(store.get(name, writeinto=digest), within)  # type: ignore[arg-type]
        assert found.info.size == digest.size
        return digest.sha256.hexdigest(), digest.size
    finally:
        await client.close()


async def refuse_large_files(url: str) -> None:
    """Makes a bucket that takes no chunk: a file too large for a message is refused, as the last way out."""
    client = await connect(url, connect_timeout=_PATIENCE)
    try:
        subjects = ["$O.edge_replay.C.>", "$O.edge_replay.M.>"]
        config = {"name": "OBJ_edge_replay", "subjects": subjects, "max_msg_size": 1_000, "allow_rollup_hdrs": True}
        answer = await client.request("$JS.API.STREAM.CREATE.OBJ_edge_replay", json.dumps(config).encode(), _PATIENCE)
        assert b"error" not in answer.data
    finally:
        await client.close()


class _Digest:
    """Takes what is written into it; keeps nothing of it but the digest."""

    def __init__(self) -> None:
        self.sha256 = sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """More of the content."""
        self.sha256.update(data)
        self.size += len(data)


class Held(NamedTuple):
    """What a stream holds, and has ever held: `last_seq` counts what was taken out again too."""

    messages: int
    last_seq: int
    subjects: dict[str, int]


async def held(url: str, stream: str) -> Held:
    """The state of a stream; nothing where there is none."""
    client = await connect(url, connect_timeout=_PATIENCE)
    try:
        state = (await client.jetstream(timeout=_PATIENCE).stream_info(stream, subjects_filter=">")).state
        return Held(state.messages, state.last_seq, state.subjects or {})
    except NotFoundError:
        return Held(0, 0, {})
    finally:
        await client.close()
