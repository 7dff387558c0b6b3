"""Which bucket a large file goes to.

A site has a bucket of its own. Versions before it had one for all sites, and a site goes on with that where only that
one is there. Where both are there, what was begun in the old one is finished there, so that nothing lies in both.
"""

from __future__ import annotations

from typing import NamedTuple

from syncdaemon.base.pause import OnceAMinute
from syncdaemon.publish.objects.bucket import Bucket
from syncdaemon.publish.objects.halt import SOON, Halt, asked
from syncdaemon.publish.objects.lost import Met
from syncdaemon.publish.objects.opening import open_bucket
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.object_format import BucketNames


class BucketChoice(NamedTuple):
    """`names`: the bucket for new files. `former`: the one of earlier versions, where that is there beside it."""

    names: BucketNames
    former: BucketNames | None = None


async def choose(api: Api, own: BucketNames, former: BucketNames | None) -> BucketChoice:
    """The bucket of the settings, `own`; or `former`, where that is there, and we see no bucket of our own.

    `former`: of earlier versions; None where the settings name a bucket that is not the default.
    Raises LinkDown, and Halt where the server can't tell now.
    """
    if former is None or not await _seen(api, former):
        return BucketChoice(own)
    return BucketChoice(own, former) if await _seen(api, own) else BucketChoice(former)


async def _seen(api: Api, names: BucketNames) -> bool:
    """Whether there is such a bucket, and we may know of it."""
    try:
        found = await asked(names.bucket, api.stream(names.stream))
    except Halt as halt:
        if halt.reason == "bucket_denied":
            return False
        raise
    if not isinstance(found, ApiRefusal):
        return True
    if found.no_stream or found.no_jetstream:  # the second: of an account that shows us our own bucket alone
        return False
    raise Halt("bucket_unavailable", f"bucket {names.bucket}: {found.words}", SOON)


class Buckets:
    """The buckets over one session. What is known of them is asked for once."""

    def __init__(
        self,
        api: Api,
        own: BucketNames,
        former: BucketNames | None,
        *,
        create: bool,
        replicas: int,
        said: OnceAMinute,
        met: Met,
    ) -> None:
        """`create`: our `own` may be made where it is missing, with so many `replicas`. `said`: what was logged.

        `met` is called with each bucket that is opened, and what the server says of it.
        """
        self._met = met
        self._said = said
        self._api = api
        self._own, self._former = own, former
        self._create, self._replicas = create, replicas
        self._choice: BucketChoice | None = None
        self._open: dict[BucketNames, Bucket] = {}
        self.session = api.session

    async def choice(self) -> BucketChoice:
        """Raises LinkDown, Halt."""
        if self._choice is None:
            self._choice = await choose(self._api, self._own, self._former)
        return self._choice

    async def open(self, names: BucketNames) -> Bucket:
        """This bucket, which takes what we send. Raises LinkDown, and Halt where it does not."""
        if names not in self._open:
            create = self._create and names == self._own
            self._open[names] = await open_bucket(
                self._api, names, create, self._replicas, said=self._said, met=self._met
            )
        return self._open[names]
