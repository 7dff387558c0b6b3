"""Whether the bucket would take a large file, tried before there is one.

Each call is asked for in a way that does nothing and has a short answer: a link with nothing to send stays cheap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from syncdaemon.base.errors import LanePaused
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.object_format import BucketNames

_CALLS = ("INFO", "MSG.GET", "PURGE", "MSG.DELETE")


async def lacking(api: Api, names: BucketNames, create: bool) -> str:
    """Why a large file would wait, in words; empty where nothing is known that it would wait for. Raises LinkDown.

    `create`: a missing bucket may be made. As long as it is missing, only what its first file needs is tried.
    """
    sent = await _answer(api.rehearse(names.chunk_subject("0")))
    missing = isinstance(sent, ApiRefusal) and sent.unanswered  # or an account does not import its subjects
    if missing and not create:
        return f"no bucket {names.bucket} takes our messages, and SYNC_STREAM_CREATE=false"
    calls = ("CREATE",) if missing else _CALLS
    asked = await asyncio.gather(*(_answer(api.refused(call, names.stream)) for call in calls))
    found = [*map(_words, asked)]
    if not missing or any(found):
        found.append(_words(sent))
    return "; ".join(filter(None, found))


async def _answer(asking: Awaitable[ApiRefusal | None]) -> ApiRefusal | str | None:
    """What the server answers: words where it does not let us ask, and nothing where it can't answer now."""
    try:
        return await asking
    except PermissionError as error:
        return str(error)
    except LanePaused:
        return None


def _words(answer: ApiRefusal | str | None) -> str:
    """Why a call is not possible, in words; empty where it is."""
    if isinstance(answer, ApiRefusal):
        return answer.words if answer.no_jetstream else ""
    return answer or ""
