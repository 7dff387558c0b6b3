"""The names of logs, and what an auditor keeps to know one by: its key and the part of its name that stays. Pure.

An origin is `<base>/<site>/<log id>`. The log id is known when the ledger has its first row, so it is not in a pin.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import NamedTuple

from syncdaemon.evidence import ed25519
from syncdaemon.evidence.notes import LOG_KEY, MOST_NAME_BYTES, VerifierKey, check_name
from syncdaemon.evidence.strict import BadEvidence, base64_bytes, base64_text

_LOG_ID_DIGITS = 16
_LOG_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)
_SITE = re.compile(r"[a-z0-9-]{1,63}", re.ASCII)


def log_id(first_row: bytes) -> str:
    """The log's id: the first 16 hexadecimal digits of the SHA-256 of row 1, its line without the newline."""
    return sha256(first_row).hexdigest()[:_LOG_ID_DIGITS]


def is_log_id(text: str) -> bool:
    """Whether a log can have this id."""
    return bool(_LOG_ID.fullmatch(text))


class LogOrigin(NamedTuple):
    """The name of a site's log: what stands in the first line of its checkpoints, and is the name of its key."""

    base: str
    site: str
    log_id: str

    def __str__(self) -> str:
        return f"{self.base}/{self.site}/{self.log_id}"

    @classmethod
    def parse(cls, text: str) -> LogOrigin:
        """Raises BadEvidence where a site's log can't have this name."""
        base, _, log = check_name(text).rpartition("/")
        base, _, site = base.rpartition("/")
        if not base or not _SITE.fullmatch(site) or not is_log_id(log):
            raise BadEvidence(f"{text} is not the name of a site's log: <base>/<site>/<log id>")
        return cls(base, site, log)


class Pin(NamedTuple):
    """What an auditor keeps of a site. `place`: `<base>/<site>`."""

    public: bytes
    place: str

    def __str__(self) -> str:
        return f"{base64_text(self.public)} {self.place}"

    @classmethod
    def parse(cls, text: str) -> Pin:
        """Raises BadEvidence where this is not what `syncdaemon key pin` prints."""
        key, _, place = text.partition(" ")
        public = base64_bytes(key, "public key in the pin")
        if len(public) != ed25519.PUBLIC_BYTES:
            raise BadEvidence(f"the public key in the pin has {len(public)} bytes, not {ed25519.PUBLIC_BYTES}")
        base, _, site = check_name(place).rpartition("/")
        if not base or not _SITE.fullmatch(site):
            raise BadEvidence("a pin ends with <origin base>/<site>")
        return cls(public, place)

    def key(self, origin: LogOrigin) -> VerifierKey:
        """The key of this log, which must be of the pinned site. Raises BadEvidence."""
        if f"{origin.base}/{origin.site}" != self.place:
            raise BadEvidence(f"the checkpoint is of {origin}, the pin is for {self.place}")
        return VerifierKey(str(origin), LOG_KEY, self.public)


LONGEST_BASE = MOST_NAME_BYTES - len("/" + "s" * 63 + "/") - _LOG_ID_DIGITS
"""Bytes of the longest base that leaves room for any site."""
