"""The numbers of all sites for Prometheus, in its text format (version 0.0.4). Pure.

It is written here line by line: of ten thousand sites there are a hundred thousand samples, and as objects of
prometheus_client they would take more memory and time than all else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import inf, isinf

from syncdaemon.hub.fleet import Fleet, FleetSite

Value = Callable[[FleetSite, float], float]


def _told(known: FleetSite, _now: float) -> float:
    return known.status.queue_depth


def _bandwidth(known: FleetSite, now: float) -> float:
    return known.status.bandwidth_bps * known.link_status(now)


def _seen(known: FleetSite, _now: float) -> float:
    return known.seen


def _days(known: FleetSite, _now: float) -> float:
    days = known.status.replay_days_left
    return inf if days is None else days


def _ledger_days(known: FleetSite, _now: float) -> float:
    days = known.status.ledger_days_left
    return inf if days is None else days


def _quarantined(known: FleetSite, _now: float) -> float:
    return known.status.quarantined_files


def _conflict(known: FleetSite, _now: float) -> float:
    return int(known.status.checkpoint_conflict)


_LINK = ("edge_link_status", "1 while the site's words come in time", FleetSite.link_status)
_OF_TOLD: tuple[tuple[str, str, Value], ...] = (
    ("replay_queue_depth", "Files that wait at the site, as it told last", _told),
    (
        "edge_bandwidth_bps",
        "Bits a second of acknowledged payload; 0 for a silent site",
        _bandwidth,
    ),
    ("edge_site_last_seen_timestamp_seconds", "When the site's newest word came", _seen),
    (
        "edge_site_oldest_file_age_seconds",
        "Age of the site's oldest ready file",
        FleetSite.oldest_file_age,
    ),
    ("edge_site_replay_days_left", "Days until the replay directory's disk is full", _days),
    ("edge_site_ledger_days_left", "Days until the ledger's disk is full", _ledger_days),
    ("edge_site_quarantined_files", "Refused files that wait for the operator", _quarantined),
    (
        "edge_site_checkpoint_conflict",
        "1 where checkpoints of the site do not agree",
        _conflict,
    ),
)


def exposition(fleet: Fleet, now: float, *, link_up: bool, log_lost: int, version: str) -> bytes:
    """All series. `now`: up to when the hub has heard everything that sites said."""
    return "".join(_lines(fleet, now, link_up=link_up, log_lost=log_lost, version=version)).encode()


def _lines(fleet: Fleet, now: float, *, link_up: bool, log_lost: int, version: str) -> Iterator[str]:
    own = (
        ("edge_fleet_link_status", "gauge", "1 only while the hub's server answers", int(link_up)),
        ("edge_fleet_heard_timestamp_seconds", "gauge", "Up to when everything is heard that sites said", now),
        ("edge_fleet_refused_words_total", "counter", "Words of sites that could not be read", fleet.refused),
        ("edge_fleet_log_lines_dropped_total", "counter", "Lines of the log that found no room", log_lost),
    )
    for name, kind, about, value in own:
        yield f"# HELP {name} {about}\n# TYPE {name} {kind}\n{name} {value!r}\n"
    yield "# HELP edge_fleet_build_info The running version\n# TYPE edge_fleet_build_info gauge\n"
    yield f'edge_fleet_build_info{{version="{version}"}} 1\n'
    yield from _family(*_LINK, fleet, now)
    told = [known for known in fleet if known.seen]
    for family in _OF_TOLD:
        yield from _family(*family, told, now)
    yield from _head("edge_site_info", "The version that the site runs")
    for known in told:
        yield f'edge_site_info{{site="{known.name}",version="{_escaped(known.status.version)}",seen_by="hub"}} 1\n'
    yield from _checkpoints(fleet, now)


def _checkpoints(fleet: Fleet, now: float) -> Iterator[str]:
    found = fleet.checkpoints.items()
    yield from _head("edge_site_checkpoint_rows", "Rows that the newest checkpoint at the hub covers")
    for name, checkpoint in found:
        yield f'edge_site_checkpoint_rows{{site="{name}",seen_by="hub"}} {checkpoint.rows}\n'
    yield from _head("edge_site_checkpoint_age_seconds", "Age of the newest checkpoint at the hub")
    for name, checkpoint in found:
        yield f'edge_site_checkpoint_age_seconds{{site="{name}",seen_by="hub"}} {max(0.0, now - checkpoint.at)!r}\n'


def _family(name: str, about: str, value: Value, sites: Iterable[FleetSite], now: float) -> Iterator[str]:
    yield from _head(name, about)
    for known in sites:
        number = value(known, now)
        yield f'{name}{{site="{known.name}",seen_by="hub"}} {"+Inf" if isinf(number) else repr(number)}\n'


def _head(name: str, about: str) -> Iterator[str]:
    yield f"# HELP {name} {about}\n# TYPE {name} gauge\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
