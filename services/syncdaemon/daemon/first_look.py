"""What a start says of the other side, beside the stream itself, so that no operator has to find it out later."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from syncdaemon.base.errors import LinkDown
from syncdaemon.publish import PROBE_ID, Publisher
from syncdaemon.publish.message import MessageSettings
from syncdaemon.publish.objects import Objects
from syncdaemon.stream.takers import takers

_REMEDY = "let one have the subject: at a leaf node, deny_exports for it; or set NATS_JS_DOMAIN"

log = structlog.get_logger(__name__)


async def first_look(publisher: Publisher, objects: Objects, settings: MessageSettings) -> None:
    """Over the first connection whose stream is right, and over later ones for as long as a large file would wait.

    Nothing waits for it. Raises SettingsError as `Lane`.
    """
    session = await publisher.ready()
    await objects.look(session)
    subject = settings.subject_for(PROBE_ID)
    with suppress(LinkDown, PermissionError):  # doctor asks the same
        if (found := await takers(session, subject)) > 1:
            effect = f"only what {settings.stream} acknowledges counts, in the domain that its info names"
            log.warning("several_streams", subject=subject, streams=found, effect=effect, remedy=_REMEDY)
    while objects.lacking:
        await asyncio.wait((session.lost,))
        session = await publisher.ready()
        await objects.look(session)
