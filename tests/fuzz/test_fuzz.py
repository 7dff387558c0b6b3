"""The surfaces themselves: each holds for some cases, and what fails is found, said, and can be seen again."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import engine, mutate
from tests.fuzz.__main__ import main, report
from tests.fuzz.engine import MOST_GROWTH, Found
from tests.fuzz.surface import Case, Surface
from tests.fuzz.surfaces import ALL

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("surface", ALL, ids=lambda surface: surface.name)
def test_a_surface_holds(surface: Surface) -> None:
    """For a few cases, always the same: `make fuzz` runs many, and others every time."""
    with surface.ready() as case:
        for number in range(150):
            case(Random(number))


def test_every_surface_has_a_name_of_its_own() -> None:
    names = [surface.name for surface in ALL]
    assert len(set(names)) == len(names)


def planted(fault: Case) -> Surface:
    """A surface that has this fault."""

    @contextmanager
    def ready() -> Iterator[Case]:
        yield fault

    return Surface("planted", "a fault", ready)


def rare(random: Random) -> None:
    """Fails for one case in some hundred."""
    if random.random() < 0.005:
        raise LookupError("as planted")


def test_a_case_that_fails_is_found_and_fails_again(capsys: pytest.CaptureFixture[str]) -> None:
    found = engine.run(planted(rare), 20_000, 1)
    assert "as planted" in found.trace
    assert found.failed is not None
    with pytest.raises(LookupError):
        engine.repeat(planted(rare), found.failed)
    assert report([Found("good", 5, 1.0, 0.0), found]) == 1
    assert f"again: python -m tests.fuzz planted --case {found.failed}" in capsys.readouterr().out


def test_a_case_that_hangs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_CASE_SECONDS", 0.2)
    assert "TookTooLong" in engine.run(planted(lambda random: time.sleep(30)), 1, 1).trace


GREEDY = """
from contextlib import contextmanager
from tests.fuzz.engine import run
from tests.fuzz.surface import Surface

kept = []

@contextmanager
def ready():
    yield lambda random: kept.append(random.randbytes(100_000))

print(run(Surface("greedy", "", ready), 2_500, 1).trace)
"""


def test_memory_that_grows_is_found() -> None:
    """In a process of its own, as `make fuzz` runs each surface: what counts is the most that a process ever had."""
    done = subprocess.run([sys.executable, "-c", GREEDY], cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"{MOST_GROWTH} are allowed" in done.stdout


def test_as_many_cases_run_as_are_asked_for() -> None:
    seen: list[float] = []
    found = engine.run(planted(lambda random: seen.append(random.random())), 3_000, 1)
    assert found.good
    assert found.cases == len(seen) >= 3_000
    assert len(set(seen)) > 2_900


def test_where_all_held_the_exit_code_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert report([Found("good", 5, 1.0, 0.0)]) == 0
    assert "good     5      1        0         held" in capsys.readouterr().out


def test_a_case_needs_its_surface(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--case", "1"])
    assert ended.value.code == 2
    assert "name it" in capsys.readouterr().err


def test_the_same_number_makes_the_same_input() -> None:
    """So that a failure can be seen again."""
    valid = {"a": [1, {"b": "c"}]}
    first, second = ([mutate.spelled(Random(number), valid) for number in range(200)] for _ in range(2))
    assert first == second
    assert len(set(first)) > 100
