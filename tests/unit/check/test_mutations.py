"""A changed ledger is found by what has to find it. `python -m tests.mutations` makes many more changes."""

from __future__ import annotations

from pathlib import Path

from tests.support.mutation_table import table


def test_every_change_is_found_by_what_has_to_find_it(tmp_path: Path) -> None:
    found = list(table(tmp_path / "ledger", 3))
    assert {line.mutation.kind: line.overlooked for line in found if line.overlooked or line.tried < 3} == {}
