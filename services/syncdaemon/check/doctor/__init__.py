"""`syncdaemon doctor`: finds out how everything is, here and at the server, and has it judged. Alters nothing."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

from syncdaemon.base.units import max_age_text, size_text
from syncdaemon.check.diagnosis import Facts, Finding, Intended, judge
from syncdaemon.check.doctor import evidence, logins, machine, server
from syncdaemon.settings import parts
from syncdaemon.settings.values import Loaded, Settings
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.rights import act_as_owner


async def examine(loaded: Loaded) -> list[Finding]:
    """Every finding, in the order of a file's way. As root with the rights of the daemon's user, if that is another."""
    settings = loaded.settings
    with suppress(OSError):  # no daemon has run here yet
        home = ReplayDirectory(os.fsencode(settings.sync_replay_dir.absolute()))
        home.reach()
        act_as_owner(home)
        home.close()
    facts = Facts(
        _wanted(loaded),
        await server.look(settings),
        await asyncio.to_thread(machine.look, settings),
        await asyncio.to_thread(evidence.look, settings),
        await asyncio.to_thread(logins.look, settings),
    )
    return list(judge(facts))


def _wanted(loaded: Loaded) -> Intended:
    settings = loaded.settings
    return Intended(
        site_by_hostname=loaded.sources["SITE"] == "default",
        stream_name=settings.sync_stream,
        subject=settings.subject_for("*"),
        per_digest=settings.subject_is_per_digest,
        create=settings.sync_stream_create,
        created=_created(settings),
        hold=settings.sync_hold_seconds,
        archive=settings.sync_after == "archive",
        min_free=settings.sync_min_free_bytes,
        rescan=settings.sync_rescan_seconds,
        js_domain=settings.nats_js_domain or "",
        max_age=settings.sync_stream_max_age,
        max_bytes=settings.sync_stream_max_bytes,
        max_msgs=settings.sync_stream_max_msgs,
    )


def _created(settings: Settings) -> str:
    """What the daemon makes of a missing stream, in words."""
    made = parts.stream(settings)
    limits = [f"{made.replicas} replica{'s' * (made.replicas > 1)}"]
    limits += [f"max_age {max_age_text(made.max_age)}"] * bool(made.max_age)
    limits += [f"max_bytes {size_text(made.max_bytes)}"] * bool(made.max_bytes)
    limits += ["roll-ups"] * made.free
    limits += [f"max_msgs {made.max_msgs}"] * bool(made.max_msgs)
    return f"subjects {made.wildcard}, file storage, limits retention, discard new, deny_delete, {', '.join(limits)}"
