"""`python -m scripts.backlog_drain`: results on stdout, progress on stderr.

Exit codes: 0 the objective is met, 1 it is not, or could not be measured, 2 wrong usage or settings, 3 no connection.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from scripts.backlog_drain import local
from scripts.backlog_drain.measure import Measurement
from scripts.backlog_drain.plan import RUN_SECONDS, Plan, Run, judge
from scripts.backlog_drain.queue import SITE, SMALLEST, JetStreamQueue
from scripts.backlog_drain.report import Report, commit
from scripts.backlog_drain.sight import Sight
from scripts.prometheus import Api
from syncdaemon.base.errors import ConnectTimeout, SettingsError, SyncError
from syncdaemon.settings.values import Settings

FAILED, WRONG, NO_CONNECTION = 1, 2, 3


def options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="scripts/measure_backlog_drain.sh",
        description="Measures how long the workers take for a backlog, as Prometheus sees it. The server, its login "
        "and the stream are the daemon's settings, from the environment: NATS_URL, NATS_CREDS, SYNC_STREAM and so on. "
        f"What is published stays in the stream, under the site {SITE}.",
    )
    parser.add_argument("--messages", type=_count, default=4000, metavar="N", help="the backlog of a run (4000)")
    parser.add_argument("--size", type=_size, default=1024, metavar="BYTES", help="of a message (1024)")
    parser.add_argument("--runs", type=_count, default=3, metavar="N", help="how many (3)")
    parser.add_argument(
        "--run-limit", type=float, default=RUN_SECONDS, metavar="S", help=f"give a run up after ({RUN_SECONDS:g} s)"
    )
    parser.add_argument(
        "--prometheus",
        default=os.environ.get("PROMETHEUS_URL", "http://127.0.0.1:9090"),
        metavar="URL",
        help="where to ask (PROMETHEUS_URL, or http://127.0.0.1:9090)",
    )
    parser.add_argument("--consumer", default="worker-staging", metavar="NAME", help="of the workers (worker-staging)")
    parser.add_argument(
        "--label",
        type=_label,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a label of the queue's series, where Prometheus knows several, such as namespace=agentforge-staging",
    )
    parser.add_argument("--out", type=Path, default=Path("build/drain"), metavar="DIR", help="reports (build/drain)")
    parser.add_argument(
        "--local", action="store_true", help="bring up server, Prometheus and workers here, for the time"
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="with --local, how many (2)")
    return parser.parse_args()


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _size(text: str) -> int:
    size = int(text)
    if size < SMALLEST:
        raise argparse.ArgumentTypeError(f"at least {SMALLEST}, so that each has content of its own")
    return size


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError("write NAME=VALUE")
    return name, value


def say(text: str) -> None:
    """A line of progress."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def measure(asked: argparse.Namespace, plan: Plan) -> tuple[Sequence[Run], str]:
    """The runs, and in words with what they were made. Raises what `Measurement.runs` does, and SettingsError."""
    with ExitStack() as ending:
        server, prometheus = {}, Api(asked.prometheus)
        setting = f"Prometheus at {prometheus.url}"
        if asked.local:
            say(f"starting nats-server, exporter stand-in, Prometheus and {asked.workers} workers")
            rig = ending.enter_context(local.rig(asked.workers))
            server, prometheus = {"NATS_URL": rig.nats.url}, rig.prometheus.api
            setting = f"{asked.workers} workers, server and Prometheus on one machine, exporter stand-in"
        settings = Settings.load({"SITE": SITE, **server}, os.environ, {}).settings
        if not settings.edge_mode:
            raise SettingsError("EDGE_MODE: false stands by, and publishes nothing; set it to true to measure")
        settings.check_files()
        queue = JetStreamQueue(settings, asked.consumer)
        sight = Sight(prometheus, queue.stream, queue.consumer, dict(asked.label))

        async def live() -> list[Run]:
            await queue.ensure()
            return await Measurement(plan, queue, sight, say).runs()

        return asyncio.run(live()), setting


def main() -> int:
    """The exit code."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # so that all is taken down
    asked = options()
    plan = Plan(asked.messages, asked.size, asked.runs, asked.run_limit)
    began = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        runs, setting = measure(asked, plan)
    except SyncError as error:
        print(f"measure_backlog_drain: {error}", file=sys.stderr)
        return (
            WRONG
            if isinstance(error, SettingsError)
            else NO_CONNECTION
            if isinstance(error, ConnectTimeout)
            else FAILED
        )
    report = Report(plan, runs, judge(runs), began, commit(), setting)
    print(report.lines())
    for path in report.write(asked.out):
        print(f"report: {path}")
    return 0 if report.verdict.passed else FAILED


if __name__ == "__main__":
    sys.exit(main())
