"""Hub and leaf node in one account, each with a JetStream of its own: two streams answer to one subject."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.daemon import MakeDaemon, eventually
from tests.support.jetstream import messages
from tests.support.owner import call
from tests.support.ports import own_port
from tests.support.server import MakeNatsServer
from tests.support.shell import Shell

pytestmark = [pytest.mark.integration, pytest.mark.lengthy]

FILES = [(f"f{number:03}", b"evidence %d" % number) for number in range(300)]


def test_no_receipt_is_of_the_other_jetstream(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, shell: Shell
) -> None:
    """Each names the leaf's own sequence; a restart of the leaf loses nothing; start and doctor say what is wrong."""
    port = own_port()
    hub = make_nats_server(jetstream="domain: hub", config=f'leafnodes {{ listen: "127.0.0.1:{port}" }}')
    leaf = make_nats_server(
        jetstream="domain: leaf", config=f'leafnodes {{ remotes: [{{ url: "nats-leaf://127.0.0.1:{port}" }}] }}'
    )
    hub.start()
    leaf.start()
    config = {"name": "swarm_jobs", "subjects": ["edge.replay.*.*"], "discard": "new", "max_msgs_per_subject": 1}
    config |= {"discard_new_per_subject": True, "deny_delete": True, "allow_direct": True, "storage": "file"}
    for server in (hub, leaf):
        asyncio.run(call(server.url, "STREAM.CREATE.swarm_jobs", config))
    asyncio.run(other_sequences(hub.url))

    daemon = make_daemon(leaf.url, str(shell.folder), SYNC_HOLD_SECONDS="600")
    daemon.start()
    assert daemon.logged("several_streams", at_least=1)[0]["streams"] == 2
    found = shell("doctor", NATS_URL=leaf.url)
    assert "2 streams take a message on edge.replay.test-site.*" in found.out
    for name, data in FILES:
        daemon.drop(name, data)
    eventually(lambda: not daemon.waiting(), 200, "all is delivered")
    stored = {one.headers["Edge-Sha256"]: one.seq for one in asyncio.run(messages(leaf.url, "swarm_jobs"))}
    receipts = daemon.rows("published", "duplicate")
    assert len(receipts) == len(FILES)
    assert all(stored[str(row["sha256"])] == row["stream_seq"] for row in receipts)

    leaf.stop()
    leaf.start()
    eventually(lambda: daemon.logged("hold_checked"), 30, "the hold is checked")
    assert daemon.rows("held_lost") == []
    assert daemon.metric("syncdaemon_quarantined_files") == 0
    assert daemon.stop() == 0


async def other_sequences(url: str) -> None:
    """The hub's stream had messages before, so that its sequences are others."""
    await call(url, "STREAM.PURGE.swarm_jobs", {"seq": 1_000})
