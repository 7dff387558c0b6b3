"""The public workflow: it asks for little, and calls only what is there."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.y*ml"))
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
JOBS: dict[str, dict[str, Any]] = WORKFLOW["jobs"]
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def steps(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every step that runs or uses something, with its job."""
    return ((job, step) for job, told in JOBS.items() for step in told["steps"] if kind in step)


def words() -> Iterator[list[str]]:
    """The words of every command."""
    for _, step in steps("run"):
        yield from (shlex.split(line) for line in step["run"].splitlines() if line.strip())


def test_it_may_only_read() -> None:
    """For the whole workflow; no job takes more, and no checkout leaves its token behind."""
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in JOBS.values())
    for _, step in steps("uses"):
        if step["uses"].startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
    assert "secrets." not in (ROOT / ".github/workflows/ci.yml").read_text()
    assert set(WORKFLOW[True]) == {"push", "pull_request"}  # YAML 1.1 reads `on` as true


def test_no_workflow_may_more_than_read() -> None:
    """Whatever workflows there are: each says so itself, no job takes more, and no checkout leaves its token behind."""
    for path in WORKFLOWS:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert told["permissions"] == {"contents": "read"}, path.name
        assert "pull_request_target" not in told[True], f"{path.name} would run a stranger's code with our token"
        for job in told["jobs"].values():
            assert "permissions" not in job
            for step in job["steps"]:
                if step.get("uses", "").startswith("actions/checkout@"):
                    assert step["with"]["persist-credentials"] is False


def test_actions_are_pinned_by_commit() -> None:
    """Who can move a tag of an action runs code in our jobs; a commit can't be moved. The version stands beside it."""
    lines = [line.strip() for path in WORKFLOWS for line in path.read_text(encoding="utf-8").splitlines()]
    used = [line.removeprefix("- ") for line in lines if line.removeprefix("- ").startswith("uses:")]
    assert len(used) >= len(list(steps("uses")))
    for line in used:
        assert re.fullmatch(r"uses: actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_one_action_is_one_commit() -> None:
    """So that an update of one line does not leave another behind."""
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    found = {(name, pin) for name, pin in re.findall(r"uses: (\S+)@(.*)", text)}
    assert len(found) == len({name for name, _ in found})


def test_hooks_of_others_are_pinned_by_commit_too() -> None:
    """Pre-commit runs them on the machines of those who commit. Our only hook is a target of the Makefile."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    for repository in hooks["repos"]:
        assert repository["repo"] == "local" or re.fullmatch(r"[0-9a-f]{40}", repository["rev"])


@pytest.mark.parametrize("name", JOBS)
def test_every_job_ends_and_has_a_machine_that_is_named(name: str) -> None:
    assert JOBS[name]["timeout-minutes"] <= 90
    assert re.fullmatch(r"ubuntu-\d\d\.\d\d|macos-\d\d", JOBS[name]["runs-on"])


def test_a_real_macos_runs_what_linux_only_simulates() -> None:
    """Taking calls away shows that we do without them, and not how Apple's own behave."""
    (job,) = (told for told in JOBS.values() if told["runs-on"].startswith("macos"))
    assert any(step.get("run") == "make test-macos" for step in job["steps"])


def test_every_target_and_script_is_there() -> None:
    """What make is asked for is in the Makefile, what is called by its path is a file that can be run."""
    made = {word for line in words() if "make" in line for word in line[line.index("make") + 1 :] if "=" not in word}
    assert made >= {"lint", "test", "torture", "edge", "drain", "test-deploy", "test-container"}
    assert made - TARGETS == set()
    called = {word for line in words() for word in line if word.startswith(("scripts/", ".ci/"))}
    assert [path for path in called if not os.access(ROOT / path, os.X_OK)] == []


def test_ledger_and_drain_report_are_kept() -> None:
    """Under the names that people look for; without a file the job fails."""
    kept = {step["with"]["name"]: step for _, step in steps("uses") if "upload-artifact" in step["uses"]}
    assert set(kept) == {"edge_sync_manifest", "backlog_drain"}
    assert kept["edge_sync_manifest"]["with"]["path"] == "build/edge/*0/edge/ledger/evidence-*.jsonl"
    assert kept["backlog_drain"]["with"]["path"] == "build/drain/"
    for step in kept.values():
        assert step["if"] == "always()"
        assert step["with"]["if-no-files-found"] == "error"
