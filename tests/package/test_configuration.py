"""docs/CONFIGURATION.md and the settings tell the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from syncdaemon.base.errors import SettingsError
from syncdaemon.settings.given import gather
from syncdaemon.settings.table import VARIABLES
from syncdaemon.settings.values import Settings

PAGE = (Path(__file__).parents[2] / "docs/CONFIGURATION.md").read_text(encoding="utf-8")
IN_WORDS = {"SITE": "the host's name"}
PARTNERS = {
    "SYNC_CHECKPOINT_KEY": {"SYNC_CHECKPOINT_ORIGIN": "edge.example.com"},
    "NATS_USER": {"NATS_PASSWORD": "x"},
    "NATS_PASSWORD": {"NATS_USER": "x"},
    "NATS_TLS_CERT": {"NATS_TLS_KEY": "x"},
    "NATS_TLS_KEY": {"NATS_TLS_CERT": "x"},
}


class Row(NamedTuple):
    variable: str
    default: str
    meaning: str
    example: str
    who: str


def rows() -> list[Row]:
    lines = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| `")]
    return [Row(*(cell.strip() for cell in cells)) for cells in lines]


def bare(cell: str) -> str:
    return cell.strip("`")


def test_every_setting_has_one_row() -> None:
    assert sorted(bare(row.variable) for row in rows()) == sorted(VARIABLES)


def test_every_default_is_the_real_one() -> None:
    real = {row.variable: row.value or "not set" for row in gather({}, {}, {}).shown()} | IN_WORDS
    assert {bare(row.variable): bare(row.default) for row in rows()} == real


def test_no_other_setting_is_named() -> None:
    named = set(re.findall(r"\b(?:SYNC|NATS|EDGE)_[A-Z][A-Z_]*[A-Z]\b", PAGE))
    assert named <= set(VARIABLES)


@pytest.mark.parametrize("row", rows(), ids=lambda row: bare(row.variable))
def test_every_example_is_legal_and_every_cell_is_filled(row: Row) -> None:
    variable = bare(row.variable)
    Settings.load({}, {variable: bare(row.example), **PARTNERS.get(variable, {})}, {})
    assert all(row)


def test_the_sample_dotenv_is_legal() -> None:
    sample = re.search(r"```sh\n(SITE=.*?)```", PAGE, re.DOTALL)
    assert sample
    given = dict(line.split("=", 1) for line in sample[1].splitlines())
    loaded = Settings.load({}, {}, given)
    assert {name for name, source in loaded.sources.items() if source == ".env"} == set(given)


def test_the_sample_error_is_the_real_one() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load({}, {"SYNC_MIN_FREE_BYTES": "64MB"}, {})
    assert f"```\nsyncdaemon: {caught.value}\n```" in PAGE
