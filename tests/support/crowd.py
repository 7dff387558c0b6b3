"""A crowd of sites in one process: each has the real link, and publishes a message now and then as the daemon would."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from contextlib import suppress
from hashlib import sha256
from typing import Self

from syncdaemon.base.errors import LinkDown
from syncdaemon.base.tasks import background
from syncdaemon.link import Link, LinkSettings, Session
from syncdaemon.link.frame import header_block

_WRONG_LAST_SEQUENCE = 10071  # the stream has a message on this subject already
_RETRY_SECONDS = 0.5
_END_SECONDS = 60.0


class Crowd(threading.Thread):
    """So many sites, until it is left: then each has an answer to its last message. `sent`: the digests of all sites.

    A message goes to its own subject and expects it to be empty, so the stream refuses a second copy. `pause`: seconds
    between two messages of a site, on average.
    """

    def __init__(self, url: str, sites: int, pause: float) -> None:
        super().__init__(daemon=True)
        self.sent: list[str] = []
        self.failed: BaseException | None = None
        self._url, self._sites, self._pause = url, sites, pause
        self._links: list[Link] = []
        self._enough = threading.Event()

    @property
    def up(self) -> int:
        """How many sites have a connection that answers."""
        return sum(link.proved() for link in self._links)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self.join(_END_SECONDS)
        assert not self.is_alive(), "the crowd does not come to its end"
        if self.failed is not None:
            raise self.failed

    def run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:
            self.failed = error

    async def _live(self) -> None:
        self._links = [Link(LinkSettings((self._url,), f"crowd-{n}"), _ignore) for n in range(self._sites)]
        async with background(*(link.run() for link in self._links)):
            await asyncio.gather(*(self._site(number, link) for number, link in enumerate(self._links)))

    async def _site(self, number: int, link: Link) -> None:
        dice = random.Random(number)
        await asyncio.sleep(dice.uniform(0, self._pause))
        while not self._enough.is_set():
            body = dice.randbytes(300)
            await _publish(link, f"crowd-{number}", body)
            self.sent.append(sha256(body).hexdigest())
            await asyncio.sleep(dice.uniform(0, 2 * self._pause))


def _ignore(_session: Session | None, _reason: str) -> None:
    """Whether a site is connected is asked for, not noted."""


async def _publish(link: Link, site: str, body: bytes) -> None:
    """Until the server says that it has the message."""
    digest = sha256(body).hexdigest()
    headers = header_block(("Nats-Msg-Id", f"{site}-{digest}"), ("Nats-Expected-Last-Subject-Sequence", 0))
    while True:
        session = await link.wait_up()
        with suppress(LinkDown, ValueError):
            data, _ = await session.request(f"edge.replay.{site}.{digest}", body, headers, counted=True)
            answer = json.loads(data)
            if answer.get("seq") or answer.get("error", {}).get("err_code") == _WRONG_LAST_SEQUENCE:
                return
        await asyncio.sleep(_RETRY_SECONDS)
