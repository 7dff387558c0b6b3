"""Is my evidence safe? Only what the stream holds is, and behind a leaf node only what the hub holds."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.daemon import report
from syncdaemon.daemon.advice import ADVICE, in_words
from syncdaemon.daemon.answer import SafetyFacts, answer
from syncdaemon.web.views import Check
from syncdaemon.web.words import SAFE, TROUBLE, UNKNOWN, WAITING

WELL = SafetyFacts(
    publishes=True, scanned=True, link_up=True, waiting=0, settling=0, left=None, refused=0, unseen=0, blocked=""
)


@pytest.mark.parametrize(
    ("facts", "level", "word", "says"),
    [
        (WELL, SAFE, "Yes", "stored in the stream"),
        (WELL._replace(link_up=False), SAFE, "Yes", "stored in the stream"),
        (WELL._replace(waiting=3, left=90.0), WAITING, "Not yet", "3 files are on this machine alone, on the way"),
        (
            WELL._replace(waiting=1, settling=1),
            WAITING,
            "Not yet",
            "1 file is on this machine alone: still being written",
        ),
        (WELL._replace(waiting=3, link_up=False), WAITING, "Not yet", "the link is down"),
        (WELL._replace(waiting=3, blocked="the disk is full"), TROUBLE, "No", "nothing can be sent: the disk is full"),
        (WELL._replace(refused=1), TROUBLE, "No", "1 file was refused, and lies on this machine alone"),
        (WELL._replace(unseen=2), TROUBLE, "No", "can't be read"),
        (WELL._replace(scanned=False), UNKNOWN, "Not known", "looked through"),
        (WELL._replace(publishes=False), UNKNOWN, "Not known", "stands by"),
        (WELL._replace(leaf=True), UNKNOWN, "Not known", "not known yet"),
        (WELL._replace(leaf=True, lacks=12), WAITING, "Not yet", "Stored here; 12 not at the hub yet."),
        (WELL._replace(leaf=True, lacks=0), SAFE, "Yes", "at the hub"),
    ],
)
def test_the_sentence(facts: SafetyFacts, level: str, word: str, says: str) -> None:
    found = answer(facts)
    assert (found.level, found.word) == (level, word)
    assert says in found.text


counts = st.integers(0, 3)


@given(
    st.builds(
        SafetyFacts,
        publishes=st.booleans(),
        scanned=st.booleans(),
        link_up=st.booleans(),
        waiting=counts,
        settling=counts,
        left=st.none() | st.floats(0, 1e6),
        refused=counts,
        unseen=counts,
        blocked=st.sampled_from(["", "the stream is full"]),
        leaf=st.booleans(),
        lacks=st.none() | counts,
    )
)
def test_yes_is_said_only_where_nothing_is_on_this_machine_alone(facts: SafetyFacts) -> None:
    found = answer(facts)
    if found.level == SAFE or found.word == "Yes":
        assert facts.publishes
        assert facts.scanned
        assert (facts.waiting, facts.refused, facts.unseen) == (0, 0, 0)
        assert not facts.leaf or facts.lacks == 0
    assert found.text.endswith(".")


def test_every_check_of_health_has_words_and_something_to_do() -> None:
    tree = ast.parse(Path(report.__file__).read_text(encoding="utf-8"))
    (checks,) = (one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name == "checks")
    names = {
        key.value
        for one in ast.walk(checks)
        if isinstance(one, ast.Dict)
        for key in one.keys
        if isinstance(key, ast.Constant)
    }
    assert names == ADVICE.keys()


def test_what_is_not_well_stands_first() -> None:
    shown = in_words(
        {"link": Check(True, "the server answers"), "disks": Check(False, "full"), "new": Check(False, "?")}
    )
    assert [one[0] for one in shown] == ["disks", "new", "link"]
    assert [bool(one[4]) for one in shown] == [True, True, False]
