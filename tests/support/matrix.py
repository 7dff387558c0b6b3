"""The crash matrix: what `make torture` shows at its end, a row for each fault that was tried."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.support.audit import Audit

_ROWS = pytest.StashKey[list[str]]()
_HEAD = ("| fault | rounds | files | lost | doubled | longest recovery |", "|---|--:|--:|--:|--:|--:|")


@dataclass
class Matrix:
    """Collects the rows of a run."""

    rows: list[str]

    def add(self, fault: str, rounds: int, found: Audit, recovery: float) -> None:
        """A fault, how often it was done to how many files, what an audit found, and the longest recovery in seconds.

        Recovery: from the end of the fault to the next receipt, or to the last one where the test says so.
        """
        self.rows.append(
            f"| {fault} | {rounds:,} | {found.files:,} | {found.lost} | {found.doubled} | {recovery:.1f} s |"
        )


@pytest.fixture(scope="session")
def matrix(pytestconfig: pytest.Config) -> Matrix:
    """Where torture tests write down what they did."""
    return Matrix(pytestconfig.stash.setdefault(_ROWS, []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the table below the results."""
    if rows := config.stash.get(_ROWS, []):
        terminalreporter.section("crash matrix")
        for line in (*_HEAD, *rows):
            terminalreporter.write_line(line)
