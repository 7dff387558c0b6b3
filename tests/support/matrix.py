"""The crash matrix: what `make torture` shows at its end, a row for each fault that was tried."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.audit import Audit

_PROPERTY = "crash matrix"
_HEAD = ("| fault | rounds | files | lost | doubled | longest recovery |", "|---|--:|--:|--:|--:|--:|")


class Matrix:
    """Writes the rows of a test into its report, which also comes from another process."""

    def __init__(self, record: Callable[[str, object], None]) -> None:
        self._record = record

    def add(self, fault: str, rounds: int, found: Audit, recovery: float) -> None:
        """A fault, how often it was done to how many files, what an audit found, and the longest recovery in seconds.

        Recovery: from the end of the fault to the next receipt, or to the last one where the test says so.
        """
        row = f"| {fault} | {rounds:,} | {found.files:,} | {found.lost} | {found.doubled} | {recovery:.1f} s |"
        self._record(_PROPERTY, row)


@pytest.fixture
def matrix(record_property: Callable[[str, object], None]) -> Matrix:
    """Where a torture test writes down what it did."""
    return Matrix(record_property)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the table below the results."""
    reports = [one for kind in ("passed", "failed") for one in terminalreporter.getreports(kind)]
    rows = [row for one in reports if one.when == "call" for name, row in one.user_properties if name == _PROPERTY]
    if rows:
        terminalreporter.section("crash matrix")
        for line in (*_HEAD, *rows):
            terminalreporter.write_line(str(line))
