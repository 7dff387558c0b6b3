"""Makes the streams of a hub, and adds to them what a new site needs. What is there otherwise stays as it is."""

from __future__ import annotations

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

# What a new site changes in a stream that is there already: its first leaf node the last two too.
_BY_SITE = ("subjects", "sources", "discard_new_per_subject", "duplicate_window")


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
            api = Api.over(session)
            for _, config in entries:
                tell(f"{login.user}: stream {config['name']}: {await _stream(api, config)}")
            if login == streams.OWN:
                await _consumer(api, layout, tell)


async def _stream(api: Api, config: Mapping[str, Any]) -> str:
    """What was done."""
    name = config["name"]
    found = await api.stream(name)
    if isinstance(found, ApiRefusal):
        if not found.no_stream:
            raise SettingsError(f"NATS_URL: the stream {name} can't be seen: {found.words}")
        _done(name, await api.create_stream(config))
        return "made"
    changes = dict(_changes(found.config, config))
    if not changes:
        return "is there"
    _done(name, await api.update_stream({**found.config, **changes}))
    return f"has other {' and '.join(changes)} now"


def _changes(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields that depend on the sites, where they are not what is wanted."""
    for field in _BY_SITE:
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
        tell(f"{streams.OWN.user}: consumer {name}: is there")
        return
    _done(name, await api.create_consumer(layout.stream, config))
    tell(f"{streams.OWN.user}: consumer {name}: made")


def _done(name: str, answer: object) -> None:
    if isinstance(answer, ApiRefusal):
        raise SettingsError(f"NATS_URL: the server refuses {name}: {answer.words}")
