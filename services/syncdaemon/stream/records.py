"""The streams of what sites tell of themselves: their names, their subjects, and how they are kept. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CHECKPOINTS, COSIGNED, LEDGER, FLEET = "edge_checkpoints", "edge_cosigned", "edge_ledger", "edge_fleet"

READ_TO = "Edge-Read-To"
"""The header of a cosigned note that says up to which sequence of `CHECKPOINTS` the auditor has read."""

REBASED = "Edge-Rebased"
"""The header of a new log's first checkpoint: in base64, the proof of its first row, which names the log before."""

FOR_GOOD: Mapping[str, Any] = {"deny_delete": True, "deny_purge": True, "max_msgs_per_subject": 1}

_KEPT: Mapping[str, Mapping[str, Any]] = {
    CHECKPOINTS: {"discard": "old", "max_msgs_per_subject": 10_000},
    COSIGNED: {**FOR_GOOD, "discard": "old"},
    LEDGER: {**FOR_GOOD, "discard_new_per_subject": True},
    FLEET: {"discard": "old", "max_msgs_per_subject": 1},
}


def checkpoint_subject(site: str) -> str:
    """Where a site's checkpoints go."""
    return f"edge.checkpoint.{site}"


def cosigned_subject(site: str) -> str:
    """A wildcard: where the auditor publishes a site's cosigned notes, a subject a day."""
    return f"edge.cosigned.{site}.*"


def kept(name: str) -> dict[str, Any]:
    """How a stream of this name is kept, beside what all streams of a hub have in common.

    A mailbox of checkpoints; the anchor, of which a day's last note replaces the earlier ones; the ledger's days; the
    newest status.
    """
    return dict(_KEPT[name])
