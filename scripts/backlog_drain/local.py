"""Everything that a measurement needs, on this machine and for as long as it lasts: `--local`.

A real nats-server, a real Prometheus with the rules as they are deployed, real workers; only the exporter is a
stand-in. Looked at every second instead of every 15, so that a short drain is not rounded up to them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from benchmarks.process import remove
from scripts.prometheus import Prometheus, Targets, end
from syncdaemon.dev.leash import leashed
from syncdaemon.dev.server import HOST, NatsServer, free_port

ROOT = Path(__file__).parents[2]
RULES = ROOT / "k8s/components/monitoring/rules.yaml"
EXPORTER = "nats-prometheus-exporter"
WORKER = "nats-worker"


@dataclass(frozen=True)
class Rig:
    """What runs. `folder` holds what each writes, and a folder `received-N` for each worker."""

    nats: NatsServer
    exporter: subprocess.Popen[bytes]
    workers: Sequence[subprocess.Popen[bytes]]
    prometheus: Prometheus
    folder: Path


@contextmanager
def rig(workers: int, rules: str = "", others: Targets = MappingProxyType({}), interval: str = "1s") -> Iterator[Rig]:
    """On free ports, in a temporary folder; ended and removed on exit.

    `rules` stands in for those that are deployed; `others` are scraped too, every `interval`.
    """
    with ExitStack() as ending:
        folder = Path(tempfile.mkdtemp(prefix="backlog-drain-"))
        ending.callback(remove, folder)
        nats = ending.enter_context(NatsServer(folder / "nats", monitor_port=0))
        page = f"{HOST}:{free_port()}"
        exporter = start(ending, ["scripts.jsz_exporter", nats.monitor_url, page], folder / "exporter.log")
        pages = [f"{HOST}:{free_port()}" for _ in range(workers)]
        processes = [
            start(
                ending,
                ["syncdaemon", "receive", str(folder / f"received-{number}")],
                folder / f"worker-{number}.log",
                NATS_URL=nats.url,
                SYNC_HTTP_ADDR=address,
            )
            for number, address in enumerate(pages)
        ]
        rules = rules or RULES.read_text().replace("interval: 15s", "interval: 1s")
        targets = {EXPORTER: [page], WORKER: pages, **others}
        prometheus = ending.enter_context(Prometheus(folder / "prometheus", targets, rules, interval))
        yield Rig(nats, exporter, processes, prometheus, folder)


def start(ending: ExitStack, module: Sequence[str], log_path: Path, **settings: str) -> subprocess.Popen[bytes]:
    """A module as a process that ends with `ending`; no setting of ours in its environment but these."""
    own = ("SYNC_", "NATS_", "SITE", "EDGE_MODE")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)} | settings
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            leashed([sys.executable, "-m", *module]),
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    ending.callback(end, process)
    return process
