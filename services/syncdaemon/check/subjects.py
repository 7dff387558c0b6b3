"""The subjects of a site, as its ledger names them: also those from before a setting was changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from syncdaemon.ledger.subjects import is_own, wildcard
from syncdaemon.stream.info import captured


class Subjects:
    """Wildcards for the subjects on which a site's messages lie, one for each form of SYNC_SUBJECT that it had.

    A duplicate's message may lie on another site's subject, in rows of older versions: those are not among them.
    """

    def __init__(self, site: str, subject: str) -> None:
        self._site = site
        self._known = [subject]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def add(self, row: Mapping[str, Any]) -> bool:
        """Whether the message of a receipt lies on one of them; a new one is taken up first."""
        subject = str(row["subject"])
        if captured(self._known, subject):
            return True
        if not is_own(row, self._site):
            return False
        self._known.append(wildcard(subject))
        return True
