"""Contender `rawchunks`: the most that this server takes of a large file's chunks from one connection.

The bare protocol of `ceiling`, with the chunks of one object: ready-made frames from memory, a window of 16 MiB, and
nothing done but counting acknowledgements. No file is read, nothing is hashed, looked up or recorded, no meta written.

Measured from the first byte sent to the last acknowledgement; connecting and making the frames come before.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import sys

from benchmarks.ceiling import Pipeline
from benchmarks.measure import Cost, Memory, Result
from benchmarks.process import SITE
from syncdaemon.link.frame import frame
from syncdaemon.publish.objects.resume import SIZES
from syncdaemon.stream.object_format import BucketNames, Chunk, count_of, nuid_of
from tests.support.client import connect

_INBOX = "_INBOX.ceiling"
_BUCKET = BucketNames(f"edge_replay_{SITE}")


def frames(size: int) -> list[bytes]:
    """The chunks of a file of `size` bytes as the protocol has them."""
    digest, chunk = hashlib.sha256(b"%d" % size).hexdigest(), SIZES[0]
    nuid, data = nuid_of(digest, chunk, SITE), random.Random(size).randbytes(chunk)
    made = []
    for number in range(count_of(size, chunk)):
        headers = Chunk(nuid, number, 0, digest[:32]).headers(_BUCKET, digest, None)
        reply = f"{_INBOX}.{number}".encode()
        made.append(b"".join(frame(_BUCKET.chunk_subject(nuid).encode(), reply, headers, data)))
    return made


async def send(url: str, size: int) -> Result:
    """Sends all and waits for every acknowledgement."""
    client = await connect(url)
    await client.jetstream().create_object_store(_BUCKET.bucket)
    await client.close()
    messages = frames(size)
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
    return Result(1, spent.wall, spent.cpu, Memory.of(os.getpid()).peak)


def main() -> None:
    """The program: its job is one argument, JSON."""
    job = json.loads(sys.argv[1])
    asyncio.run(send(job["url"], job["size"])).tell()


if __name__ == "__main__":
    main()
