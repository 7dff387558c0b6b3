"""A server with the memory of a profile, in a real cgroup: full, killed and started again and again, and never killed
by its limit."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path

import pytest

from benchmarks.feeder import Feeder
from syncdaemon.stream import room
from tests.support.cgroup import LimitMemory
from tests.support.client import connect
from tests.support.daemon import MakeDaemon, eventually
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

K8S = Path(__file__).parents[2] / "k8s"
LEFT = 200  # of the messages that fit: the daemon's part
MOST_SECONDS = 60.0  # for a start: the pod's startup probe allows 900


def of_the_profile() -> tuple[int, int, int]:
    """Memory limit and GOMEMLIMIT in MiB, and max_msgs: as `edge` has them. tests/deploy holds them to the rule."""
    manifest = (K8S / "base/nats/statefulset.yaml").read_text()
    settings = (K8S / "profiles/edge/edge.env").read_text()
    limits = re.search(r"limits:\n(?: +.*\n)*? +memory: (\d+)Mi", manifest)
    go, messages = re.search(r"value: (\d+)MiB", manifest), re.search(r"SYNC_STREAM_MAX_MSGS=(\d+)", settings)
    assert limits
    assert go
    assert messages
    return int(limits[1]), int(go[1]), int(messages[1])


SMALL = (256, 200, room.most_digests(256 << 20))


@pytest.mark.parametrize(
    ("memory", "go", "messages"),
    [
        pytest.param(*SMALL, marks=pytest.mark.lengthy, id="256 MiB"),
        pytest.param(*of_the_profile(), marks=pytest.mark.slow, id="the edge profile"),
    ],
)
def test_a_full_server_is_never_killed_by_its_limit(
    limit_memory: LimitMemory,
    make_nats_server: MakeNatsServer,
    make_daemon: MakeDaemon,
    monkeypatch: pytest.MonkeyPatch,
    memory: int,
    go: int,
    messages: int,
) -> None:
    """It opens again each time, what does not fit waits at the daemon, and is delivered when there is room."""
    limit = limit_memory(memory << 20)
    monkeypatch.setenv("GOMEMLIMIT", f"{go}MiB")
    store = (K8S / "base/nats/jetstream.conf").read_text()
    jetstream = "\n".join(line for line in store.splitlines() if line.startswith(("sync_", "max_")))
    server = make_nats_server(jetstream=jetstream, ready_within=120)
    with limit:
        server.start()
    daemon = make_daemon(server.url, SYNC_STREAM_MAX_MSGS=str(messages), SYNC_HOLD_SECONDS="0")
    daemon.start()
    eventually(lambda: daemon.metric("edge_link_status") == 1, what="the stream is made")
    eventually(lambda: daemon.logged("stream_created"), what="the stream is made")

    feeder = Feeder(server.port, "another")
    assert asyncio.run(feeder.feed(messages - LEFT)) is None
    print(f"{messages - LEFT} digests: {limit.resident >> 20} MiB resident of {memory}")
    for number in range(2 * LEFT):
        daemon.drop(f"{number}.bin", b"evidence %d" % number)
    eventually(lambda: len(daemon.waiting()) == LEFT, 60, "what fits is delivered")
    eventually(lambda: daemon.ailment("lane").startswith("stream_full"), what="the rest waits")

    for _ in range(4):
        server.kill()
        began = time.monotonic()
        with limit:
            server.start()
        took = time.monotonic() - began
        print(f"open after kill -9 in {took:.1f} s, {limit.resident >> 20} MiB resident")
        assert took < MOST_SECONDS
        refused = asyncio.run(feeder.feed(1_000))
        assert refused
        assert refused["err_code"] == 10077
        eventually(lambda: daemon.ailment("room").startswith("full: "), 30, "health says that it is full")
        assert limit.kills == 0

    asyncio.run(let_all_expire(server.url))
    eventually(lambda: not daemon.waiting(), 120, "with room the delivery goes on by itself")
    assert daemon.metric("syncdaemon_published_files_total") == 2 * LEFT
    assert limit.kills == 0


async def let_all_expire(url: str) -> None:
    """The oldest messages reach their age."""
    client = await connect(url)
    found = json.loads((await client.request("$JS.API.STREAM.INFO.swarm_jobs", b"", 10)).data)["config"]
    wanted = {**found, "max_age": 5_000_000_000, "duplicate_window": 1_000_000_000}
    answer = json.loads(
        (await client.request("$JS.API.STREAM.UPDATE.swarm_jobs", json.dumps(wanted).encode(), 60)).data
    )
    assert "error" not in answer, answer
    await client.close()
