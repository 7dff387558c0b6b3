"""The keys of the sites, as an auditor keeps them: a file with a line of `syncdaemon key pin` for each. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from syncdaemon.evidence.origins import Pin
from syncdaemon.evidence.strict import BadEvidence

Pins = Mapping[str, Pin]
"""By site."""


def site_of(pin: Pin) -> str:
    """The site of a pin."""
    return pin.place.rpartition("/")[2]


def read_pins(text: str) -> dict[str, Pin]:
    """The pins in this text. Empty lines, and those that begin with `#`, count for nothing.

    Raises BadEvidence, which names the line.
    """
    found: dict[str, Pin] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not (line := line.strip()) or line.startswith("#"):
            continue
        try:
            pin = Pin.parse(line)
        except BadEvidence as error:
            raise BadEvidence(f"line {number}: {error}") from None
        if site_of(pin) in found:
            raise BadEvidence(f"line {number}: the site {site_of(pin)} is there twice")
        if any(pin.public == other.public for other in found.values()):
            raise BadEvidence(f"line {number}: the key of {site_of(pin)} is another site's too")
        found[site_of(pin)] = pin
    if not found:
        raise BadEvidence("there is no pin in it; `syncdaemon key pin` at a site prints its own")
    return found
