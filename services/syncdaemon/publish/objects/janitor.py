"""Takes out the chunks of uploads that will never be resumed, because the file or its site is gone."""

from __future__ import annotations

import random

import structlog

from syncdaemon.publish.objects.bucket import Bucket, Last
from syncdaemon.publish.objects.halt import Halt
from syncdaemon.publish.objects.resume import ABANDONED_SECONDS

_MOST = 4  # looked at in one round: each costs as much as a chunk

log = structlog.get_logger(__name__)


async def tidy(bucket: Bucket) -> None:
    """One round. Removes the chunks of uploads that no meta names and that have stood still for 28 days.

    Not even its own site resumes such an upload (`resume.decide`), so no object is being made of what is removed here.
    What cannot be looked at now is left to the next round. Raises LinkDown.
    """
    try:
        uploads = sorted(await bucket.uploads())
        for nuid in random.sample(uploads, min(_MOST, len(uploads))):
            if last := await _abandoned(bucket, nuid):
                await bucket.purge(nuid, last.seq)
                log.info("abandoned_upload_removed", object=last.name, nuid=nuid, last_chunk=last.at.isoformat())
    except Halt as halt:
        log.info("bucket_not_tidied", reason=halt.reason, detail=str(halt))


async def _abandoned(bucket: Bucket, nuid: str) -> Last | None:
    """The last chunk of an upload that is never resumed; None where it may be, or where it is not a daemon's."""
    last = await bucket.last(nuid)
    if last is None or not last.is_of(nuid) or await bucket.age(last) < ABANDONED_SECONDS:
        return None
    meta = await bucket.meta(last.name)
    return None if meta is not None and meta.nuid == nuid else last
