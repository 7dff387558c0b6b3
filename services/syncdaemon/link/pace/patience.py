"""When to wait no longer, and when to try again. Pure; the time is an argument."""

from __future__ import annotations

ANSWER_SECONDS = 10.0
"""How long the server may be silent about a message before it counts as unanswered."""


def overdue(now: float, sent: float, last_answer: float, newest_answered: float) -> bool:
    """Whether a message sent at `sent` will not be answered any more.

    `last_answer`: when the last answer to anything came; `newest_answered`: when the newest message that has
    been answered was sent. A server answers a stream's messages in order, so a message is given up when nothing
    was answered for a while, or when messages sent long after it were. One that waits behind others on a slow
    link which makes progress is not: bytes that the peer took, which had to wait, count as an answer.
    """
    if now - sent <= ANSWER_SECONDS:
        return False
    return now - last_answer > ANSWER_SECONDS or newest_answered - sent > ANSWER_SECONDS


def retry_delay(failures: int, sent_away: bool, roll: float) -> float:
    """Seconds until the next attempt to connect, after `failures` in a row; `roll` is random in [0, 1).

    Full jitter: any time up to a ceiling, which begins at 0.2 s and doubles. It ends at 30 s where the server has
    `sent_away` us, or had no time for us: then many others may want the same of it. Else it ends at 1 s: a server that
    refuses connections, or is lost often, costs little to try, and has to be found soon after its return.
    """
    if not failures:
        return 0.0
    ceiling = min(30.0 if sent_away else 1.0, 0.1 * 2.0 ** min(failures, 16))
    return ceiling * roll
