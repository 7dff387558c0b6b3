"""The runbook names only what there is. That its commands work is shown where they can run."""

from __future__ import annotations

import os
import re
import shlex

import yaml

from syncdaemon.cli import app
from syncdaemon.settings.table import VARIABLES
from syncdaemon.stream import verdict
from tests.support import runbook
from tests.support.runbook import ROOT

# What may stand in a block that no test runs: what needs a cluster or systemd, and what has tests of its own.
LOGGED = {  # events of the log
    *{"bucket_changed", "bucket_created", "bucket_not_seen", "bucket_not_tidied", "upload_begun_again"}
}
UNRUN = {"kubectl", "make", "scripts/measure_backlog_drain.sh", "export", "systemctl", "journalctl", "set"}


def first_words(line: str) -> list[str]:
    """The words of a command without the variables that are set before it."""
    words = shlex.split(line)
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    return words


def test_every_block_says_whether_it_can_be_run() -> None:
    """What is not marked is of a kind that can't be run here; so no command is checked by nobody."""
    assert {block.language for block in runbook.blocks()} == {"sh"}
    unrun = [line for block in runbook.blocks() if not block.runs for line in block.text.splitlines()]
    assert [line for line in unrun if first_words(line)[0] not in UNRUN] == []
    assert sum(block.runs for block in runbook.blocks()) > 20


def test_every_link_leads_to_a_section() -> None:
    """Within the page."""
    anchors = {runbook.anchor(title) for title in runbook.titles()}
    links = set(re.findall(r"\]\(#([^)]*)\)", runbook.PAGE))
    assert links
    assert links - anchors == set()


def test_every_target_script_and_file_is_there() -> None:
    """In commands and in the text."""
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {words[1] for line in runbook.commands() if (words := first_words(line))[0] == "make"}
    assert (asked | set(re.findall(r"`make ([a-z-]+)", runbook.PAGE))) - targets == set()
    named = set(re.findall(r"[`\s]((?:scripts|k8s|docs)/[\w./-]*)", runbook.PAGE))
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
    assert os.access(ROOT / "scripts/measure_backlog_drain.sh", os.X_OK)


def test_every_setting_is_one() -> None:
    """By its name."""
    named = set(re.findall(r"\b(?:SYNC|EDGE)_[A-Z_]*[A-Z]\b|\bNATS_URL\b", runbook.PAGE)) - {"EDGE_TRY_PORT"}
    assert named - set(VARIABLES) == set()


def test_every_command_of_ours_is_one() -> None:
    """`syncdaemon X`, in commands and in the text."""
    known = {command.callback.__name__ for command in app.registered_commands if command.callback}
    known |= {group.name for group in app.registered_groups if group.name}
    named = set(re.findall(r"(?<![\w/])syncdaemon ([a-z]+)\b", "\n".join(runbook.commands())))
    named |= set(re.findall(r"`syncdaemon ([a-z]+)[ `]", runbook.PAGE))
    assert named >= {"status", "doctor", "verify", "quarantine"}
    assert named - known == set()


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    """In the chapter of that name."""
    rules = yaml.safe_load((ROOT / "k8s/components/monitoring/rules.yaml").read_text())
    alerts = [rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
    chapter = re.search(r"^## Alerts$(.*?)^## ", runbook.PAGE, re.MULTILINE | re.DOTALL)
    assert chapter
    assert sorted(re.findall(r"^### (.+)$", chapter[1], re.MULTILINE)) == sorted(
        set(alerts)
    )  # some fire with two severities


def source(part: str) -> str:
    """All code of a module or a package."""
    paths = (ROOT / "services/syncdaemon").glob(f"{part}*")
    return "".join(file.read_text() for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path]))


def explained(section: str) -> set[str]:
    """What stands alone, or with others, at the beginning of a row in this section."""
    text = re.split(rf"^### {section}$", runbook.PAGE, flags=re.MULTILINE)[1].partition("\n##")[0]
    return {name for row in re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}


def test_every_check_of_healthz_is_explained() -> None:
    """One row each."""
    checks = set(re.findall(r'"(\w+)": Check\(', source("daemon/report")))
    assert len(checks) > 5
    assert explained("The queue stands still") == checks


def test_every_reason_why_the_bucket_takes_nothing_is_explained() -> None:
    """Those of the bucket and of an upload; the others are the stream's too."""
    reasons = set(re.findall(r'"((?:bucket|upload)_[a-z_]+)"', source("publish/objects"))) - LOGGED
    assert len(reasons) > 5
    assert reasons <= explained("LargeFilesStalled") <= reasons | {"account_limit", "server_storage_full"}


def test_every_reason_for_quarantine_is_explained() -> None:
    """Each is given where a file is refused."""
    given = source("publish") + source("publish/objects") + source("spool")
    reasons = set(re.findall(r'Refusal\(\s*\w+(?:\.\w+)?, "(\w+)"', given)) | set(verdict._REFUSE.values())
    assert reasons >= {"too_large", "unreadable", "subject_taken"}
    assert explained("EvidenceQuarantined") == reasons
