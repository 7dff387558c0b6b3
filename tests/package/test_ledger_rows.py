"""The page of internals and the code agree about the ledger's rows: every event, every field."""

from __future__ import annotations

import re
from pathlib import Path

from syncdaemon.ledger.rows import OWN, RECEIPTS, SCHEMA

PAGE = (Path(__file__).parents[2] / "docs" / "INTERNALS.md").read_text()
SECTION = PAGE.partition("## The ledger's rows\n")[2].partition("\n## ")[0]
TABLE = [line.split("|")[1:-1] for line in SECTION.splitlines() if line.startswith("| `")]


def names(cell: str) -> list[str]:
    """The names in a cell, which holds nothing else."""
    found = re.findall(r"`(\w+)`", cell)
    assert cell.split() == [f"`{name}`" for name in found], cell
    return found


def test_the_table_has_every_event_once() -> None:
    assert sorted(name for row in TABLE for name in names(row[0])) == sorted(SCHEMA)


def test_the_table_has_every_field_of_every_event() -> None:
    """Apart, those that every such row has and those that some have."""
    told = {names(row[0])[0]: (set(names(row[1])), set(names(row[2]))) for row in TABLE}
    assert told == {event: (set(schema.required), set(schema.optional)) for event, schema in SCHEMA.items()}


def test_the_table_says_which_rows_are_receipts() -> None:
    assert {names(row[0])[0] for row in TABLE if row[3].startswith(" a receipt: ")} == RECEIPTS


def test_the_fields_that_every_row_has() -> None:
    (told,) = re.findall(r"Every row has the fields ((?:`\w+` ?)+)\.", SECTION.replace("\n", " "))
    assert set(names(told)) == OWN.keys()
