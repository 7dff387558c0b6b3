"""The stream `edge_fleet`: the newest word of each site on how it is. Pure."""

from __future__ import annotations

from typing import Any

from syncdaemon.stream.records import FLEET, kept

_BEGIN = "edge.status."


def status_subject(site: str) -> str:
    """Where a site tells how it is; `*` for any site."""
    return _BEGIN + site


def site_of_status(subject: str) -> str:
    """The site that told this, by the subject alone; empty where it is no such subject."""
    site = subject.removeprefix(_BEGIN)
    return "" if site == subject or "." in site else site


def own_fleet() -> dict[str, Any]:
    """The stream as a daemon makes it on a server that no hub's owner has prepared: for any site."""
    limits = {"max_age": 0, "max_bytes": -1, "max_msgs": -1, "max_consumers": -1}
    fixed = {"name": FLEET, "subjects": [status_subject("*")], "retention": "limits", "storage": "file"}
    return {**fixed, **limits, "allow_direct": True, **kept(FLEET)}
