"""The streams and the consumer of a hub, as configurations. Pure.

A stream that is filled by sources has no subjects of its own. Each of its sources writes the site's token itself, by a
transform: the filter of a source is applied by the server of the site alone (nats-server 2.15.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from syncdaemon.hub.accounts import (
    CHECKPOINTS,
    CONSUMER,
    COSIGNED,
    LEDGER,
    Layout,
    api_of_landing,
    api_of_leaf,
    deliveries_of_landing,
    deliveries_of_leaf,
)
from syncdaemon.hub.sites import HubSite

FLEET = "edge_fleet"


class Login(NamedTuple):
    """The user of an account of the hub's own, as `conf.hub_conf` names it."""

    user: str


OWN, RECORDS_LOGIN = Login("hub"), Login("records")


def landing_login(site: str) -> Login:
    """The user of this site's landing account."""
    return Login(f"in-{site}")


def streams(sites: Sequence[HubSite], layout: Layout, replicas: int = 1) -> Iterator[tuple[Login, dict[str, Any]]]:
    """Every stream, with the login of the account that it lies in; what is sourced comes before what sources it."""
    for site in sites:
        if site.leaf:
            yield landing_login(site.name), _landed(site.name, layout)
            yield landing_login(site.name), _landed_bucket(site.name, layout)
    yield OWN, _hub_stream(sites, layout) | {"num_replicas": replicas}
    for site in sites:
        if not site.leaf:
            yield OWN, _bucket(site.name, layout) | {"num_replicas": replicas}
    for config in _records():
        yield RECORDS_LOGIN, config | {"num_replicas": replicas}


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
    """The stream of all sites: the subjects of those that connect directly, and sources for those behind leaves."""
    config = _kept(layout.stream) | {"deny_delete": True, "max_msgs_per_subject": 1}
    if direct := [layout.own(site.name) for site in sites if not site.leaf]:
        config |= {"subjects": direct, "allow_atomic": True}
    if sources := [_source_of_landing(site.name, layout) for site in sites if site.leaf]:
        # With discard_new_per_subject, a source that brings a second message of a subject stalls for good.
        return config | {"sources": sources}
    return config | {"discard_new_per_subject": True}


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


def _records() -> Iterator[dict[str, Any]]:
    """What sites tell of themselves: a mailbox of checkpoints, the anchor, the ledger's days, the newest status."""
    kept = {"deny_delete": True, "deny_purge": True, "max_msgs_per_subject": 1}
    mailbox = {"discard": "old", "max_msgs_per_subject": 10_000}
    yield _kept(CHECKPOINTS) | mailbox | {"subjects": ["edge.checkpoint.*"]}
    # The last note of a day replaces the earlier ones, so this one can't refuse a second message of a subject.
    yield _kept(COSIGNED) | kept | {"discard": "old", "subjects": ["edge.cosigned.*.*"]}
    yield _kept(LEDGER) | kept | {"discard_new_per_subject": True, "subjects": ["edge.ledger.>"]}
    yield _kept(FLEET) | {"discard": "old", "max_msgs_per_subject": 1, "subjects": ["edge.status.*"]}
