"""Makes the streams of a hub, and adds to them what a new site needs. What is there otherwise stays as it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from syncdaemon.base.errors import SettingsError
from syncdaemon.hub import streams
from syncdaemon.hub.accounts import Layout
from syncdaemon.hub.site_list import HubSite
from syncdaemon.hub.streams import HubUser, Life
from syncdaemon.link import LinkSettings, visit
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api

# With these a site that may publish one subject writes on others, or empties the stream (nats-server 2.15.1).
_HARMFUL = ("allow_rollup_hdrs", "republish", "subject_transform", "mirror", "allow_msg_schedules")

# What a new site changes in a stream that is there already: its first leaf node the last two too.
_BY_SITE = ("subjects", "sources", "discard_new_per_subject", "duplicate_window")
# And in a landing account's: with a further leaf node, each has a smaller part of what all may hold together.
_BY_LEAF = (*_BY_SITE, "max_msgs")


async def make(
    link_of: Callable[[HubUser], LinkSettings],
    sites: Sequence[HubSite],
    layout: Layout,
    *,
    life: Life,
    tell: Callable[[str], None],
) -> None:
    """Makes what is missing, each in its account. A second call changes nothing.

    `link_of` says how to log in to an account; `tell` gets a line for each stream and consumer.
    Raises SettingsError where the server refuses something, ConnectTimeout, LinkDown, LanePaused, PermissionError.
    """
    by_login = groupby(streams.streams(sites, layout, life), lambda entry: entry[0])
    for login, entries in by_login:
        async with visit(link_of(login)) as session:
            _refuse_domain(session.domain, sites)
            api = Api.over(session)
            fields = _BY_SITE if login in (streams.OWN, streams.RECORDS_USER) else _BY_LEAF
            for _, config in entries:
                tell(f"{login.user}: stream {config['name']}: {await _stream(api, config, fields)}")
            if login == streams.OWN:
                await _consumer(api, layout, tell)


def _refuse_domain(domain: str | None, sites: Sequence[HubSite]) -> None:
    """A leaf node's domain is its site's name. Where it is the hub's too, the hub never gets the site's messages."""
    if any(site.leaf and site.name == domain for site in sites):
        remedy = "give the site another name, or the hub another `domain` in jetstream.conf"
        raise SettingsError(f"--sites: {domain} leaf: this is the domain of the hub itself; {remedy}")


async def _stream(api: Api, config: Mapping[str, Any], fields: Sequence[str]) -> str:
    """What was done."""
    name = config["name"]
    found = await api.stream(name)
    if isinstance(found, ApiRefusal):
        if not found.no_stream:
            raise SettingsError(f"NATS_URL: the stream {name} can't be seen: {found.words}")
        _done(name, await api.create_stream(config))
        return "made"
    for field in _HARMFUL:
        if found.config.get(field) and not config.get(field):
            raise SettingsError(f"NATS_URL: the stream {name} is there with {field}, which lets one site harm others")
    changes = dict(_changes(found.config, config, fields))
    if changes:
        _done(name, await api.update_stream({**found.config, **changes}))
    said = f"has other {' and '.join(changes)} now{_lost(found.config, config)}" if changes else "is there"
    return said + _otherwise(found.config, {key: config[key] for key in config if key not in fields})


def _lost(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What it took until now, and takes no more: that of sites that are not in the list any more."""
    lost = sorted(_takes(found) - _takes(wanted))
    return f", and takes {' and '.join(lost)} no more" if lost else ""


def _takes(config: Mapping[str, Any]) -> set[str]:
    sources = (source.get("filter_subject", "") for source in config.get("sources") or ())
    return {*(config.get("subjects") or ()), *sources} - {""}


def _otherwise(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What stays as it is there, and would be made otherwise; empty where nothing would."""
    kept = {key: value for key, value in wanted.items() if _plain(found.get(key)) != _plain(value)}
    told = (f"{key} {json.dumps(found.get(key))}, not {json.dumps(value)}" for key, value in kept.items())
    return f"; it keeps {' and '.join(told)}" if kept else ""


def _changes(found: Mapping[str, Any], wanted: Mapping[str, Any], fields: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Those of these fields, which depend on the sites, that are not what is wanted. No limit takes none away."""
    for field in fields:
        if field == "max_msgs" and wanted[field] < 0:
            continue
        if field in wanted and _plain(found.get(field)) != _plain(wanted[field]):
            yield field, wanted[field]


def _plain(value: Any) -> Any:
    """A list without an order, and without what the server adds to its entries; a field that is not there is 0."""
    if isinstance(value, list):
        value = sorted(_told(entry) if isinstance(entry, dict) else str(entry) for entry in value)
    return value or 0


def _told(source: Mapping[str, Any]) -> str:
    external = source.get("external") or {}
    transforms = [(one.get("src"), one.get("dest")) for one in source.get("subject_transforms") or ()]
    return repr((source.get("name"), source.get("filter_subject") or "", external.get("api"), transforms))


async def _consumer(api: Api, layout: Layout, tell: Callable[[str], None]) -> None:
    config = streams.consumer(layout)
    name = config["name"]
    found = await api.consumer(layout.stream, name)
    if not isinstance(found, ApiRefusal):
        tell(f"{streams.OWN.user}: consumer {name}: is there{_otherwise(found.config, config)}")
        return
    _done(name, await api.create_consumer(layout.stream, config))
    tell(f"{streams.OWN.user}: consumer {name}: made")


def _done(name: str, answer: object) -> None:
    if isinstance(answer, ApiRefusal):
        raise SettingsError(f"NATS_URL: the server refuses {name}: {answer.words}")
