"""Contender `script`: what one writes in an afternoon, and what the daemon has to be worth its size against.

For each file in sorted order: read it, hash it, `await js.publish` under its hash as message id, append a line to a
ledger and fsync it, delete the file. nats-py and asyncio as they come; the stream is the one that nats-py makes by
default, with one plain subject, which costs the server less than a subject for each content.

Measured from the moment that the connection and the stream are there (imports apart) until the last file is deleted.
It stops after `seconds`, so that a slow disk cannot make it last; its rate is that of the files it did by then.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import IO

from benchmarks.measure import Cost, Memory, Result
from tests.support.client import connect

SUBJECT = "edge.replay"


def take(path: Path) -> tuple[bytes, str]:
    """A file and its SHA-256."""
    data = path.read_bytes()
    return data, hashlib.sha256(data).hexdigest()


def note(ledger: IO[str], row: dict[str, object]) -> None:
    """One row, on disk."""
    ledger.write(json.dumps(row) + "\n")
    ledger.flush()
    os.fsync(ledger.fileno())


async def deliver(url: str, stream: str, replay: Path, ledger: IO[str], seconds: float) -> Result:
    """Delivers the files of `replay`, one after another."""
    client = await connect(url, allow_reconnect=True)
    js = client.jetstream()
    await js.add_stream(name=stream, subjects=[SUBJECT])
    began, done = Cost.now(), 0
    deadline = time.perf_counter() + seconds
    for name in sorted(os.listdir(replay)):
        path = replay / name
        data, digest = take(path)
        receipt = await js.publish(SUBJECT, data, headers={"Nats-Msg-Id": digest})
        note(ledger, {"path": name, "size": len(data), "sha256": digest, "seq": receipt.seq, "ts": time.time()})
        os.unlink(path)
        done += 1
        if time.perf_counter() > deadline:
            break
    spent = Cost.now().since(began)
    await client.close()
    return Result(done, spent.wall, spent.cpu, Memory.of(os.getpid()).peak)


def main() -> None:
    """The program: its job is one argument, JSON."""
    job = json.loads(sys.argv[1])
    with Path(job["ledger"]).open("a") as ledger:
        asyncio.run(deliver(job["url"], job["stream"], Path(job["replay"]), ledger, job["seconds"])).tell()


if __name__ == "__main__":
    main()
