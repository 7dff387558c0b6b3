"""The report: where and with what it was measured, and tables in Markdown."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.process import ROOT
from syncdaemon.dev.server import find_binary


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; the columns after the first are set to the right."""
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def size_text(size: int) -> str:
    """`4 KiB`, `100 B`."""
    return f"{size >> 10} KiB" if size >= 1 << 10 else f"{size} B"


def megabytes(size: float) -> str:
    """In units of 1,000,000 bytes."""
    return f"{size / 1e6:,.1f}"


def head(folder: Path, plan: str) -> str:
    """What one must know to read the figures; `folder` is on the disk that is used."""
    facts = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": _commit(),
        "plan": plan,
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "CPU": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores for us",
        "load at the start": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "disk": _filesystem(folder),
        "Python": platform.python_version(),
        "nats-server": _output(str(find_binary()), "--version").removeprefix("nats-server: v"),
        "nats-py": version("nats-py"),
        "syncdaemon": version("syncdaemon"),
    }
    lines = [f"- {name}: {fact}" for name, fact in facts.items()]
    return "\n".join(["# syncdaemon: benchmarks", "", *lines])


def _commit() -> str:
    commit = _output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    if not commit:
        return "unknown"
    changed = _output("git", "-C", str(ROOT), "status", "--porcelain", "--", "services")
    return f"{commit}, with changes that are not committed" if changed else commit


def _filesystem(folder: Path) -> str:
    """The type of the file system that holds `folder`, from the longest mount point above it."""
    mounts = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        mounts[Path(before.split()[4])] = after.split()[0]
    above = [mount for mount in mounts if folder.is_relative_to(mount)]
    return mounts[max(above, key=lambda mount: len(mount.parts))]


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
