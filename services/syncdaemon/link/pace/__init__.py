"""How much may be under way on the link, and how long to wait. Pure; the time is an argument."""

from syncdaemon.link.pace.bucket import TokenBucket
from syncdaemon.link.pace.patience import ANSWER_SECONDS, overdue, retry_delay
from syncdaemon.link.pace.steps import Step, batch
from syncdaemon.link.pace.window import MAX_BYTES, MAX_MESSAGES, Window

__all__ = [
    "ANSWER_SECONDS",
    "MAX_BYTES",
    "MAX_MESSAGES",
    "Step",
    "TokenBucket",
    "Window",
    "batch",
    "overdue",
    "retry_delay",
]
