"""Who of the expected sites is heard. Those whose checkpoints are overdue are looked for among the hub's messages."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog

from syncdaemon.base.pause import OnceAMinute
from syncdaemon.hub.audit import inbox
from syncdaemon.hub.audit.silence import SILENT_SECONDS, Voice, voice
from syncdaemon.hub.audit.state import State
from syncdaemon.stream.api import Api

log = structlog.get_logger(__name__)


class Hearing:
    """What is heard of these sites. `stream` and `subject`: where their messages lie, as in the settings."""

    def __init__(self, sites: Sequence[str], stream: str, subject: str) -> None:
        self._sites, self._stream, self._subject = sites, stream, subject
        self._voices: dict[str, Voice] = {}
        self._said = OnceAMinute()

    def of(self, site: str) -> Voice:
        """What is heard of a site."""
        return self._voices.get(site, Voice.HEARD)

    async def listen(self, api: Api, state: State) -> None:
        """Looks at all of them. Raises LinkDown."""
        now = time.time()
        for site in self._sites:
            heard = state.of(site).heard
            newest: float | None = None
            if now - heard > SILENT_SECONDS:
                at = await inbox.newest_message(api, self._stream, self._subjects(site))
                newest = at.timestamp() if at is not None else None
            said = voice(heard, newest, now)
            changed = self._voices.get(site) is not said
            self._voices[site] = said
            if said is not Voice.HEARD and changed and self._said.due(time.monotonic(), site):
                log.warning("site_not_heard", edge_site=site, how=str(said), last_checkpoint=heard)

    def _subjects(self, site: str) -> str:
        """A wildcard for all messages of a site."""
        tokens = self._subject.split(".")
        return ".".join("*" if token == "{sha256}" else token.replace("{site}", site) for token in tokens)
