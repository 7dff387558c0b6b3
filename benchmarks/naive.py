"""Contender `naive`: the publisher that many would write for a link like any other.

64 messages at a time, each `js.publish` with a time-out of five seconds, and again after that, until it is
acknowledged. nats-py as it comes. It prints a line of JSON for each acknowledgement: when, and how many bytes of
payload.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time

from nats.errors import Error
from nats.js import JetStreamContext

from benchmarks.workload import Workload
from tests.support.client import connect

_AT_ONCE, _TIMEOUT = 64, 5.0


async def deliver(js: JetStreamContext, subject: str, work: asyncio.Queue[bytes]) -> None:
    """Takes one message after another until none is left."""
    while not work.empty():
        data = work.get_nowait()
        headers = {"Nats-Msg-Id": hashlib.sha256(data).hexdigest()}
        while True:
            try:
                await js.publish(subject, data, timeout=_TIMEOUT, headers=headers)
                break
            except (Error, TimeoutError):
                continue
        print(json.dumps([time.monotonic(), len(data)]), flush=True)


async def run(url: str, stream: str, workload: Workload) -> None:
    """Delivers all, or until it is ended."""
    client = await connect(url, allow_reconnect=True, connect_timeout=30)
    js = client.jetstream(timeout=30)
    await js.add_stream(name=stream, subjects=["naive"], duplicate_window=3600)
    work: asyncio.Queue[bytes] = asyncio.Queue()
    for _, data in workload.items():
        work.put_nowait(data)
    await asyncio.gather(*(deliver(js, "naive", work) for _ in range(_AT_ONCE)))


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    asyncio.run(run(job["url"], job["stream"], Workload(**job["workload"])))
