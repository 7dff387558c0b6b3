"""`python -m benchmarks.fleet [SITES]`: what `syncdaemon hub` takes for many sites.

Simulated sites put words into the stream of a real server, as many a minute as there are sites (10,000 by default), all
in a minute. Measured is the process of `syncdaemon hub`: resident memory at its end and at its peak, CPU over the
minute in percent of one core, with its numbers scraped every 15 s, and the time of such a scrape.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from benchmarks.measure import Memory, cpu_seconds
from benchmarks.process import place, say
from syncdaemon.dev.server import NatsServer, free_port
from syncdaemon.stream.fleet import status_subject
from syncdaemon.stream.site_status import written
from tests.support.client import connect
from tests.support.fleet import HubProcess, simulated, told

_SECONDS, _SCRAPE_SECONDS = 60, 15


def measure(sites: int) -> str:
    """The line that says what was measured."""
    with place() as folder:
        server = NatsServer(Path(folder) / "nats", port=free_port(4222))
        server.start()
        hub = HubProcess(Path(folder), server.url)
        try:
            told(server.url, map(simulated, range(sites)))
            hub.start()
            while len(hub.sites()) < sites:
                time.sleep(0.5)
            say(f"{sites:,} sites are known")
            cpu, began = cpu_seconds(hub.process.pid), time.monotonic()
            scrapes = asyncio.run(_minute(server.url, hub, sites))
            spent = time.monotonic() - began
            percent = 100 * (cpu_seconds(hub.process.pid) - cpu) / spent
            memory = Memory.of(hub.process.pid)
        finally:
            hub.kill()
            server.stop()
    return (
        f"{sites:,} sites, {sites / spent * 60:,.0f} words a minute: {memory.now / 1e6:.0f} MB resident, at most "
        f"{memory.peak / 1e6:.0f} MB; {percent:.0f} % of one core; a scrape takes {max(scrapes):.2f} s"
    )


async def _minute(url: str, hub: HubProcess, sites: int) -> list[float]:
    """A word of each site, evenly over the minute; the seconds that each scrape took."""
    client = await connect(url)
    scrapes: list[float] = []
    began, sent = time.monotonic(), 0
    try:
        while (passed := time.monotonic() - began) < _SECONDS:
            for number in range(sent, min(sites, int(sites * passed / _SECONDS))):
                status = simulated(number)._replace(queue_depth=number % 11)
                await client.publish(status_subject(status.site), written(status))
                sent = number + 1
            await client.flush(30)
            if passed >= _SCRAPE_SECONDS * len(scrapes):
                asked = time.monotonic()
                await asyncio.to_thread(hub.get, "/metrics")
                await asyncio.to_thread(hub.get, "/sites?since=1")
                scrapes.append(time.monotonic() - asked)
            await asyncio.sleep(0.05)
    finally:
        await client.close()
    return scrapes


if __name__ == "__main__":
    print(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
