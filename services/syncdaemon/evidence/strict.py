"""How the parts of a text that somebody else wrote are read: one spelling for each value, and a limit for everything.

Pure. What has a second spelling could be read in two ways, and then two tools would not agree on what was signed.
"""

from __future__ import annotations

import base64
import re

from syncdaemon.base.errors import SyncError

MOST_BYTES = 64 << 10  # of a note, a proof or a policy
MOST_NUMBER = (1 << 63) - 1
HASH_BYTES = 32

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")


class BadEvidence(SyncError):
    """A note, a proof, a key or a policy is not what it must be; the text says why."""


def text_of(data: bytes, what: str) -> str:
    """The text that these bytes are: UTF-8, with no control character but the newline. Raises BadEvidence.

    `what` names it in the error.
    """
    if len(data) > MOST_BYTES:
        raise BadEvidence(f"the {what} has over {MOST_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BadEvidence(f"the {what} is not UTF-8") from None
    if _CONTROL.search(text):
        raise BadEvidence(f"the {what} has a control character")
    return text


def decimal(text: str, what: str) -> int:
    """The number from 0 to 2^63 - 1 that this text is, without sign, blanks or leading zeros. Raises BadEvidence."""
    if not _DECIMAL.fullmatch(text) or (number := int(text)) > MOST_NUMBER:
        raise BadEvidence(f"the {what} is no decimal number from 0 to 2^63 - 1")
    return number


def base64_bytes(text: str, what: str) -> bytes:
    """The bytes of this standard base64 with its padding, in the one spelling they have. Raises BadEvidence."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError are some
        raise BadEvidence(f"the {what} is not base64") from None
    if base64_text(data) != text:
        raise BadEvidence(f"the {what} is base64 in another than its one spelling")
    return data


def hash_bytes(text: str, what: str) -> bytes:
    """As `base64_bytes`, for the 32 bytes of a SHA-256. Raises BadEvidence."""
    data = base64_bytes(text, what)
    if len(data) != HASH_BYTES:
        raise BadEvidence(f"the {what} has {len(data)} bytes, a SHA-256 has {HASH_BYTES}")
    return data


def base64_text(data: bytes) -> str:
    """Standard base64 with its padding (RFC 4648, section 4)."""
    return base64.b64encode(data).decode()
