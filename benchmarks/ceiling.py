"""Contender `ceiling`: the most that this server takes from one connection, with nothing to do for it.

A bare asyncio protocol sends ready-made frames from memory, as many as a window of 1,000 messages and 16 MiB lets it,
and counts the acknowledgements. It reads no file, hashes nothing, records nothing. The messages are those that the
daemon sends, made by its own code, into the stream that the daemon would make.

Measured from the first byte sent to the last acknowledgement; connecting and making the frames come before.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Sequence

from benchmarks.measure import BenchmarkFailed, Cost, Memory, Result
from benchmarks.process import settings
from benchmarks.workload import Workload
from syncdaemon.base.model import Content, Stamp
from syncdaemon.link.frame import frame
from syncdaemon.publish.message import MessageSettings, encode
from syncdaemon.settings import parts
from syncdaemon.stream.prepare import StreamSettings
from tests.support.client import connect

WINDOW_MESSAGES = 1_000
WINDOW_BYTES = 16 << 20
_SLICE_BYTES = 256 << 10
_BUFFER_BYTES = 1 << 20
_CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"lang":"none"}\r\n'
_INBOX = "_INBOX.ceiling"


def frames(workload: Workload, messages: MessageSettings) -> list[bytes]:
    """The messages of a workload as the protocol has them."""
    made, mtime_ns = [], time.time_ns()
    for number, (name, data) in enumerate(workload.items()):
        stamp = Stamp(0, 0, len(data), mtime_ns, mtime_ns)
        content = Content(name.encode(), name, stamp, data, hashlib.sha256(data).hexdigest(), 1)
        message = encode(content, messages)
        made.append(b"".join(frame(message.subject.encode(), f"{_INBOX}.{number}".encode(), message.headers, data)))
    return made


class Pipeline(asyncio.Protocol):
    """Keeps the window full until all frames are acknowledged."""

    def __init__(self, frames: Sequence[bytes]) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._frames = frames
        self._window = max(1, min(WINDOW_MESSAGES, WINDOW_BYTES // max(map(len, frames))))
        self._slice = max(1, _SLICE_BYTES // max(map(len, frames)))
        self._sent = 0
        self._acknowledged = 0
        self._full = False
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_BUFFER_BYTES)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        transport.write(_CONNECT + f"SUB {_INBOX}.* 1\r\nPING\r\n".encode())

    def data_received(self, data: bytes) -> None:
        whole, _, self._rest = (self._rest + data).rpartition(b"\r\n")
        if b'"error"' in whole or b"-ERR" in whole:
            self._fail(whole[-500:].decode(errors="replace"))
        if b"PONG" in whole and not self.ready.done():
            self.ready.set_result(None)
        if b"PING" in whole:
            self._transport.write(b"PONG\r\n")
        if acknowledged := whole.count(b'{"stream":'):
            self._acknowledged += acknowledged
            self.push()

    def push(self) -> None:
        """Sends what the window and the connection take."""
        end = min(len(self._frames), self._acknowledged + self._window)
        while self._sent < end and not self._full:
            upto = min(end, self._sent + self._slice)
            self._transport.writelines(self._frames[self._sent : upto])
            self._sent = upto
        if self._acknowledged == len(self._frames) and not self.done.done():
            self.done.set_result(None)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self.push()

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"the connection is gone: {error}")

    def _fail(self, why: str) -> None:
        for future in (self.ready, self.done):
            if not future.done():
                future.set_exception(BenchmarkFailed(why))


async def make_stream(url: str, stream: StreamSettings) -> None:
    """Makes the stream as the daemon would."""
    client = await connect(url)
    version = client.connected_server_version
    config = json.dumps(stream.config(f"{version.major}.{version.minor}")).encode()
    answer = await client.request(f"$JS.API.STREAM.CREATE.{stream.name}", config, timeout=10)
    await client.close()
    if b'"error"' in answer.data:
        raise BenchmarkFailed(f"no stream: {answer.data.decode()}")


async def send(url: str, stream: StreamSettings, messages: Sequence[bytes]) -> Result:
    """Sends all and waits for every acknowledgement."""
    await make_stream(url, stream)
    host, _, port = url.rpartition("/")[2].partition(":")
    transport, pipeline = await asyncio.get_running_loop().create_connection(
        lambda: Pipeline(messages), host, int(port)
    )
    await pipeline.ready
    began = Cost.now()
    pipeline.push()
    await pipeline.done
    spent = Cost.now().since(began)
    transport.close()
    return Result(len(messages), spent.wall, spent.cpu, Memory.of(os.getpid()).peak)


def main() -> None:
    """The program: its job is one argument, JSON."""
    job = json.loads(sys.argv[1])
    messages = frames(Workload(**job["workload"]), parts.message(settings()))
    asyncio.run(send(job["url"], parts.stream(settings()), messages)).tell()


if __name__ == "__main__":
    main()
