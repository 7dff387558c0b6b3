"""A worker that frees the stream dies at any call that changes the disk or the wire: nothing is lost, nothing twice."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from nats.js.api import StreamConfig
from nats.js.errors import APIError

from syncdaemon.dev.server import NatsServer
from tests.support.client import connect
from tests.support.daemon import eventually
from tests.support.deaths import Death, chosen, traced
from tests.support.jetstream import messages
from tests.support.receiver import Receiver, drafts, headers, received

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
ROUNDS = int(os.environ.get("ROUNDS", "1"))
DEATHS_A_ROUND = 16  # so many of all that there are; a long run tries them all
AT_ONCE = 4
SITE = "edge-1"
FILES = {"plain": b"plain", "empty": b"", "sub/folder/other": b"other", "larger": b"x" * 70_000}
LAST = "Nats-Expected-Last-Subject-Sequence"


class End:
    """A stream of one site with its files, and two lives of a worker that frees it."""

    def __init__(self, folder: Path, server: NatsServer) -> None:
        folder.mkdir()
        self.url, self.stream, self.trace = server.url, folder.name, folder / "trace"
        asyncio.run(self._feed())
        self.target = folder / "received"
        self.target.mkdir()
        template = f"{self.stream}.{{site}}.{{sha256}}"
        settings = {"SYNC_STREAM": self.stream, "SYNC_SUBJECT": template}
        self.first = Receiver(folder, self.target, server.url, "--free", **settings)
        (folder / "second").mkdir()
        self.second = Receiver(folder / "second", self.target, server.url, "--free", **settings)
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        self.first.env |= {"PYTHONPATH": ":".join(paths), "PYTHONDONTWRITEBYTECODE": "1"}

    def subject(self, data: bytes) -> str:
        return f"{self.stream}.{SITE}.{sha256(data).hexdigest()}"

    async def _feed(self) -> None:
        client = await connect(self.url)
        config = StreamConfig(
            name=self.stream,
            subjects=[f"{self.stream}.{SITE}.*"],
            max_msgs_per_subject=1,
            discard_new_per_subject=True,
            discard="new",  # type: ignore[arg-type]
            deny_delete=True,
            allow_rollup_hdrs=True,
            allow_direct=True,
        )
        js = client.jetstream()
        await js.add_stream(config)
        ask = {
            "durable_name": "worker-staging",
            "ack_policy": "explicit",
            "ack_wait": 2_000_000_000,  # what a dead worker held comes again soon
            "max_deliver": -1,
        }
        request = {"stream_name": self.stream, "config": ask}
        await client.request(
            f"$JS.API.CONSUMER.DURABLE.CREATE.{self.stream}.worker-staging", json.dumps(request).encode()
        )
        for path, data in FILES.items():
            await js.publish(self.subject(data), data, headers=headers(path, data, SITE) | {LAST: "0"})
        await client.close()

    def first_life(self, death: Death) -> bool:
        """The worker runs until it dies, or until all is freed and it is stopped. Whether it died."""
        tracer = [sys.executable, "-m", "tests.support.tracer", str(self.target), str(self.trace)]
        self.first.command[:0] = [*tracer, str(death.at), death.when, "--"]
        self.first.launch()
        ended = self.first.process.poll
        eventually(lambda: ended() is not None or self.is_freed(), 60, "it dies, or frees all")
        if ended() is None:
            self.first.process.terminate()
        return self.first.ended(30) != 0

    def second_life(self) -> None:
        """Another worker does what is left."""
        self.second.start()
        eventually(self.is_freed, 60, "all is freed")
        eventually(self._is_drained, 60, "all is acknowledged")
        assert self.second.stop() == 0

    def is_freed(self) -> bool:
        there = asyncio.run(messages(self.url, self.stream))
        return all(not one.data and "Edge-Tombstone" in one.headers for one in there)

    def _is_drained(self) -> bool:
        async def ask() -> Any:
            client = await connect(self.url)
            answer = await client.request(f"$JS.API.CONSUMER.INFO.{self.stream}.worker-staging", b"")
            await client.close()
            return json.loads(answer.data)

        found = asyncio.run(ask())
        return bool(found["num_pending"] == found["num_ack_pending"] == 0)

    def check(self) -> None:
        """Each file is there once and whole, each subject has its tombstone, and none takes its content again."""
        assert received(self.target) == {f"{SITE}/{path}": data for path, data in FILES.items()}
        assert [path for path in drafts(self.target) if path.name != "lock"] == []
        assert list((self.target / ".rejected").glob("*.json")) == []
        there = asyncio.run(messages(self.url, self.stream))
        assert sorted(one.subject for one in there) == sorted(map(self.subject, FILES.values()))
        assert asyncio.run(self._refused()) == len(FILES)

    async def _refused(self) -> int:
        client, refused = await connect(self.url), 0
        for path, data in FILES.items():
            fields = headers(path, data, SITE, Nats_Msg_Id=f"again {path}") | {LAST: "0"}
            try:
                await client.jetstream().publish(self.subject(data), data, headers=fields)
            except APIError as error:
                refused += error.err_code == 10071
        await client.close()
        return refused


def test_a_worker_killed_at_any_call_loses_nothing_and_stores_nothing_twice(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """Each of them in its turn; where ROUNDS is small, every n-th, from a random one on."""
    whole = End(tmp_path / "whole", nats_server)
    assert not whole.first_life(Death(0, "never"))
    whole.second_life()
    whole.check()
    calls = traced(whole.trace)
    for station in ("linkat\t", "fsync\t", "sendto\t'tcp'"):
        assert any(call.startswith(station) for call in calls), f"no call is {station}"

    deaths = chosen(calls, DEATHS_A_ROUND * ROUNDS)

    def die(death: Death) -> bool:
        end = End(tmp_path / f"{death.when}-{death.at}", nats_server)
        died = end.first_life(death)
        end.second_life()
        end.check()
        return died

    with ThreadPoolExecutor(AT_ONCE) as ends:  # each has a stream of its own
        died = list(ends.map(die, deaths))
    assert sum(died) >= 0.7 * len(deaths), "a run is like the other, by some calls"
