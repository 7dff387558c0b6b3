"""`syncdaemon hub init`: the streams of a hub."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from syncdaemon.cli.say import say
from syncdaemon.hub.accounts import Layout
from syncdaemon.hub.init import make
from syncdaemon.hub.site_list import HubSite
from syncdaemon.hub.streams import HubUser, Life
from syncdaemon.link import LinkSettings
from syncdaemon.settings import parts
from syncdaemon.settings.values import Loaded


def init(loaded: Loaded, sites: Sequence[HubSite], layout: Layout) -> int:
    """Makes what is missing, and says so in a line each."""
    settings = loaded.settings
    link = parts.link(settings)

    def link_of(login: HubUser) -> LinkSettings:
        if link.creds is not None:
            return replace(link, creds=link.creds.with_name(f"{login.user}.creds"))
        return replace(link, user=login.user)

    life = Life(settings.sync_stream_replicas, settings.sync_stream_max_age, settings.sync_stream_max_msgs)
    asyncio.run(make(link_of, sites, layout, life=life, tell=say))
    return 0
