"""What the stream as it is makes weaker of what we promise, in words for the log."""

from __future__ import annotations

import structlog

from syncdaemon.stream.info import Memory, StreamInfo

UNKNOWN_WINDOW = 120.0  # the server's default, in seconds
_REMEDY = "keep {sha256} in SYNC_SUBJECT, on a stream with limits retention and no max_age"
_REFUSE = "set discard to new on the stream (and discard_new_per_subject): then it refuses, and the files wait"

log = structlog.get_logger(__name__)


def say_weaker_promise(stream: StreamInfo | None, per_digest: bool, memory: Memory, horizon: float) -> None:
    """Warns where a file can be stored twice in spite of all. `horizon` in seconds, infinite: any outage."""
    limits = stream.evicts(per_digest) if stream is not None else ()
    if limits:
        meaning = (
            f"at its limit ({', '.join(limits)}) the stream throws away messages that it acknowledged, read or not; "
            f"a file whose answer is lost in an outage of over {horizon:g} s may be stored twice"
        )
        log.warning("weaker_promise", horizon_seconds=horizon, meaning=meaning, remedy=_REFUSE)
        return
    if horizon != float("inf"):
        meaning = f"a file whose answer is lost in an outage of over {horizon:g} s may be stored twice"
    elif memory is Memory.HISTORY:
        window = stream.window if stream else UNKNOWN_WINDOW
        meaning = f"files with the same content, over {window:g} s apart, are stored as a message each"
    else:
        return
    log.warning("weaker_promise", horizon_seconds=horizon, meaning=meaning, remedy=_REMEDY)
