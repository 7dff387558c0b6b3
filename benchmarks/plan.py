"""How much is measured: the full plan, and a quick one that shows only that all works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Plan:
    """`drain` and `batches`: bytes of a file to number of files. `script_seconds` ends the script early on a slow disk.

    `repeats`: runs of each contender, and of the short backlogs, whose files are `backlog_small`. `object_mib`: size
    of the large file in MiB. `order`: files that wait for the order. `link_seconds`: of each contender on
    each link; of the links, only those of `link_kbit`, if there is any. `startup`: runs of each command, and of the
    same command of `against`, the `syncdaemon` of another version. `hops`: how often a batch is read in each way.
    `sites` and `digests`: of a hub.
    """

    name: str
    drain: Mapping[int, int]
    batches: Mapping[int, int]
    repeats: int
    script_seconds: float
    backlog: int
    backlog_small: int
    latency: int
    idle_seconds: float
    order: int
    link_seconds: float
    link_kbit: tuple[int, ...] = field(default=(), kw_only=True)
    ledger_rows: int
    object_mib: int
    startup: int
    hops: int
    sites: tuple[int, ...]
    digests: tuple[int, ...]
    against: Path | None = field(default=None, kw_only=True)

    def with_options(
        self, files: int | None, repeats: int | None, backlog: int | None, link_kbit: list[int] | None
    ) -> Self:
        """This plan, but for what was asked for."""
        plan = self
        if files is not None:
            drain = {size: files if size < 64 << 10 else max(1, files // 5) for size in self.drain}
            plan = replace(plan, drain=drain, name=f"{plan.name}, {files} files")
        if repeats is not None:
            plan = replace(plan, repeats=repeats, startup=repeats)
        if link_kbit:
            plan = replace(plan, link_kbit=tuple(link_kbit))
        if backlog is not None:
            plan = replace(plan, backlog=backlog, backlog_small=min(plan.backlog_small, backlog))
        return plan


FULL = Plan(
    "full",
    drain={1 << 10: 20_000, 4 << 10: 20_000, 64 << 10: 4_000},
    batches={1 << 10: 20_000, 16 << 10: 8_000, 256 << 10: 1_000},
    repeats=3,
    script_seconds=30,
    backlog=1_000_000,
    backlog_small=10_000,
    latency=300,
    idle_seconds=600,
    order=600,
    link_seconds=60,
    ledger_rows=500_000,
    object_mib=512,
    startup=15,
    hops=100,
    sites=(100, 1_000),
    digests=(100_000, 1_000_000),
)
QUICK = Plan(
    "quick",
    drain={1 << 10: 2_000, 4 << 10: 2_000, 64 << 10: 400},
    batches={1 << 10: 4_000, 16 << 10: 2_000, 256 << 10: 200},
    repeats=1,
    script_seconds=5,
    backlog=50_000,
    backlog_small=10_000,
    latency=60,
    idle_seconds=60,
    order=200,
    link_seconds=20,
    ledger_rows=50_000,
    object_mib=64,
    startup=3,
    hops=10,
    sites=(50,),
    digests=(20_000,),
)
