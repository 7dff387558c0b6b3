"""`python -m benchmarks`: the report on stdout, progress on stderr."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks import (
    backlog,
    batches,
    drain,
    herd,
    hops,
    hub,
    idle,
    imports,
    latency,
    ledger,
    links,
    objects,
    order,
    startup,
    stream,
    thin,
    tree,
    whole,
)
from benchmarks.measure import BenchmarkFailed
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.process import place, say
from benchmarks.report import head
from syncdaemon.base.errors import SettingsError

SECTIONS: dict[str, Callable[[Plan], str]] = {
    "whole": whole.section,
    "drain": drain.section,
    "batches": batches.section,
    "objects": objects.section,
    "backlog": backlog.section,
    "latency": latency.section,
    "idle": idle.section,
    "ledger": ledger.section,
    "stream": stream.section,
    "tree": tree.section,
    "order": order.section,
    "links": links.section,
    "thin": thin.section,
    "startup": startup.section,
    "hops": hops.section,
    "hub": hub.section,
    "herd": herd.section,
    "imports": imports.section,
}


def options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures syncdaemon against a fresh nats-server, and prints the report as Markdown. All that it "
        "writes lies under $TMPDIR, or else the current directory, which should be on a real disk with 10 GB free.",
    )
    parser.add_argument("--quick", action="store_true", help="small and short: under 3 minutes instead of 25")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="this section; may be given several times")
    parser.add_argument(
        "--files", type=_count, metavar="N", help="whole, drain: files of 1 and 4 KiB; of 64 KiB a fifth"
    )
    parser.add_argument(
        "--repeats",
        type=_count,
        metavar="N",
        help="whole, drain, batches, startup: runs of each contender; backlog: of the short ones",
    )
    parser.add_argument("--backlog", type=_count, metavar="N", help="backlog: how many files wait")
    parser.add_argument("--link", type=_count, action="append", metavar="KBIT", help="links: those of this rate alone")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="PROGRAM",
        help="whole, startup, drain: the `syncdaemon` of another version, CHECKOUT/.venv/bin/syncdaemon",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the report there as well")
    return parser.parse_args()


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def report(plan: Plan, wanted: list[str]) -> Iterator[str]:
    """The report, a part as soon as there is one."""
    began = time.monotonic()
    with place() as folder:
        yield head(folder, plan.name)
    for name in wanted:
        yield "\n" + SECTIONS[name](plan)
    yield f"\nMeasured in {(time.monotonic() - began) / 60:.1f} minutes."


def main() -> int:
    """The exit code: 0, or 1 where something did not do its work."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # so that all is cleaned up
    asked = options()
    plan = (QUICK if asked.quick else FULL).with_options(asked.files, asked.repeats, asked.backlog, asked.link)
    plan = replace(plan, against=asked.against and asked.against.absolute())
    if asked.out:
        asked.out.write_text("")
    try:
        for part in report(plan, asked.only or list(SECTIONS)):
            print(part, flush=True)
            if asked.out:
                with asked.out.open("a") as out:
                    out.write(part + "\n")
    except (BenchmarkFailed, SettingsError, subprocess.TimeoutExpired) as error:
        say(f"FAILED: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
