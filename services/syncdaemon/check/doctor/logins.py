"""Looking at the files that the daemon logs in with, and until when they are valid."""

from __future__ import annotations

import time

from syncdaemon.check.diagnosis import LoginFacts
from syncdaemon.link.logins import CLIENT, JWT, Login, Logins
from syncdaemon.settings import parts
from syncdaemon.settings.values import Settings

_WORDS = {JWT: "the JWT", CLIENT: "the certificate"}


def look(settings: Settings) -> tuple[LoginFacts, ...]:
    """One for each file of the settings that can end."""
    now = time.time()
    return tuple(_facts(login, now) for login in Logins(parts.link(settings)).now())


def _facts(login: Login, now: float) -> LoginFacts:
    days = float("inf") if login.end is None else (login.end - now) / 86_400
    return LoginFacts(_WORDS[login.kind], str(login.file), days, login.problem)
