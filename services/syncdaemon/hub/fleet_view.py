"""What the page of all sites shows: the lines that have changed since it asked before, and all of one site. Pure."""

from __future__ import annotations

from typing import Any

from syncdaemon.hub.fleet import STATES, Fleet, FleetSite

_COLUMNS = ("name", "state", "seen", "queue", "bps", "oldest", "days", "quarantined", "version", "checkpoint", "plot")


def lines(fleet: Fleet, since: int, now: float) -> dict[str, Any]:
    """The sites that have changed since the change of that number; `whole`: these are all, the page begins anew."""
    whole = since <= 0 or since > fleet.changes or since < fleet.shrunk
    changed = [_line(fleet, known) for known in fleet if whole or known.changed > since]
    return {
        "change": fleet.changes,
        "whole": whole,
        "now": round(now),
        "states": STATES,
        "columns": _COLUMNS,
        "sites": changed,
    }


def _line(fleet: Fleet, known: FleetSite) -> list[Any]:
    status, checkpoint = known.status, fleet.checkpoints.get(known.name)
    days = known.days_left()
    return [
        known.name,
        STATES.index(known.state),
        round(known.seen),
        status.queue_depth,
        status.bandwidth_bps,
        status.oldest_file_age,
        None if days is None else round(days, 1),
        status.quarantined_files,
        status.version,
        None if checkpoint is None else checkpoint.rows,
        list(known.plot),
    ]


def whole_site(fleet: Fleet, name: str) -> dict[str, Any] | None:
    """The last full status of a site; None where there is no such site."""
    known = fleet.get(name)
    if known is None:
        return None
    checkpoint = fleet.checkpoints.get(name)
    told = known.status._asdict() if known.seen else {}
    at_hub = {} if checkpoint is None else {"checkpoint_rows": checkpoint.rows, "checkpoint_stored_at": checkpoint.at}
    return {
        "site": name,
        "state": known.state,
        "last_seen": known.seen,
        "due": known.due(),
        "hub": at_hub,
        "told": told,
    }
