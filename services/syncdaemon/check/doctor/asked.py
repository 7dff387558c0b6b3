"""One question of the doctor, and what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Generic, NamedTuple, TypeVar

from syncdaemon.base.errors import LanePaused, LinkDown

SECONDS = 5.0  # for each answer

Found = TypeVar("Found")


class Reported(NamedTuple, Generic[Found]):
    """What was found, and when it was asked and answered (ns of our wall clock); `problem`: why nothing was."""

    found: Found | None
    problem: str = ""
    denied: bool = False
    asked_ns: int = 0
    answered_ns: int = 0


async def ask(what: str, asking: Awaitable[Found]) -> Reported[Found]:
    """Asks, and notes when. `what` it is about stands in the words where no answer comes."""
    asked = time.time_ns()
    try:
        async with asyncio.timeout(SECONDS):
            found = await asking
    except PermissionError as error:
        return Reported(None, str(error), denied=True)
    except TimeoutError:
        return Reported(None, f"no answer about {what} within {SECONDS:g} seconds")
    except LinkDown as error:
        return Reported(None, f"the connection was lost: {error}")
    except LanePaused as error:
        return Reported(None, str(error))
    return Reported(found, "", False, asked, time.time_ns())
