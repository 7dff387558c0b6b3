"""Where a large file goes: into which bucket, and in chunks of what size."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import structlog

from syncdaemon.base.model import Content
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.base.sizes import SIZE_CLASSES
from syncdaemon.link import Session
from syncdaemon.publish.objects import resume, trial
from syncdaemon.publish.objects.bucket import Bucket
from syncdaemon.publish.objects.buckets import BucketChoice, Buckets
from syncdaemon.publish.objects.janitor import tidy
from syncdaemon.publish.objects.lost import Met
from syncdaemon.publish.objects.states import UploadState, UploadStates
from syncdaemon.stream import object_format
from syncdaemon.stream.api import Api
from syncdaemon.stream.object_format import BucketNames, Meta, ObjectPlace

_WORTH_LOOKING = 1 << 16  # bytes of a file that may have been begun elsewhere, or with another chunk size
_TIDY_SECONDS = 86_400.0
_REMEDY = "make the missing bucket at the server: then new files go there, and what was begun here is finished here"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ObjectsSettings:
    """`create`: a missing `bucket` may be made, with so many `replicas`. `shared`: other sites may write into it.

    `former`: the bucket of earlier versions, which all sites share; None: it is not looked for.
    """

    site: str
    create: bool
    replicas: int
    bucket: BucketNames
    shared: bool = True
    former: BucketNames | None = None


class ObjectPlaces:
    """Knows the buckets, and what was begun in which. Calls raise LinkDown, and Halt where a bucket takes nothing."""

    def __init__(self, settings: ObjectsSettings, met: Met) -> None:
        """`met` is called with each bucket that is opened, and what the server says of it."""
        self._settings, self._met = settings, met
        self._kept = UploadStates(len(SIZE_CLASSES))
        self._buckets: Buckets | None = None
        self._tidied_at: float | None = None
        self._said, self._said_shared = OnceAMinute(), False

    def forget(self) -> None:
        """The buckets are asked for anew."""
        self._buckets = None

    async def choice(self, session: Session) -> BucketChoice:
        """The bucket for new files. Where it is not the site's own, the log says so."""
        choice = await self._over(session).choice()
        own, shared = self._settings.bucket, choice.names != self._settings.bucket
        if shared and not self._said_shared:
            log.warning("shared_bucket", bucket=choice.names.bucket, missing=own.bucket, remedy=_REMEDY)
        self._said_shared = shared
        return choice

    async def lacking(self, session: Session) -> str:
        """Why a large file would wait now, in words; empty where nothing is known that it would wait for."""
        names = (await self.choice(session)).names
        create = self._settings.create and names == self._settings.bucket
        return await trial.lacking(Api.over(session), names, create)

    async def of(self, content: Content, session: Session) -> str:
        """The object that is to have the file's bytes, as `Edge-Object` names it."""
        choice = await self.choice(session)
        former = choice.former
        begun = former is not None and await self._is_begun(content, session, former)
        names = former if former is not None and begun else choice.names
        return names.object_of(content.sha256)

    async def bucket(self, content: Content, session: Session) -> Bucket | None:
        """The bucket of that object, which takes what we send; None where it is not there, and is not ours to make."""
        place, own = ObjectPlace.of(content.object), self._settings.bucket
        names = place.names if place else own
        if names not in (own, *await self.choice(session)):
            return None
        buckets = self._over(session)
        bucket = await buckets.open(names)
        if self._tidied_at is None or time.monotonic() - self._tidied_at >= _TIDY_SECONDS:
            self._tidied_at = time.monotonic()
            for one in filter(None, await buckets.choice()):
                await tidy(await buckets.open(one))
        return bucket

    def shared(self, bucket: Bucket) -> bool:
        """Whether other sites may write into this bucket."""
        return self._settings.shared or bucket.names != self._settings.bucket

    def kept(self, bucket: Bucket, meta: Meta, size: int, content: Content) -> UploadState:
        """What is remembered of the upload of this file into this bucket."""
        return self._kept.take((bucket.names.bucket, meta.nuid), size, content.stamp)

    async def size(self, bucket: Bucket, content: Content, wanted: int) -> int:
        """The chunk size with which an earlier attempt stored most of the file; else the wanted size.

        The upload can only resume with the chunk size that it began with, however fast the link is by now. This
        process remembers the size; another process asks the server, which takes a few kilobytes.
        """
        for kept in self._kept:
            known = kept.key == (bucket.names.bucket, self._nuid(content, kept.size))
            if known and kept.size + resume.HEADERS <= bucket.room:
                return kept.size
        if content.stamp.size < _WORTH_LOOKING:
            return wanted
        sizes = [wanted, *(size for size in resume.SIZES if size != wanted and size + resume.HEADERS <= bucket.room)]
        counts = await asyncio.gather(*(bucket.count(self._nuid(content, size)) for size in sizes))
        return max(zip(sizes, counts, strict=True), key=lambda begun: begun[0] * begun[1])[0]

    async def _is_begun(self, content: Content, session: Session, names: BucketNames) -> bool:
        """Whether this site has stored chunks of this file in a bucket."""
        nuids = [self._nuid(content, size) for size in resume.SIZES]
        if any(kept.key == (names.bucket, nuid) for kept in self._kept for nuid in nuids):
            return True
        if content.stamp.size < _WORTH_LOOKING:
            return False
        bucket = Bucket(Api.over(session), names)
        return any(await asyncio.gather(*map(bucket.count, nuids)))

    def _nuid(self, content: Content, size: int) -> str:
        return object_format.nuid_of(content.sha256, size, self._settings.site)

    def _over(self, session: Session) -> Buckets:
        if self._buckets is None or self._buckets.session is not session:
            own, former = self._settings.bucket, self._settings.former
            create, replicas = self._settings.create, self._settings.replicas
            api = Api.over(session)
            self._buckets = Buckets(api, own, former, create=create, replicas=replicas, said=self._said, met=self._met)
        return self._buckets
