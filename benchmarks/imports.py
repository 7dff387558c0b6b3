"""Section: what the imports of an account cost a site that connects directly, beside one account without them.

Both servers have empty stores, and the contenders take turns. `imports`: the hub's accounts are those that `syncdaemon
permissions` prints for ten sites, and `hub init` has made the streams; the daemon logs in as one of the sites. `plain`:
one account without users, whose stream the daemon makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.audit import check_gone, check_ledger, check_stream
from benchmarks.hub import BUCKET, Hub
from benchmarks.latency import one_by_one
from benchmarks.measure import Result, Spread, cpu_seconds, percentile
from benchmarks.objects import make_file
from benchmarks.plan import Plan
from benchmarks.process import DaemonProcess, contend, place, say, server
from benchmarks.report import table
from benchmarks.workload import Workload

_SITES = 10
_SITE = "site-0"
_SIZE = 4 << 10
_WITHIN = 300.0


class Access(NamedTuple):
    """`url` is the site's, `admin` that of a user who may see the stream; `settings` are the site's, by variable."""

    url: str
    admin: str
    pid: int
    settings: dict[str, str]


@contextmanager
def _plain(folder: Path) -> Iterator[Access]:
    with server(folder) as running:
        yield Access(running.url, running.url, running.pid, {"SITE": _SITE})


@contextmanager
def _imports(folder: Path) -> Iterator[Access]:
    hub = Hub(folder, jwt=False)
    hub.list(_SITES)
    with hub.server as running:
        admin = hub.url("hub")
        hub.run("hub", "init", "--sites", str(folder / "sites"), "--nats-url", admin)
        own = {"SITE": _SITE, "SYNC_STREAM_CREATE": "false", "SYNC_BUCKET": BUCKET}
        yield Access(hub.url(f"site-{_SITE}"), admin, running.pid, own)


ACCOUNTS: dict[str, Callable[[Path], AbstractContextManager[Access]]] = {"plain": _plain, "imports": _imports}


class Run(NamedTuple):
    """A drain of small files, with the CPU seconds of the server; a large file; milliseconds of files one by one."""

    drain: Result
    server_cpu: float
    upload: Result
    latency: list[float]


def measure(accounts: Callable[[Path], AbstractContextManager[Access]], plan: Plan) -> Run:
    """One run, with a server of its own for each part."""
    with place() as folder, accounts(folder) as access:
        workload = Workload(plan.drain[_SIZE], _SIZE)
        workload.make(folder / "replay")
        before = cpu_seconds(access.pid)
        drain = contend("ours", {**_job(folder, access), "files": workload.files, "way": ""}, _WITHIN + 60)
        server_cpu = cpu_seconds(access.pid) - before
        check_stream(access.admin, workload.files)
        check_ledger(folder / "ledger", workload.files, _SITE)
        check_gone(folder / "replay")
    with place() as folder, accounts(folder) as access:
        make_file(folder / "replay", plan.object_mib << 20)
        upload = contend("upload", _job(folder, access), _WITHIN + 60)
    with (
        place() as folder,
        accounts(folder) as access,
        DaemonProcess(folder, access.url, **access.settings) as daemon,
    ):
        latency = [one.row * 1e3 for one in one_by_one(daemon, plan.latency)]
    return Run(drain, server_cpu, upload, latency)


def _job(folder: Path, access: Access) -> dict[str, object]:
    return {
        "url": access.url,
        "replay": str(folder / "replay"),
        "ledger": str(folder / "ledger"),
        "within": _WITHIN,
        "settings": access.settings,
    }


def section(plan: Plan) -> str:
    """The section in Markdown."""
    runs: dict[str, list[Run]] = {name: [] for name in ACCOUNTS}
    for _ in range(plan.repeats):
        for name, accounts in ACCOUNTS.items():
            run = measure(accounts, plan)
            say(f"imports, {name}: {run.drain.rate:,.0f} files/s")
            runs[name].append(run)
    columns = {name: _column(some, plan) for name, some in runs.items()}
    rows = []
    for what in columns["plain"]:
        plain, imports = columns["plain"][what], columns["imports"][what]
        rows.append([what, f"{plain:,.1f}", f"{imports:,.1f}", f"{imports / plain:.2f}x"])
    return "\n\n".join(
        [
            "## What imports cost",
            f"{plan.drain[_SIZE]:,} files of 4 KiB, a file of {plan.object_mib} MiB, and {plan.latency} files of 1 KiB "
            f"one after another; medians of {plan.repeats} runs, in turns. `plain`: one account. `imports`: the site's "
            f"account at a hub of {_SITES} sites, as `syncdaemon permissions` prints it.",
            table(["", "plain", "imports", "imports/plain"], rows),
        ]
    )


def _column(runs: list[Run], plan: Plan) -> dict[str, float]:
    def median(values: Iterator[float]) -> float:
        return Spread.of(list(values)).median

    size = plan.object_mib << 20
    return {
        "files/s": median(run.drain.rate for run in runs),
        "client CPU µs/file": median(run.drain.cpu_micros for run in runs),
        "server CPU µs/file": median(run.server_cpu / run.drain.files * 1e6 for run in runs),
        "large file, MB/s": median(size / run.upload.wall / 1e6 for run in runs),
        "latency p50 ms": median(percentile(run.latency, 50) for run in runs),
        "latency p99 ms": median(percentile(run.latency, 99) for run in runs),
    }
