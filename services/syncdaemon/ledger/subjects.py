"""On which subject a receipt's message lies. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from syncdaemon.ledger.rows import PUBLISHED

_DIGEST = re.compile(r"[0-9a-f]{64}")


def is_own(row: Mapping[str, Any], site: str) -> bool:
    """Whether a receipt lies on a subject of its site. A duplicate of an older version may lie on another site's."""
    return row["event"] == PUBLISHED or site in str(row["subject"]).split(".")


def wildcard(subject: str) -> str:
    """What stands for all subjects that the same SYNC_SUBJECT makes of digests."""
    return ".".join("*" if _DIGEST.fullmatch(token) else token for token in subject.split("."))
