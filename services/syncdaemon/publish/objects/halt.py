"""Why the bucket takes nothing for a while, whatever the server answered."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from syncdaemon.base.errors import LanePaused
from syncdaemon.stream import verdict
from syncdaemon.stream.answers import ApiRefusal

SOON, LATER = 1.0, 30.0
"""Seconds that the bucket is left alone: where it passes, and where only an operator can help."""

Value = TypeVar("Value")


class Halt(Exception):
    """The bucket takes nothing for `wait` seconds: `reason` in a word, the text says more. Every file stays."""

    def __init__(self, reason: str, detail: str, wait: float) -> None:
        super().__init__(detail)
        self.reason = reason
        self.wait = wait


async def asked(bucket: str, asking: Awaitable[Value]) -> Value:
    """What JetStream's API answers. Raises LinkDown, and Halt where the API has another error."""
    try:
        return await asking
    except PermissionError as error:
        raise Halt("bucket_denied", str(error), LATER) from None
    except LanePaused as error:
        raise Halt("bucket_unavailable", f"bucket {bucket}: {error}", SOON) from None


async def done(bucket: str, asking: Awaitable[Value | ApiRefusal]) -> Value:
    """The same; Halt where the server refuses, too."""
    answer = await asked(bucket, asking)
    if isinstance(answer, ApiRefusal):
        raise Halt("bucket_unavailable", f"bucket {bucket}: {answer.words}", SOON)
    return answer


def halt(bucket: str, judged: verdict.Again | verdict.Stop | verdict.Refuse) -> Halt:
    """What an answer to a message for the bucket means for all of them."""
    wait = judged.wait if isinstance(judged, verdict.Again) else LATER
    reason = "bucket_full" if judged.reason == "stream_full" else judged.reason
    return Halt(reason, f"bucket {bucket}: {judged.detail}", wait)
