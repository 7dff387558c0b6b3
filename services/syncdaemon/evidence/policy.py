"""Whose cosignatures are enough, as a C2SP tlog-policy file says it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Set
from typing import NamedTuple

from syncdaemon.evidence.notes import COSIGNER_KEY, LOG_KEY, VerifierKey
from syncdaemon.evidence.strict import MOST_BYTES, BadEvidence, decimal

NONE = "none"  # the quorum that needs nobody

_BLANKS = re.compile("[ \t]+")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")


class Witness(NamedTuple):
    """A cosigner whose word counts. `url`: where it takes checkpoints; empty where the file does not say."""

    name: str
    key: VerifierKey
    url: str


class WitnessGroup(NamedTuple):
    """Counts as a cosigner where so many of its members have cosigned."""

    needed: int
    members: tuple[str, ...]


class Policy(NamedTuple):
    """`logs`: those that are accepted; empty: any. `quorum`: the name that must have cosigned."""

    logs: tuple[VerifierKey, ...]
    witnesses: tuple[Witness, ...]
    groups: Mapping[str, WitnessGroup]
    quorum: str

    @classmethod
    def parse(cls, data: bytes) -> Policy:
        """The policy in a file. Raises BadEvidence, whose text names the line."""
        if len(data) > MOST_BYTES:
            raise BadEvidence(f"the policy has over {MOST_BYTES} bytes")
        text = data.decode(errors="surrogateescape")
        if _CONTROL.search(text):
            raise BadEvidence("the policy has a control character")
        if text and not text.endswith("\n"):
            raise BadEvidence("the last line of the policy does not end with a newline")
        reader = _Reader()
        for number, line in enumerate(text.split("\n"), 1):
            words = [word for word in _BLANKS.split(line) if word]
            if words and not words[0].startswith("#"):
                try:
                    reader.take(words)
                except BadEvidence as error:
                    raise BadEvidence(f"policy, line {number}: {error}") from None
        if not reader.quorum:
            raise BadEvidence("the policy has no quorum line")
        return cls(tuple(reader.logs), tuple(reader.witnesses), reader.groups, reader.quorum)

    @property
    def asks_nobody(self) -> bool:
        """Whether the policy is content without any cosignature."""
        return self.quorum == NONE

    def holds(self, cosigned: Set[str]) -> bool:
        """Whether the quorum is there when the witnesses of these names have cosigned."""
        return self.asks_nobody or self._counts(self.quorum, cosigned)

    def _counts(self, name: str, cosigned: Set[str]) -> bool:
        """Members stand above their group in the file, so this ends."""
        group = self.groups.get(name)
        if group is None:
            return name in cosigned
        return sum(self._counts(member, cosigned) for member in group.members) >= group.needed


class _Reader:
    """What the lines of a policy have said so far."""

    def __init__(self) -> None:
        self.logs: list[VerifierKey] = []
        self.witnesses: list[Witness] = []
        self.groups: dict[str, WitnessGroup] = {}
        self.quorum = ""
        self._members: set[str] = set()

    def take(self, words: list[str]) -> None:
        """Raises BadEvidence where a line can't be."""
        takers: dict[str, Callable[[list[str]], None]] = {
            "log": self._log,
            "witness": self._witness,
            "group": self._group,
            "quorum": self._quorum,
        }
        if words[0] not in takers:
            raise BadEvidence("a line is a log, a witness, a group or the quorum")
        takers[words[0]](words[1:])

    def _log(self, words: list[str]) -> None:
        if len(words) not in (1, 2):
            raise BadEvidence("a log has a vkey and perhaps a URL")
        key = VerifierKey.parse(words[0], LOG_KEY)
        self._must_be_new(key)
        self.logs.append(key)

    def _witness(self, words: list[str]) -> None:
        if len(words) not in (2, 3):
            raise BadEvidence("a witness has a name, a vkey and perhaps a URL")
        name, vkey, url = (*words, "")[:3]
        key = VerifierKey.parse(vkey, COSIGNER_KEY)
        self._must_be_free(name)
        self._must_be_new(key)
        self.witnesses.append(Witness(name, key, url))

    def _group(self, words: list[str]) -> None:
        if len(words) < 3:
            raise BadEvidence("a group has a name, a number (or all, or any) and members")
        name, needed, *members = words
        self._must_be_free(name)
        for member in members:
            if member == NONE or not self._is_defined(member):
                raise BadEvidence(f"the member {member} is not defined above")
            if member in self._members:
                raise BadEvidence(f"{member} is a member twice")
            self._members.add(member)
        numbers = {"any": 1, "all": len(members)}
        count = numbers[needed] if needed in numbers else decimal(needed, "number of a group")
        if not 1 <= count <= len(members):
            raise BadEvidence(f"the group has {len(members)} members, and needs {count}")
        self.groups[name] = WitnessGroup(count, tuple(members))

    def _quorum(self, words: list[str]) -> None:
        if len(words) != 1:
            raise BadEvidence("the quorum is one name")
        if self.quorum:
            raise BadEvidence("there is a second quorum")
        if words[0] != NONE and not self._is_defined(words[0]):
            raise BadEvidence(f"{words[0]} is not defined above")
        self.quorum = words[0]

    def _must_be_free(self, name: str) -> None:
        if name == NONE or self._is_defined(name):
            raise BadEvidence(f"the name {name} is taken")

    def _must_be_new(self, key: VerifierKey) -> None:
        """One key under two names would count twice; and no log is its own witness."""
        if any(key.public == other.public for other in self._keys()):
            raise BadEvidence(f"the key of {key.name} stands in the policy already")

    def _keys(self) -> Iterator[VerifierKey]:
        yield from self.logs
        yield from (witness.key for witness in self.witnesses)

    def _is_defined(self, name: str) -> bool:
        return name in self.groups or any(witness.name == name for witness in self.witnesses)
