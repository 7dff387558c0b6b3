"""Rules for folders: what each key says of a path, errors that name rule and key, and no name that takes long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.base.rules import MOST_FOLDERS, BadRules, Rules, Ruling, parse

RULES = """
[[rule]]
match = ["*.log", "!keep.log", "scratch/"]
leave = true

[[rule]]
match = ["/alarms/**"]
priority = 10
settle = 0
hold = 600.5

[[rule]]
match = ["alarms/*.log"]
leave = false
priority = -3
compress = "zstd"
"""


def test_for_each_key_the_last_rule_wins() -> None:
    rules = parse(RULES)
    assert rules.of(b"a.log") == Ruling(leave=True)
    assert rules.of(b"deep/keep.log") == Ruling()
    assert rules.of(b"x/scratch/a.bin") == Ruling(leave=True)
    assert rules.of(b"scratch") == Ruling()  # a file, and no folder
    assert rules.of(b"alarms/x/a.bin") == Ruling(priority=10, settle=0, hold=600.5)
    assert rules.of(b"alarms/a.log") == Ruling(leave=False, priority=-3, compress="zstd", settle=0, hold=600.5)
    assert [(reason.key, reason.rule) for reason in rules.why(b"alarms/a.log")] == [
        *(("leave", 3), ("priority", 3), ("compress", 3), ("settle", 2), ("hold", 2))
    ]
    assert rules.leaving(b"alarms/a.log") is None
    leaving = rules.leaving(b"a.log")
    assert leaving is not None
    assert (leaving.rule, leaving.globs) == (1, ("*.log", "!keep.log", "scratch/"))


def test_without_rules_nothing_is_said() -> None:
    assert not Rules()
    assert not parse("")
    assert Rules().of(b"a") == Ruling()


def test_a_name_that_is_no_text_is_matched_too() -> None:
    assert parse('[[rule]]\nmatch = ["\\u00e9*.log"]\nleave = true').of("\u00e9".encode() + b"\xff.log").leave
    assert parse('[[rule]]\nmatch = ["*.log"]\nleave = true').of(b"a\nb.log").leave


def rule(glob: str) -> str:
    return f"[[rule]]\nmatch = ['{glob}']\nleave = true"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[rule]\n", "line 1"),
        ("x = " + "9" * 5000, "no TOML"),
        ("x = 1\n[[rule]]", "'x' is not known"),
        ("rule = 7", r"begins with \[\[rule\]\]"),
        ("[rule]\nleave = true", r"begins with \[\[rule\]\]"),
        ("[[rule]]\nleave = true", "rule 1: match: has to be a list"),
        ("[[rule]]\nmatch = '*.a'\nleave = true", "rule 1: match: has to be a list"),
        ("[[rule]]\nmatch = []\nleave = true", "rule 1: match: has to be a list"),
        ("[[rule]]\nmatch = ['a']", "rule 1: it says nothing"),
        (rule("a") + "\n[[rule]]\nmatch = ['a']\nleaves = true", "rule 2: leaves: no such key"),
        ("[[rule]]\nmatch = ['a']\nleave = 1", "rule 1: leave: 1 is not true or false"),
        ("[[rule]]\nmatch = ['a']\npriority = 11", "rule 1: priority: 11 is not a whole number"),
        ("[[rule]]\nmatch = ['a']\npriority = true", "rule 1: priority: True"),
        ("[[rule]]\nmatch = ['a']\nsettle = -1", "rule 1: settle: -1"),
        ("[[rule]]\nmatch = ['a']\nhold = nan", "rule 1: hold: nan"),
        ("[[rule]]\nmatch = ['a']\nhold = inf", "rule 1: hold: inf"),
        ("[[rule]]\nmatch = ['a']\ncompress = ['zstd']", "rule 1: compress"),
        (rule("[z-a]"), "no glob"),
        (rule("!"), "no glob"),
        (rule("#x"), "can't match anything"),
        (rule("["), "can't match anything"),
        (rule("*a*b*"), "at most 4 stars, and 2 between"),
        (rule("*a*/*a*/*a*"), "at most 4 stars"),
        (rule("a***b"), r"\* and \*\*"),
        (rule("x" * 256), "255 characters"),
        (rule("a") * 0 + "\n".join([rule("a")] * 101), "101 rules"),
    ],
)
def test_an_error_names_the_rule_and_the_key(text: str, words: str) -> None:
    with pytest.raises(BadRules, match=words):
        parse(text)


@given(st.text(max_size=200))
def test_any_text_is_rules_or_an_error(text: str) -> None:
    for one in (text, f"[[rule]]\nmatch = [{text!r}]\nleave = true"):
        try:
            parse(one)
        except BadRules:
            continue


NAMES = [b"a" * 250 + b"c", b"/".join([b"a" * 250] * 4), b"/".join([b"a"] * MOST_FOLDERS), b"/".join([b"a" * 15] * 64)]


@pytest.mark.parametrize("glob", ["*a*b", "**/*a*b", "*a*/*a*b", "**/a/**/a/**/b", "**/a*/**/b", "a?*a?*b", "*/*/*/*b"])
def test_no_name_takes_long(glob: str) -> None:
    """The worst names that producers can make, by the worst globs that are taken. A long path is not matched at all."""
    rules = parse(rule(glob))
    began = time.process_time()
    for path in NAMES:
        rules.of(path)
    assert time.process_time() - began < 5.0
    assert rules.of(b"a/" * (MOST_FOLDERS + 1) + b"b") == Ruling()
    assert rules.of(b"b/" * 600) == Ruling()
