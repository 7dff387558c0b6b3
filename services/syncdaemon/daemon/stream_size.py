"""What a start says of the stream's size: messages now and a day, how long its server takes to start, and what is near.

`doctor` looks at the same with more time, and says what to do.
"""

from __future__ import annotations

import structlog

from syncdaemon.stream.info import StreamAnswer
from syncdaemon.stream.room import INDEXED, SLOW_START, Growth, shared_by_several

_REMEDY = "syncdaemon doctor says what to set; docs/SCALING.md has the rule"

log = structlog.get_logger(__name__)


def say_size(name: str, stream: StreamAnswer) -> None:
    """One line, and one for each bound that is passed."""
    growth = Growth.of(stream.config, stream.state, now=stream.at)
    log.info(
        "stream_size",
        stream=name,
        messages=growth.messages,
        a_day=None if growth.a_day is None else round(growth.a_day),
        expected=growth.expected(),
        restart_seconds=round(growth.start_now(), 1),
        later_restart_seconds=round(growth.start_later(), 1),
    )
    for reason in reasons(growth, stream):
        log.warning("stream_is_large", stream=name, reason=reason, remedy=_REMEDY)


def reasons(growth: Growth, stream: StreamAnswer) -> list[str]:
    """The bounds that are passed, in words."""
    found = []
    if stream.state.get("num_subjects", 0) > INDEXED:
        found.append(f"over {INDEXED:,} subjects: the server writes no index")
    if growth.gaps > INDEXED:
        found.append(f"over {INDEXED:,} gaps: the server writes no index")
    if growth.start_now() > SLOW_START:
        found.append(f"a restart of the server takes about {growth.start_now():.0f} s")
    elif growth.start_later() > SLOW_START:
        found.append(f"at this rate a restart of the server will take about {growth.start_later():.0f} s")
    if not growth.max_age and shared_by_several(stream.config):
        found.append("several sites share it, and it has no max_age")
    return found
