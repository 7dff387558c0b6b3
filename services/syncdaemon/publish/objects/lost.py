"""Which objects the server has lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence

from syncdaemon.base.errors import LanePaused
from syncdaemon.link import Session
from syncdaemon.publish.objects.bucket import Bucket
from syncdaemon.publish.objects.halt import Halt
from syncdaemon.stream.api import Api
from syncdaemon.stream.info import StreamAnswer
from syncdaemon.stream.object_format import BucketNames, ObjectPlace

Met = Callable[[BucketNames, StreamAnswer | None], None]
"""Is called with each bucket that was looked at, and what the server says of it; None: it is not there."""


async def lost(session: Session, objects: Collection[str], met: Met) -> set[str]:
    """Which of these objects, named as in `Edge-Object`, their buckets have no longer, or have only a part of.

    None of those in a bucket that objects leave by its own rules. Raises LinkDown, PermissionError, LanePaused.
    """
    gone: set[str] = set()
    try:
        for names, places in _by_bucket(objects).items():
            gone |= await _lost_of(Bucket(Api.over(session), names), places, met)
    except Halt as halt:
        raise (PermissionError if halt.reason == "bucket_denied" else LanePaused)(str(halt)) from None
    return gone


def _by_bucket(objects: Collection[str]) -> dict[BucketNames, list[ObjectPlace]]:
    """These objects by their buckets; what is no object's name is left out."""
    found: defaultdict[BucketNames, list[ObjectPlace]] = defaultdict(list)
    for place in filter(None, map(ObjectPlace.of, objects)):
        found[place.names].append(place)
    return found


async def _lost_of(bucket: Bucket, places: Sequence[ObjectPlace], met: Met) -> set[str]:
    found = await bucket.described()
    met(bucket.names, found)
    if found is None:
        return set(map(str, places))
    keeps_all = not found.config.get("max_age")
    return {str(place) for place in places if keeps_all and await bucket.lost(place.name)}
