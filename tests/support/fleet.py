"""Many sites for a test or a picture: their words, without a daemon behind them; and a hub that shows them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from syncdaemon.stream.fleet import own_fleet, status_subject
from syncdaemon.stream.site_status import SiteStatus, written
from tests.support.client import connect
from tests.support.process import WebProcess


class HubProcess(WebProcess):
    """`syncdaemon hub` as a child process."""

    def __init__(self, folder: Path, url: str, *arguments: str, **settings: str) -> None:
        super().__init__(["hub", *arguments], folder / "hub.log", url, settings)

    def start(self, path: str = "/livez", within: float = 30.0) -> None:
        """Returns when its port answers."""
        super().start(path, within)

    def sites(self) -> dict[str, dict[str, Any]]:
        """The lines of its page, by site."""
        found = json.loads(self.get("/sites"))
        return {line[0]: dict(zip(found["columns"], line, strict=True)) for line in found["sites"]}


def simulated(number: int, *, busy: bool = True) -> SiteStatus:
    """The word of a site that does well; some sites do not."""
    now = int(time.time())
    status = SiteStatus(
        site=f"site-{number:05d}",
        version="0.1.0",
        next_within=60 if busy else 600,
        started=now - 86_400 - number,
        uptime=86_400 + number,
        link_status=1,
        queue_depth=number % 7,
        bandwidth_bps=(number % 13) * 40_000,
        waiting_bytes=(number % 7) * 1_000_000,
        published_files=10_000 + number,
        published_bytes=10_000_000_000 + number,
        row=20_000 + number,
        row_sha256=f"{number:016x}",
    )
    if number % 97 == 5:
        return status._replace(quarantined_files=3)
    if number % 61 == 7:
        return status._replace(replay_days_left=2.5)
    return status._replace(oldest_file_age=1_500) if number % 53 == 11 else status


async def tell(url: str, words: Iterable[tuple[str, bytes]], **login: Any) -> None:
    """Puts these words into the stream, which is made where it is missing."""
    client = await connect(url, **login)
    try:
        await client.request("$JS.API.STREAM.CREATE.edge_fleet", json.dumps(own_fleet()).encode(), timeout=10)
        for number, (site, word) in enumerate(words, 1):
            await client.publish(status_subject(site), word)
            if number % 500 == 0:
                await client.flush(30)
        await client.flush(30)
    finally:
        await client.close()


def told(url: str, statuses: Iterable[SiteStatus], **login: Any) -> None:
    """The same from a thread of its own, for words that are well formed."""
    asyncio.run(tell(url, [(status.site, written(status)) for status in statuses], **login))
