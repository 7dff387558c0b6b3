"""Section: what a command costs before it does anything.

Each command as a user calls it, a process of its own each time: user and system CPU of its whole life and its highest
resident memory, from wait4(2); and how many modules it imports, in one more run under `-X importtime`. `run` is
measured from its start until it is connected. With `--against` the same of another version, in turns.

A process counts the memory of the one that started it as its own highest (Linux, execve(2)); so a small one starts it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.measure import BenchmarkFailed, Memory, Spread, cpu_seconds
from benchmarks.plan import Plan
from benchmarks.process import DaemonProcess, environment, place, say, server
from benchmarks.report import megabytes, table

_WITHIN = 60.0  # seconds
_STARTER = """
import os, sys
null = os.open(os.devnull, os.O_RDWR)
to_null = [(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)]
_, status, used = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=to_null), 0)
print(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
"""
_BASH = {"_SYNCDAEMON_COMPLETE": "complete_bash", "COMP_WORDS": "syncdaemon status --sync-s", "COMP_CWORD": "2"}
_ZSH = {"_SYNCDAEMON_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "syncdaemon status --sync-s"}


class Case(NamedTuple):
    """A command, and what it has in its environment beside the settings."""

    name: str
    arguments: Sequence[str]
    extra: Mapping[str, str] = {}


class Version(NamedTuple):
    """A `syncdaemon` beside its Python. `name` is how the report calls it."""

    name: str
    program: Path

    @property
    def command(self) -> tuple[str, ...]:
        """How it is called."""
        return str(self.program.with_name("python")), str(self.program)


class Figures(NamedTuple):
    """CPU in seconds, memory in bytes and number of modules of a command of one version."""

    cpu: Spread
    memory: float
    modules: int


_HELP = ("run", "dev", "drain", "receive", "status", "doctor", "verify", "put", "config")
CASES = (
    Case("--help", ["--help"]),
    *(Case(f"{command} --help", [command, "--help"]) for command in _HELP),
    Case("quarantine list --help", ["quarantine", "list", "--help"]),
    Case("status", ["status"]),
    Case("status --json", ["status", "--json"]),
    Case("put", ["put", "evidence.bin"]),
    Case("quarantine list", ["quarantine", "list"]),
    Case("config", ["config"]),
    Case("completion, bash", [], _BASH),
    Case("completion, zsh", [], _ZSH),
)


class Site(NamedTuple):
    """A running daemon, a refused file, and a file to put into a directory that no daemon watches."""

    folder: Path
    environ: dict[str, str]

    @classmethod
    @contextmanager
    def made(cls) -> Iterator[Site]:
        """One for as long as the block lasts."""
        with place() as folder, server(folder) as running, DaemonProcess(folder, running.url) as daemon:
            refused = folder / "apart" / ".syncdaemon" / "quarantine"
            refused.mkdir(parents=True)
            (refused / "refused.bin").write_bytes(b"evidence")
            (folder / "evidence.bin").write_bytes(b"evidence")
            yield cls(folder, environment(SYNC_REPLAY_DIR=str(folder / "apart"), SYNC_HTTP_ADDR=daemon.http))

    def once(self, version: Version, case: Case) -> tuple[float, int]:
        """CPU and memory of one run. Raises BenchmarkFailed where the command does not end well."""
        (self.folder / "apart" / "evidence.bin").unlink(missing_ok=True)
        starter = [sys.executable, "-I", "-S", "-c", _STARTER, *version.command, *case.arguments]
        code, cpu, memory = self._output(starter, case).stdout.split()
        if code != "0":
            raise BenchmarkFailed(f"{version.name}: syncdaemon {case.name} ended with {code}")
        return float(cpu), int(memory)

    def modules(self, version: Version, case: Case) -> int:
        """How many modules it imports."""
        (self.folder / "apart" / "evidence.bin").unlink(missing_ok=True)
        python, *program = version.command
        log = self._output([python, "-X", "importtime", *program, *case.arguments], case).stderr
        return sum(line.startswith("import time:") for line in log.splitlines()) - 1

    def _output(self, command: Sequence[str], case: Case) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environ, **case.extra},
            capture_output=True,
            text=True,
            timeout=_WITHIN,
            check=False,
        )


def measure(versions: Sequence[Version], runs: int) -> Iterator[tuple[str, list[Figures]]]:
    """The figures of each version, for each command."""
    with Site.made() as site:
        for case in CASES:
            found: list[list[tuple[float, int]]] = [[] for _ in versions]
            for _ in range(runs):
                for version, results in zip(versions, found, strict=True):
                    results.append(site.once(version, case))
            figures = [
                Figures(
                    Spread.of([cpu for cpu, _ in results]),
                    Spread.of([memory for _, memory in results]).median,
                    site.modules(version, case),
                )
                for version, results in zip(versions, found, strict=True)
            ]
            say(f"startup: {case.name}: " + ", ".join(f"{one.cpu.median:.3f} s" for one in figures))
            yield case.name, figures
    yield "run, until it is connected", list(_daemons(versions, runs))


def _daemons(versions: Sequence[Version], runs: int) -> Iterator[Figures]:
    found: list[list[tuple[float, int]]] = [[] for _ in versions]
    for _ in range(runs):
        for version, results in zip(versions, found, strict=True):
            with (
                place() as folder,
                server(folder) as running,
                DaemonProcess(folder, running.url, program=version.command) as daemon,
            ):
                results.append((cpu_seconds(daemon.pid), Memory.of(daemon.pid).peak))
    for results in found:
        yield Figures(Spread.of([cpu for cpu, _ in results]), Spread.of([memory for _, memory in results]).median, 0)


def _row(name: str, figures: Sequence[Figures]) -> list[str]:
    cells = [f"`{name}`"]
    for one in figures:
        cells += [f"{one.cpu.least:.3f}", f"{one.cpu.median:.3f}", megabytes(one.memory), str(one.modules or "")]
    if len(figures) > 1:
        cells.append(f"{figures[0].cpu.median / figures[1].cpu.median:.2f}")
    return cells


def section(plan: Plan) -> str:
    """The section in Markdown."""
    versions = [Version("this", Path(sys.executable).with_name("syncdaemon"))]
    versions += [Version("other", plan.against)] if plan.against else []
    heads = ["command"]
    for version in versions:
        of = f"{version.name}: " if plan.against else ""
        heads += [f"{of}CPU s, least", "median", "peak RSS MB", "modules"]
    heads += ["this / other"] if plan.against else []
    rows = [_row(name, figures) for name, figures in measure(versions, plan.startup)]
    return "\n\n".join(
        [
            "## Startup",
            f"CPU seconds (user and system) of a whole process, {plan.startup} runs of each, the versions in turns. "
            "Goals: what only looks takes at most a third of what it took when every command imported all of the "
            "package; `run` takes no more than it did.",
            table(heads, rows),
        ]
    )
