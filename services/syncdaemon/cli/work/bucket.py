"""`syncdaemon bucket orphans`: the objects that no message names, and their end."""

from __future__ import annotations

import asyncio

from syncdaemon.base.errors import LanePaused, LinkDown, SettingsError, SyncError
from syncdaemon.base.printable import printable
from syncdaemon.base.units import duration_in_words, size_in_words
from syncdaemon.cli import interrupt
from syncdaemon.cli.say import say
from syncdaemon.link import visit
from syncdaemon.settings import parts
from syncdaemon.settings.values import Loaded, Settings
from syncdaemon.stream.api import Api
from syncdaemon.stream.orphans import Orphan, Orphans, Why


def orphans(loaded: Loaded, *, delete: bool, older_than: float) -> int:
    """How many that should go are still there. Raises SettingsError where the server does not let us look."""
    interrupt.clean_up()
    return asyncio.run(_orphans(loaded.settings, delete, older_than))


async def _orphans(settings: Settings, delete: bool, older_than: float) -> int:
    bucket = parts.bucket(settings)
    if parts.objects(settings).shared:
        raise SettingsError(f"SYNC_BUCKET: other sites may use {bucket.bucket}, and their messages are not seen here")
    async with visit(parts.link(settings)) as session:
        found = Orphans(Api.over(session), settings.sync_stream, bucket, parts.subject_of_content(settings))
        try:
            seen = await found.look()
            for orphan in seen:
                say(_line(orphan, older_than))
            size = size_in_words(sum(orphan.meta.size for orphan in seen))
            say(f"{bucket.bucket}: {len(seen)} objects that no message of {settings.sync_stream} names, {size}")
            if not delete:
                return 0
            due = [orphan for orphan in seen if orphan.may_go(older_than)]
            gone = await found.delete(due)
        except PermissionError as error:
            raise SettingsError(
                f"SYNC_BUCKET: {bucket.bucket} can't be looked at with these credentials: {error}"
            ) from None
        except (LanePaused, LinkDown) as error:
            raise SyncError(str(error)) from None
    say(f"{len(gone)} taken out, {len(seen) - len(due)} kept")
    return len(due) - len(gone)


def _line(orphan: Orphan, older_than: float) -> str:
    what = f"{orphan.why.value}, for {duration_in_words(max(0.0, orphan.age))}"
    stays = "" if orphan.may_go(older_than) else "; it stays"
    if orphan.why is Why.ALONE and stays:
        stays = "; its message may still come"
    return f"{printable(orphan.meta.name)}  {size_in_words(orphan.meta.size)}  {what}{stays}"
