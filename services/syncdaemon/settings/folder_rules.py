"""The file of SYNC_RULES."""

from __future__ import annotations

from pathlib import Path

from syncdaemon.base.errors import SettingsError
from syncdaemon.base.printable import printable
from syncdaemon.base.rules import BadRules, Rules, parse

_LARGEST = 256 << 10  # bytes


def read_rules(file: Path | None) -> Rules:
    """The rules of this file; none without one. Raises SettingsError, which names file, rule and key, or the line."""
    if file is None:
        return Rules()
    try:
        with file.open("rb") as opened:
            data = opened.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise BadRules(f"over {_LARGEST} bytes")
        return parse(data.decode())
    except OSError as error:
        raise SettingsError(f"SYNC_RULES: {printable(str(file))}: {error.strerror}") from None
    except (BadRules, UnicodeDecodeError) as error:
        raise SettingsError(f"SYNC_RULES: {printable(str(file))}: {printable(str(error))}") from None
