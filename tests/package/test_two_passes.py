"""`make test` runs two passes: what it says at the end, and its exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/two_passes.sh"
PYTEST = """#!/bin/sh
echo "$@"
case "$*" in
    *"--last-failed"*) echo "1 failed in 1 s"; exit 1 ;;
    *"-m (not slow) and not alone --numprocesses=3 "*) echo "==== \033[32m20 tests\033[0m in 9 s ===="; exit {beside} ;;
    *"-m (not slow) and alone "*) echo "2 tests in 1 s"; exit {alone} ;;
esac
"""
PASSED, FAILED, INTERRUPTED, MISUSED, NO_TESTS = 0, 1, 2, 4, 5


@pytest.mark.parametrize(
    ("beside", "alone", "code", "last"),
    [
        (PASSED, PASSED, PASSED, "== passed. side by side: 20 tests in 9 s; alone: 2 tests in 1 s"),
        (FAILED, PASSED, FAILED, "== FAILED. side by side: 20 tests in 9 s; alone: 2 tests in 1 s"),
        (PASSED, FAILED, FAILED, "== FAILED. side by side: 20 tests in 9 s; alone: 2 tests in 1 s"),
        (PASSED, NO_TESTS, PASSED, "== passed. side by side: 20 tests in 9 s; alone: no tests"),
        (NO_TESTS, PASSED, PASSED, "== passed. side by side: no tests; alone: 2 tests in 1 s"),
        (NO_TESTS, FAILED, FAILED, "== FAILED. side by side: no tests; alone: 2 tests in 1 s"),
        (NO_TESTS, NO_TESTS, NO_TESTS, "== FAILED. side by side: no tests; alone: no tests"),
    ],
)
def test_it_fails_where_a_pass_fails_or_no_test_is_found(
    tmp_path: Path, beside: int, alone: int, code: int, last: str
) -> None:
    """The last line tells of both; a pass without any test is no failure where the other has one."""
    assert run(tmp_path, beside, alone) == (code, last)


@pytest.mark.parametrize("ended", [INTERRUPTED, MISUSED])
def test_what_ends_the_first_pass_early_ends_both(tmp_path: Path, ended: int) -> None:
    """The exit code is the first one's."""
    code, last = run(tmp_path, ended, PASSED)
    assert code == ended
    assert not last.startswith("== passed")


FLAKY = """
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range({broken}))
def test_broken(number):
    assert False

@pytest.mark.parametrize("number", range({flaky}))
def test_flaky(number, pytestconfig):
    before = pytestconfig.rootpath / f"before{{number}}"
    seen = before.exists()
    before.touch()
    assert seen

def test_sound():
    pass
"""


@pytest.mark.parametrize(
    ("flaky", "broken", "code", "says"),
    [
        (0, 0, PASSED, "== passed. side by side: 1 passed"),
        (3, 0, PASSED, "of which 3 PASSED ONLY THE SECOND TIME; alone: no tests"),
        (4, 0, FAILED, "== FAILED. side by side: 4 failed, 1 passed"),
        (1, 1, FAILED, "== FAILED. side by side: 2 failed, 1 passed"),
    ],
)
def test_a_few_failures_are_tried_once_more_and_counted(
    tmp_path: Path, flaky: int, broken: int, code: int, says: str
) -> None:
    """By pytest itself: more than three failures, and one that stays, fail the run."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = alone\n")
    (tmp_path / "test_it.py").write_text(FLAKY.format(flaky=flaky, broken=broken))
    command = [str(SCRIPT), "not slow", "0", sys.executable, "-m", "pytest", "-p", "no:cloudcoil", "-p", "no:randomly"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout
    assert says in done.stdout.splitlines()[-1]


def run(folder: Path, beside: int, alone: int) -> tuple[int, str]:
    """Exit code and last line, where the two passes end with these exit codes."""
    command = folder / "pytest"
    command.write_text(PYTEST.format(beside=beside, alone=alone))
    command.chmod(0o755)
    done = subprocess.run([SCRIPT, "not slow", "3", command, "-k", "x"], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()[-1]
