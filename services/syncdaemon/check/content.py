"""What is in a site's messages: in the message itself, or in an object of a bucket that may be read for the site."""

from __future__ import annotations

from collections.abc import Mapping

from syncdaemon.stream import fetch
from syncdaemon.stream.api import Api
from syncdaemon.stream.buckets import ReadableBuckets
from syncdaemon.stream.object_format import ObjectPlace


class Contents:
    """Reads contents for one site. Calls raise as those of `fetch`."""

    def __init__(self, api: Api, buckets: ReadableBuckets, site: str) -> None:
        self._api, self._buckets, self._site = api, buckets, site

    async def digest(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """The SHA-256 of a message's content; None where that is not there, or is not read."""
        return None if self.unread(headers) else await fetch.digest(self._api, headers, body)

    def unread(self, headers: Mapping[str, str]) -> str:
        """Why the object that a message names is not read; empty where it is, or where none is named."""
        place = ObjectPlace.of(headers.get("Edge-Object", ""))
        return self._buckets.refusal(place, self._site) if place else ""
