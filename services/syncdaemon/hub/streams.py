"""The streams and the consumer of a hub, as configurations. Pure.

A landing account's stream that is filled by a source has no subjects of its own. Its source writes the site's token
itself, by a transform: the filter of a source is applied by the server of the site alone (nats-server 2.15.1). The
hub's own accounts source from landing accounts, and there the hub's own server applies the filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from syncdaemon.hub.accounts import (
    CHECKPOINTS,
    CONSUMER,
    COSIGNED,
    FLEET,
    LEDGER,
    Layout,
    api_of_landing,
    api_of_leaf,
    api_of_records,
    deliveries_of_landing,
    deliveries_of_leaf,
    deliveries_of_records,
    records_of,
)
from syncdaemon.hub.site_list import HubSite

_NO_WINDOW = 0  # no message id is remembered: the server's default of a stream with sources
_SHORTEST_WINDOW = 100_000_000  # in nanoseconds: 0 means the server's default of 2 minutes in a stream without sources
_DEFAULT_WINDOW = 120_000_000_000
_FOR_GOOD: dict[str, Any] = {"deny_delete": True, "deny_purge": True, "max_msgs_per_subject": 1}


class HubUser(NamedTuple):
    """The user of an account of the hub's own, as `conf.hub_conf` names it."""

    user: str


OWN, RECORDS_USER = HubUser("hub"), HubUser("records")


def landing_user(site: str) -> HubUser:
    """The user of this site's landing account."""
    return HubUser(f"in-{site}")


class Life(NamedTuple):
    """How the streams are kept. `max_age` of the messages, in seconds; 0: for ever.

    `max_msgs`: of the hub's stream, and of all landing accounts' together; 0: no limit.
    """

    replicas: int = 1
    max_age: float = 0
    max_msgs: int = 0


FOR_EVER = Life()


def streams(
    sites: Sequence[HubSite], layout: Layout, life: Life = FOR_EVER
) -> Iterator[tuple[HubUser, dict[str, Any]]]:
    """Every stream, with the login of the account that it lies in; what is sourced comes before what sources it."""
    for login, config in _streams(sites, layout, life):
        yield login, config | {"num_replicas": life.replicas}


def _streams(sites: Sequence[HubSite], layout: Layout, life: Life) -> Iterator[tuple[HubUser, dict[str, Any]]]:
    max_age = {"max_age": int(life.max_age * 1e9)}
    leaves = sum(site.leaf for site in sites)
    for site in sites:
        if site.leaf:
            landing = landing_user(site.name)
            yield landing, _landed(site.name, layout) | max_age | _most(life.max_msgs, leaves)
            yield landing, _landed_bucket(site.name, layout)
            for name, subject in records_of(site.name).items():
                yield landing, _record(name) | {"subjects": [subject], "duplicate_window": _SHORTEST_WINDOW}
    yield OWN, _hub_stream(sites, layout) | max_age | _most(life.max_msgs)
    for site in sites:
        if not site.leaf:
            yield OWN, _bucket(site.name, layout)
    for name in (CHECKPOINTS, LEDGER, FLEET):
        yield RECORDS_USER, _records(name, sites)
    yield RECORDS_USER, _cosigned()


