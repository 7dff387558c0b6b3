"""Takes out what uploads left behind that nobody will go on with: the file is gone, or its site is."""

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

    Such an upload is no longer gone on with, not even by its own site (`resume.decide`): so nobody is in the middle of
    making an object of what is removed here. What cannot be looked at now is left to the next round. Raises LinkDown.
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
    """The last chunk of an upload that nobody will go on with; None where somebody may, or it is none of ours."""
    last = await bucket.last(nuid)
    if last is None or not last.is_of(nuid) or await bucket.age(last) < ABANDONED_SECONDS:
        return None
    meta = await bucket.meta(last.name)
    return None if meta is not None and meta.nuid == nuid else last
