"""Rules for folders: what is left alone, what goes first, and what differs from the settings. Globs as in gitignore.

For each key the last rule that matches a path wins, as in gitignore. This is the only module that calls pathspec.

Producers choose names, and a glob with many stars can take hours for a name that is made for it. So the stars of a glob
and the length of a path are bounded: what they allow takes less than a millisecond.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

MOST_RULES, MOST_GLOBS = 100, 400
LONGEST_GLOB = 255  # characters
LONGEST_PATH, MOST_FOLDERS = 1_024, 64
"""Bytes of a path, and folders in it: no rule takes a longer one, which is delivered by the settings alone."""

_IN_A_NAME, _IN_ALL = 2, 4  # stars; two beside each other count as one
_STARS = re.compile(r"\*+")


class BadRules(ValueError):
    """The rules can't be taken. The text names the rule and the key, or the line."""


class Ruling(NamedTuple):
    """What the rules say of one path. None: nothing, so the settings hold. `settle` and `hold` in seconds."""

    leave: bool = False
    priority: int = 0
    compress: str | None = None
    settle: float | None = None
    hold: float | None = None


class Reason(NamedTuple):
    """Why a key has its value: the number of the rule that has the last word, and its globs."""

    key: str
    value: object
    rule: int
    globs: tuple[str, ...]


class Rule(NamedTuple):
    """One rule. `number`: from 1. `takes` tells whether it is about a path."""

    number: int
    globs: tuple[str, ...]
    takes: Callable[[str], bool]
    values: Mapping[str, Any]


class Rules:
    """All rules, in their order. Without any, nothing is asked of a path."""

    def __init__(self, rules: tuple[Rule, ...] = ()) -> None:
        self._rules = rules
        self._keys = {key for rule in rules for key in rule.values}

    def __bool__(self) -> bool:
        return bool(self._rules)

    def has(self, key: str) -> bool:
        """Whether any rule says something of this."""
        return key in self._keys

    def of(self, path: bytes) -> Ruling:
        """What they say of the file at this path."""
        return Ruling(**{reason.key: reason.value for reason in self.why(path)}) if self._rules else _NOTHING  # type: ignore[arg-type]

    def why(self, path: bytes) -> list[Reason]:
        """What they say, and which rule each."""
        if not self._rules or is_too_long(path):
            return []
        text = path.decode("utf-8", "surrogateescape")
        found: dict[str, Reason] = {}
        for rule in self._rules:
            if rule.takes(text):
                for key, value in rule.values.items():
                    found[key] = Reason(key, value, rule.number, rule.globs)
        return [found[key] for key in Ruling._fields if key in found]

    def leaving(self, path: bytes) -> Reason | None:
        """The rule by which the file at this path is left alone; None: it is delivered."""
        if not self.has("leave"):
            return None
        return next((reason for reason in self.why(path) if reason.key == "leave" and reason.value), None)

    def priority(self, path: bytes) -> int:
        """The greater goes first."""
        return self.of(path).priority if self.has("priority") else 0


_NOTHING = Ruling()


class RulesInForce:
    """The rules that hold now. They can be replaced while the process runs."""

    def __init__(self, rules: Rules) -> None:
        self.now = rules

    def leaves(self, path: bytes) -> bool:
        """Whether the file at this path is left alone now."""
        return self.now.leaving(path) is not None

    def quiet(self, path: bytes, usual: float) -> float:
        """The quiet seconds of the file at this path now."""
        ruled = self.now.of(path).settle if self.now else None
        return usual if ruled is None else ruled

    def held(self, path: bytes, usual: float) -> float:
        """The seconds for which the file at this path is held, once it is delivered."""
        ruled = self.now.of(path).hold
        return usual if ruled is None else ruled

    def has(self, key: str) -> bool:
        """Whether any rule says something of this now."""
        return self.now.has(key)

    def priority(self, path: bytes) -> int:
        """That of the file at this path now."""
        return self.now.priority(path)


def is_too_long(path: bytes) -> bool:
    """Whether no rule takes this path, for its length."""
    return len(path) > LONGEST_PATH or path.count(b"/") > MOST_FOLDERS


def parse(text: str) -> Rules:
    """Reads the rules. Raises BadRules."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError among them, and numbers of thousands of digits
        raise BadRules(f"no TOML: {error}") from None
    if unknown := sorted(document.keys() - {"rule"}):
        raise BadRules(f"{unknown[0]!r} is not known here; each rule begins with [[rule]]")
    tables = document.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise BadRules("each rule begins with [[rule]]")
    if len(tables) > MOST_RULES:
        raise BadRules(f"{len(tables)} rules; there may be {MOST_RULES}")
    rules = tuple(_rule(number, table) for number, table in enumerate(tables, 1))
    if (globs := sum(len(rule.globs) for rule in rules)) > MOST_GLOBS:
        raise BadRules(f"{globs} globs; there may be {MOST_GLOBS}")
    return Rules(rules)


def _rule(number: int, table: Mapping[str, Any]) -> Rule:
    where = f"rule {number}"
    if unknown := sorted(table.keys() - {"match", *Ruling._fields}):
        raise BadRules(f"{where}: {unknown[0]}: no such key; there are match, {', '.join(Ruling._fields)}")
    globs = table.get("match")
    if not isinstance(globs, list) or not globs or not all(isinstance(glob, str) for glob in globs):
        raise BadRules(f"{where}: match: has to be a list of globs")
    if len(table) == 1:
        raise BadRules(f"{where}: it says nothing but match")
    values = {}
    for key in Ruling._fields:
        if key in table:
            is_right, words = _KINDS[key]
            if not is_right(table[key]):
                raise BadRules(f"{where}: {key}: {table[key]!r} is not {words}")
            values[key] = table[key]
    return Rule(number, tuple(globs), _takes(where, globs), values)


def _takes(where: str, globs: list[str]) -> Callable[[str], bool]:
    from pathspec import GitIgnoreSpec

    for glob in globs:
        if wrong := "; ".join(_faults(glob)):
            raise BadRules(f"{where}: match: {glob[:80]!r}: {wrong}")
        try:
            (pattern,) = GitIgnoreSpec.from_lines([glob]).patterns
        except (ValueError, re.error):
            raise BadRules(f"{where}: match: {glob[:80]!r} is no glob of gitignore's") from None
        if pattern.include is None:
            raise BadRules(f"{where}: match: {glob[:80]!r} can't match anything")
    spec = GitIgnoreSpec.from_lines(globs)
    return spec.match_file


def _faults(glob: str) -> Iterator[str]:
    if len(glob) > LONGEST_GLOB or not glob.isprintable():
        yield f"a glob has at most {LONGEST_GLOB} characters, all of them printable"
    runs = _STARS.findall(glob)
    if len(runs) > _IN_ALL or any(len(_STARS.findall(name)) > _IN_A_NAME for name in glob.split("/")):
        yield f"a glob has at most {_IN_ALL} stars, and {_IN_A_NAME} between two slashes, or a name could take hours"
    if any(len(run) > 2 for run in runs):
        yield "there are * and **"


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LONGEST_SECONDS


_LONGEST_SECONDS = 10**9
_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "leave": (lambda value: isinstance(value, bool), "true or false"),
    "priority": (lambda value: type(value) is int and -10 <= value <= 10, "a whole number from -10 to 10"),
    "compress": (lambda value: value in ("none", "zstd"), "none or zstd"),
    "settle": (_is_seconds, "a number of seconds"),
    "hold": (_is_seconds, "a number of seconds"),
}
