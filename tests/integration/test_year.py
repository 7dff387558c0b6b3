"""A year of one site, in little: `python -m benchmarks.year` has five million files."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.year import Year, of_the_profile, report

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(2400)]


def test_a_year_of_20_000_files_pauses_nowhere_and_nothing_grows(tmp_path: Path) -> None:
    """In 24 steps of half a month each; the stream lets go of what is a tenth of the year old."""
    year = Year(tmp_path, files=20_000, steps=24, rate=1_000, held=2_000, limits=of_the_profile())
    year.run()
    print(report(year))
    assert year.problems == []
    assert max(sample.messages for sample in year.samples) < 10_000, "messages leave by their age"
