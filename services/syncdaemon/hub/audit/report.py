"""What an auditor has to say of all sites, for its metrics, its pages and its exit code. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple


class SiteReport(NamedTuple):
    """What is known of a site. `conflict`: why a person must look at it; empty: nothing."""

    name: str
    origin: str = ""
    rows: int = 0
    heard: int = 0
    voice: str = "heard"
    conflict: str = ""
    unchecked: int = 0


class AuditReport(NamedTuple):
    """What is known now. `last_round`: seconds since 1970; `refused`: by site and reason, since the start.

    `witnesses`: by witness and site, why there is no signature.
    `trouble`: why the newest round did not end well; empty where it did.
    """

    link_up: bool
    last_round: float
    read_to: int
    sites: Sequence[SiteReport]
    refused: Mapping[tuple[str, str], int]
    trouble: str = ""
    witnesses: Mapping[tuple[str, str], str] = MappingProxyType({})

    def findings(self) -> Iterator[str]:
        """What is not as it should be, a line each."""
        for site in self.sites:
            if site.conflict:
                yield f"{site.name}: {site.conflict}"
            if site.voice == "silent":
                yield f"{site.name}: silent: no checkpoint for over a day, and no messages either"
            if site.voice == "withheld":
                yield f"{site.name}: withheld: its messages come, and no checkpoint that covers them"
        for (name, reason), count in sorted(self.refused.items()):
            yield f"{name or 'sites without a pin'}: {count} messages refused: {reason}"
        for (witness, name), why in sorted(self.witnesses.items()):
            yield f"{name}: not cosigned by the witness {witness}: {why}"
        if self.trouble:
            yield self.trouble

    def status(self) -> dict[str, Any]:
        """As the page `/status` shows it."""
        return {
            "read_to": self.read_to,
            "last_round": self.last_round,
            "trouble": self.trouble,
            "sites": {site.name: {**site._asdict()} for site in self.sites},
            "refused": [
                {"site": name, "reason": reason, "messages": count} for (name, reason), count in self.refused.items()
            ],
        }
