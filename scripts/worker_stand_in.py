"""A worker for as long as `syncdaemon receive` is not there: it acknowledges everything and keeps nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import nats
from nats.errors import TimeoutError as NothingThere
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig
from prometheus_client import Counter, start_http_server

PROCESSED = Counter("nats_worker_processed", "Messages worked on")
REDELIVERED = Counter("nats_worker_redelivered", "Of them delivered before")
FAILED = Counter("nats_worker_failed", "Messages that are kept aside", ["reason"])


async def main() -> None:
    host, _, port = os.environ["SYNC_HTTP_ADDR"].rpartition(":")
    start_http_server(int(port), host)
    client = await nats.connect(os.environ["NATS_URL"])
    js = client.jetstream()
    while True:
        try:
            await work(js)
        except NothingThere:
            continue
        except Exception:
            await asyncio.sleep(0.2)


async def work(js: JetStreamContext) -> None:
    config = ConsumerConfig(durable_name="worker-staging", ack_wait=60, max_ack_pending=4096)
    await js.add_consumer("swarm_jobs", config)
    subscription = await js.pull_subscribe_bind("worker-staging", "swarm_jobs")
    while True:
        for message in await subscription.fetch(100, timeout=1):
            await message.ack_sync()
            PROCESSED.inc()
            if message.metadata.num_delivered > 1:
                REDELIVERED.inc()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    asyncio.run(main())
