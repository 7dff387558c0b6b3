"""What the stream costs its server now and later, judged: memory, the time of a restart, and the limits."""

from __future__ import annotations

from collections.abc import Iterator

from syncdaemon.base.units import duration_in_words, max_age_text, size_in_words
from syncdaemon.check.diagnosis.facts import Intended, MemoryFacts, StreamFacts
from syncdaemon.check.diagnosis.finding import Finding, ok, warning
from syncdaemon.stream.room import INDEXED, SLOW_START, Growth, memory_for, most_digests

_PAGE = "docs/SCALING.md"


def judge_scale(stream: StreamFacts | None, memory: MemoryFacts | None, wanted: Intended) -> Iterator[Finding]:
    """Of a stream whose settings are seen."""
    if stream is None or not stream.config:
        return
    growth = Growth.of(stream.config, stream.state)
    yield _digests(growth, stream, memory, wanted)
    yield _restart(growth)
    yield _limits(growth, memory, wanted)
    yield _life(growth, stream, wanted)
    yield _sources(stream, wanted)


def edit(wanted: Intended, *flags: str) -> str:
    """The command that alters the stream so, as the tool `nats` takes it."""
    domain = f" --js-domain={wanted.js_domain}" if wanted.js_domain else ""
    return f"nats{domain} stream edit {wanted.stream_name} {' '.join(flags)} --force"


def _digests(growth: Growth, stream: StreamFacts, memory: MemoryFacts | None, wanted: Intended) -> Finding:
    rate = "" if growth.a_day is None else f", {growth.a_day:,.0f} a day"
    said = f"{growth.messages:,} messages{rate}"
    subjects, expected = stream.state.get("num_subjects", 0), growth.expected()
    if not wanted.per_digest:
        return ok("digests", said)
    if memory is not None and (fit := most_digests(memory.limit)) < max(growth.messages, memory.messages, expected):
        held = max(growth.messages, memory.messages)
        when = f"the server holds {held:,}" if held > fit else f"there will be {expected:,} in this stream"
        said = f"{said}; {when}, and {fit:,} fit into its memory of {size_in_words(memory.limit)}"
        need = size_in_words(memory_for(max(held, expected)))
        return warning("digests", said, f"give it {need}, or a shorter max_age, or fewer max_msgs ({_PAGE})")
    for many, what in ((subjects, "subjects"), (growth.gaps, "gaps")):
        if many > INDEXED:
            said = f"{said}; with over {INDEXED:,} {what} the server writes no index, and a start reads every block"
            return warning("digests", said, f"a shorter max_age, or several streams ({_PAGE})")
    return ok("digests", said)


def _restart(growth: Growth) -> Finding:
    now, later = growth.start_now(), growth.start_later()
    said = f"after a crash the server takes about {_about(now)} to start"
    if max(now, later) <= SLOW_START:
        return ok("restart", said)
    when = "when the stream has its age" if growth.max_age else "in a year"
    said = said if now > SLOW_START else f"{said} now, and {_about(later)} {when}"
    return warning("restart", said, f"a shorter max_age, fewer max_msgs, or several streams ({_PAGE})")


def _about(seconds: float) -> str:
    return duration_in_words(max(1.0, float(round(seconds))))


def _limits(growth: Growth, memory: MemoryFacts | None, wanted: Intended) -> Finding:
    """Whether a stream that is there already has the limits that the settings ask for, or that its server needs."""
    flags, said = [], []
    if wanted.max_age and wanted.max_age != growth.max_age:
        flags.append(f"--max-age={max_age_text(wanted.max_age)}")
        said.append(f"max_age {max_age_text(growth.max_age) if growth.max_age else 'none'}")
    if wanted.max_msgs and wanted.max_msgs != growth.max_msgs:
        flags.append(f"--max-msgs={wanted.max_msgs}")
        said.append(f"max_msgs {growth.max_msgs or 'none'}")
    if wanted.max_bytes and wanted.max_bytes != growth.max_bytes:
        flags.append(f"--max-bytes={wanted.max_bytes}")
        said.append(f"max_bytes {growth.max_bytes or 'none'}")
    if flags:
        return warning("limits", f"not those of the settings: {', '.join(said)}", edit(wanted, *flags))
    if memory is not None and wanted.per_digest and not growth.max_msgs:
        unlimited = f"no max_msgs, and the server has {size_in_words(memory.limit)} of memory"
        return warning("limits", unlimited, edit(wanted, f"--max-msgs={most_digests(memory.limit)}"))
    given = wanted.max_age or wanted.max_msgs or wanted.max_bytes
    return ok("limits", "those of the settings" if given else "the settings ask for none")


def _life(growth: Growth, stream: StreamFacts, wanted: Intended) -> Finding:
    if growth.max_age or not stream.shared:
        return ok("life", "messages leave by max_age" if growth.max_age else "no message of another site was seen")
    said = "several sites share the stream, and it has no max_age: its server's memory fills, and for good"
    longest = f"or as long as the longest outage of a site ({_PAGE})"
    return warning("life", said, f"{edit(wanted, '--max-age=30d')}, {longest}")


def _sources(stream: StreamFacts, wanted: Intended) -> Finding:
    """At a hub: a site that lost its store publishes again, and so a source brings second messages of a subject."""
    config = stream.config
    if not config.get("sources"):
        return ok("sources", "none")
    if config.get("discard_new_per_subject"):
        said = "discard_new_per_subject: at the first second message of a subject, that source stalls for good"
        return warning("sources", said, edit(wanted, "--no-discard-per-subject", "--max-msgs-per-subject=1"))
    if wanted.per_digest and config.get("max_msgs_per_subject", -1) != 1:
        said = "no max_msgs_per_subject: 1, so a site that lost its store, and publishes again, is stored twice"
        return warning("sources", said, edit(wanted, "--max-msgs-per-subject=1"))
    return ok("sources", f"{len(config['sources'])}, and a second message of a subject takes the place of the first")
