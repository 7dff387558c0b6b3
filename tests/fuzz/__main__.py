"""The command: runs the surfaces, each in a process of its own, and prints a table of what they found.

Exit codes: 0 all held; 1 something failed, and the numbers of the cases are printed; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from tests.fuzz import engine, processes
from tests.fuzz.engine import Found
from tests.fuzz.surfaces import ALL

LONG = 200_000
_HEAD = ("surface", "cases", "seconds", "more MiB", "result")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what these arguments ask for; the exit code."""
    known = {surface.name: surface for surface in ALL}
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Input of strangers, made up.")
    parser.add_argument("surface", nargs="*", choices=[[], *known], help="which surfaces; without any: all")
    parser.add_argument("--cases", type=int, default=LONG, help="how many for each surface (%(default)s)")
    parser.add_argument("--start", type=int, default=None, help="decides which cases; unset: others every time")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="surfaces at the same time (%(default)s)")
    parser.add_argument("--case", type=int, default=None, help="run only the case of this number, of one surface")
    given = parser.parse_args(arguments)
    if given.case is not None:
        if len(given.surface) != 1:
            parser.error("--case belongs to one surface; name it")
        engine.repeat(known[given.surface[0]], given.case)
        return 0
    start = int.from_bytes(os.urandom(4), "big") if given.start is None else given.start
    print(f"--start {start}", flush=True)
    found: list[Found] = []
    for one in processes.run(given.surface or list(known), given.cases, start, given.jobs):
        print(f"{one.surface}: {one.cases} cases in {one.seconds:.0f} s, {_result(one)}", flush=True)
        found.append(one)
    return report(sorted(found, key=lambda one: list(known).index(one.surface)))


def _result(found: Found) -> str:
    return "held" if found.good else "FAILED"


def report(found: Sequence[Found]) -> int:
    """Prints a table, and how each failure can be seen again; the exit code."""
    rows = [_HEAD] + [
        (one.surface, str(one.cases), f"{one.seconds:.0f}", f"{one.growth:.0f}", _result(one)) for one in found
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    bad = [one for one in found if not one.good]
    for one in bad:
        print(f"\n== {one.surface}: after {one.cases} cases\n{one.trace}", end="")
        if one.failed is not None:
            print(f"again: python -m tests.fuzz {one.surface} --case {one.failed}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