def _most(messages: int, parts: int = 1) -> dict[str, int]:
    """The limit of one of so many streams that may have so many messages together; nothing for no limit."""
    return {"max_msgs": max(1, messages // parts)} if messages else {}


def consumer(layout: Layout) -> dict[str, Any]:
    """The consumer that all workers share."""
    return {
        "durable_name": CONSUMER,
        "name": CONSUMER,
        "ack_policy": "explicit",
        "deliver_policy": "all",
        "filter_subject": layout.subject.replace("{site}", "*").replace("{sha256}", "*"),
        "ack_wait": 60_000_000_000,
        "max_ack_pending": 10_000,
        "max_deliver": -1,
    }


def _kept(name: str) -> dict[str, Any]:
    """What all streams here have in common."""
    return {
        "name": name,
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_age": 0,
        "max_bytes": -1,
        "max_msgs": -1,
        "max_consumers": -1,
        "allow_direct": True,
    }


def _hub_stream(sites: Sequence[HubSite], layout: Layout) -> dict[str, Any]:
    """The stream of all sites: the subjects of those that connect directly, and sources for those behind leaves.

    A message id counts for the whole stream. Where there are sources, no window remembers any: a message that is
    sourced under an id that somebody else used before would be left out for good (nats-server 2.15.1).
    """
    config = _kept(layout.stream) | {"deny_delete": True, "max_msgs_per_subject": 1, "allow_atomic": True}
    config |= {"subjects": [layout.own(site.name) for site in sites if not site.leaf]}
    if sources := [_source_of_landing(site.name, layout) for site in sites if site.leaf]:
        # With discard_new_per_subject, a source that brings a second message of a subject stalls for good.
        return config | {"sources": sources, "discard_new_per_subject": False, "duplicate_window": _NO_WINDOW}
    return config | {"sources": [], "discard_new_per_subject": True, "duplicate_window": _DEFAULT_WINDOW}


def _source_of_landing(site: str, layout: Layout) -> dict[str, Any]:
    return {
        "name": layout.stream,
        "filter_subject": layout.own(site),
        "external": {"api": api_of_landing(site), "deliver": deliveries_of_landing(site)},
    }


def _landed(site: str, layout: Layout) -> dict[str, Any]:
    source = {
        "name": layout.stream,
        "external": {"api": api_of_leaf(site), "deliver": deliveries_of_leaf(site)},
        "subject_transforms": [_to_own(layout.subject, site)],
    }
    return _kept(layout.stream) | {"max_msgs_per_subject": 1, "deny_delete": True, "sources": [source]}


def _to_own(subject: str, site: str) -> dict[str, str]:
    """The transform that writes the site's token, whatever stood in its place."""
    tokens, wildcards, number = subject.split("."), [], 0
    for token in tokens:
        number += token in ("{site}", "{sha256}")
        wildcards.append(f"{{{{wildcard({number})}}}}" if token == "{sha256}" else site if token == "{site}" else token)
    src = subject.replace("{site}", "*").replace("{sha256}", "*")
    return {"src": src, "dest": ".".join(wildcards)}


def _landed_bucket(site: str, layout: Layout) -> dict[str, Any]:
    bucket = layout.bucket_of(site)
    source = {
        "name": layout.bucket_stream(site),
        "external": {"api": api_of_leaf(site), "deliver": deliveries_of_leaf(site)},
        "subject_transforms": [
            {"src": f"$O.*.{part}.*", "dest": f"$O.{bucket}.{part}.{{{{wildcard(2)}}}}"} for part in ("C", "M")
        ],
    }
    return _kept(layout.bucket_stream(site)) | {"sources": [source]}


def _bucket(site: str, layout: Layout) -> dict[str, Any]:
    bucket = layout.bucket_of(site)
    subjects = [f"$O.{bucket}.C.>", f"$O.{bucket}.M.>"]
    return _kept(layout.bucket_stream(site)) | {"subjects": subjects, "allow_rollup_hdrs": True}


def _record(name: str) -> dict[str, Any]:
    """A stream of what sites tell of themselves: a mailbox of checkpoints, the ledger's days, the newest status."""
    kept: dict[str, dict[str, Any]] = {
        CHECKPOINTS: {"discard": "old", "max_msgs_per_subject": 10_000},
        LEDGER: _FOR_GOOD | {"discard_new_per_subject": True},
        FLEET: {"discard": "old", "max_msgs_per_subject": 1},
    }
    return _kept(name) | kept[name]


def _records(name: str, sites: Sequence[HubSite]) -> dict[str, Any]:
    """The same for all sites: from those that connect directly by subject, from the landing accounts by sources.

    Nothing of these streams needs a message id, and a neighbour may use any: so none is remembered for long.
    """
    config = _record(name) | {"subjects": [records_of(site.name)[name] for site in sites if not site.leaf]}
    sources = [_source_of_records(name, site.name) for site in sites if site.leaf]
    return config | {"sources": sources, "duplicate_window": _NO_WINDOW if sources else _SHORTEST_WINDOW}


def _source_of_records(name: str, site: str) -> dict[str, Any]:
    return {
        "name": name,
        "filter_subject": records_of(site)[name],
        "external": {"api": api_of_records(site), "deliver": deliveries_of_records(site)},
    }


def _cosigned() -> dict[str, Any]:
    """The anchor. The last note of a day replaces the earlier ones, so it can't refuse a second one of a subject."""
    anchor = {"discard": "old", "subjects": ["edge.cosigned.*.*"], "duplicate_window": _SHORTEST_WINDOW}
    return _kept(COSIGNED) | _FOR_GOOD | anchor
