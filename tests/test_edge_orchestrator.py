"""A program that makes evidence hands it over through a disconnect and a reconnect, and knows when it is safe.

Reads as what the runbook's orchestrator does: it imports `syncdaemon.client`, and nothing else of ours.
"""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from syncdaemon.client import AsyncOutbox, Outbox, ReceiptTimeout, TicketReceipt
from tests.support.daemon import MakeDaemon, eventually
from tests.support.jetstream import messages
from tests.support.server import MakeNatsServer

pytestmark = pytest.mark.integration

FILES = 60


class Seen:
    """The program's own `edge_link_status`, each change once, as its Prometheus would draw it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.values: list[float] = []
        self._registry = registry
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._end.wait(0.05):
            value = self._registry.get_sample_value("edge_link_status", {"site": "test-site"})
            if value is not None and self.values[-1:] != [value]:
                self.values.append(value)

    def stop(self) -> list[float]:
        self._end.set()
        self._thread.join()
        return self.values


def test_a_program_hands_over_through_a_disconnect_and_a_reconnect(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    server = make_nats_server()
    server.start()
    daemon = make_daemon(server.url)
    daemon.start()
    eventually(lambda: daemon.metric("edge_link_status") == 1, what="it is connected")
    outbox, registry = Outbox(daemon.replay), CollectorRegistry()
    outbox.register(registry)
    seen = Seen(registry)
    try:
        # 1. All is well: the receipt comes at once.
        tickets = [outbox.put(b"before")]
        assert tickets[0].receipt(10).stream_seq == 1
        eventually(lambda: seen.values == [1], what="the program's own gauge says that the link is up")

        # 2. The server goes. The program goes on: each put is on this machine's disk when it returns.
        server.kill()
        tickets += [outbox.put(b"%d" % number, name=f"run/{number}.json") for number in range(FILES)]
        eventually(lambda: seen.values == [1, 0], 10, "the program's own gauge says that the link is down")
        depth = registry.get_sample_value("replay_queue_depth", {"site": "test-site"})
        assert depth == FILES
        with pytest.raises(ReceiptTimeout):
            tickets[-1].receipt(0.5)

        # 3. It comes back, and every ticket is answered.
        server.start()
        receipts = [ticket.receipt(30) for ticket in tickets]
        eventually(lambda: seen.values == [1, 0, 1], 10, "and up again")
    finally:
        seen.stop()

    # 4. Each receipt is true: that message, of that file, once.
    stored = asyncio.run(messages(server.url, "swarm_jobs"))
    assert len(stored) == FILES + 1
    assert {receipt.stream_seq for receipt in receipts} == {message.seq for message in stored}
    assert {f"{m.subject.rpartition('.')[2]}" for m in stored} == {str(ticket).partition("#")[2] for ticket in tickets}
    assert not any(receipt.duplicate for receipt in receipts)

    # 5. The daemon ends: the gauge is 0, the tickets are still good after the next start.
    assert daemon.stop() == 0
    assert outbox.link_status() == 0
    daemon.start()
    again = Outbox(daemon.replay)
    assert [again.ticket(str(ticket)).receipt(30) for ticket in tickets[::20]] == receipts[::20]


@pytest.mark.lengthy
async def test_a_thousand_tickets_of_one_program_wait_at_the_same_time(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """With one connection, not a thousand."""
    server = make_nats_server()
    server.start()
    daemon = make_daemon(server.url)
    await asyncio.to_thread(daemon.start)
    outbox = AsyncOutbox(daemon.replay)
    tickets = [await outbox.put(b"%d" % number) for number in range(300)]
    began = time.monotonic()
    receipts: list[TicketReceipt] = await asyncio.gather(*(ticket.receipt(30) for ticket in tickets * 3))
    assert len({receipt.stream_seq for receipt in receipts}) == 300
    assert time.monotonic() - began < 20


def test_the_client_needs_the_standard_library_alone(tmp_path: Path) -> None:
    """A program that imports it pulls in no NATS client, nor anything else that it does not have."""
    import subprocess
    import sys

    code = "import sys, syncdaemon.client; from syncdaemon.client import AsyncOutbox; print(*sys.modules)"
    root = Path(__file__).parents[1] / "services"
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(root)!r}); {code}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    tops = {name.partition(".")[0] for name in done.stdout.split()}
    assert tops - sys.stdlib_module_names <= {"syncdaemon", "__main__"}
