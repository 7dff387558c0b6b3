"""The report: for people on stdout and in Markdown, for programs in JSON."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.backlog_drain.plan import P95_SECONDS, RUN_SECONDS, Plan, Run, Verdict

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Report:
    """All that is known of a measurement. `timestamp` is when it began, `setting` where and with what."""

    plan: Plan
    runs: Sequence[Run]
    verdict: Verdict
    timestamp: str
    commit: str
    setting: str

    def lines(self) -> str:
        """The durations, P95 and the verdict."""
        shown = [f"run {run.number}: {_shown(run)}" for run in self.runs]
        return "\n".join([*shown, self._p95(), *(f"FAILED: {why}" for why in self.verdict.reasons)])

    def json(self) -> str:
        """Durations in seconds."""
        fields = {
            "passed": self.verdict.passed,
            "reasons": self.verdict.reasons,
            "p95_seconds": self.verdict.p95,
            "durations_seconds": [run.seconds for run in self.runs if not run.reason],
            "objective": {"p95_seconds": P95_SECONDS, "run_seconds": RUN_SECONDS},
            "backlog": self.plan.messages,
            "message_bytes": self.plan.size,
            "runs_wanted": self.plan.runs,
            "run_limit_seconds": self.plan.limit,
            "runs": [asdict(run) for run in self.runs],
            "timestamp": self.timestamp,
            "commit": self.commit,
            "setting": self.setting,
        }
        return json.dumps(fields, indent=2) + "\n"

    def markdown(self) -> str:
        """A page."""
        rows = "\n".join(
            f"| {run.number} | {_shown(run)} | {run.publish_seconds:.1f} s | {run.peak} |" for run in self.runs
        )
        reasons = "".join(f"- {why}\n" for why in self.verdict.reasons)
        return (
            f"# Backlog drain: {'passed' if self.verdict.passed else 'FAILED'}\n\n{reasons}"
            f"{self._p95()}.\n\n"
            f"| run | drained after | of it publishing | highest backlog seen |\n|---|---|---|---|\n{rows}\n\n"
            f"Each run published {self.plan.messages} messages of {self.plan.size} bytes; its time goes from before "
            "the first of them until backlog and pending acknowledgements were 0 as Prometheus saw them.\n\n"
            f"{self.timestamp}, commit {self.commit}, {self.setting}.\n"
        )

    def _p95(self) -> str:
        if self.verdict.p95 is None:
            return "P95 not known"
        return (
            f"P95 {self.verdict.p95:.1f} s of {len(self.runs)} runs (nearest rank), at most {P95_SECONDS:g} s; "
            f"longest {max(run.seconds for run in self.runs):.1f} s, at most {RUN_SECONDS:g} s"
        )

    def write(self, folder: Path) -> list[Path]:
        """Writes both files; their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for name, text in (("backlog_drain.json", self.json()), ("backlog_drain.md", self.markdown())):
            (folder / name).write_text(text)
            written.append(folder / name)
        return written


def _shown(run: Run) -> str:
    return f"not drained {run.reason}" if run.reason else f"{run.seconds:.1f} s"


def commit() -> str:
    """The commit that is checked out, with a mark where files differ from it; `unknown` outside a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--match=", "--dirty"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
