"""The surfaces themselves: each holds for some cases, and what fails is found, said, and can be seen again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest

from tests.fuzz import engine, mutate
from tests.fuzz.__main__ import main, report
from tests.fuzz.engine import MOST_GROWTH, Found
from tests.fuzz.surface import Case, Surface
from tests.fuzz.surfaces import ALL


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


def test_memory_that_grows_is_found() -> None:
    """Only beyond what the first cases need, and only where it is kept, or needed at once."""
    kept: list[bytes] = []

    def greedy(random: Random) -> None:
        kept.append(random.randbytes(100_000))

    found = engine.run(planted(greedy), 2_500, 1)
    assert found.growth > MOST_GROWTH
    assert f"{MOST_GROWTH} are allowed" in found.trace


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
