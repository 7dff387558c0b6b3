"""The settings: any environment, `.env` and flags give settings, or one line that says all that is wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from io import StringIO
from random import Random

import dotenv

from syncdaemon.base import timetable
from syncdaemon.base.errors import SettingsError
from syncdaemon.base.units import MASK, Wrong
from syncdaemon.settings import parts
from syncdaemon.settings.given import gather
from syncdaemon.settings.table import SETTINGS, VARIABLES
from syncdaemon.settings.values import Settings
from tests.fuzz import mutate
from tests.fuzz.surface import Case, Surface

SECRET = "Zq7xW9vK"  # stands in every text that is secret, and in nothing else
VALID: dict[str, tuple[str, ...]] = {
    "NATS_URL": ("nats://127.0.0.1:4222", f"tls://u:{SECRET}@[::1]:4222,nats://b", f"nats://{SECRET}@hub"),
    "NATS_PASSWORD": (SECRET, f"a {SECRET}"),
    "NATS_TOKEN": (SECRET,),
    "NATS_USER": ("u",),
    "NATS_CREDS": ("/run/site.creds", "-----BEGIN NATS USER JWT-----"),
    "NATS_MONITOR_URL": ("http://hub:8222", f"http://u:{SECRET}@hub:8222"),
    "SITE": ("edge-1",),
    "SYNC_SUBJECT": ("edge.replay.{site}.{sha256}", "edge.{site}"),
    "SYNC_BWLIMIT": ("08:00,512k 18:00,off", "1M", "Mon-08:00,1M Fri-18:00,10M Sun-20:00,off", "off"),
    "SYNC_HTTP_ADDR": ("0.0.0.0:8080", "[::]:0", "localhost:8080"),
    "SYNC_STREAM_MAX_AGE": ("30d", "45s", "0", "0.1"),
    "SYNC_STREAM_MAX_BYTES": ("64Mi", "0", "1T"),
    "SYNC_STREAM_MAX_MSGS": ("250000", "0"),
    "SYNC_MIN_FREE_BYTES": ("64Mi",),
    "SYNC_HOLD_SECONDS": ("150", "0.25"),
    "SYNC_REPLAY_DIR": ("/agentforge/replay",),
    "SYNC_LOG_LEVEL": ("debug", "INFO"),
}


def texts(random: Random) -> dict[str, str | None]:
    """Some settings with their texts, some of them odd, and names that are no settings."""
    found: dict[str, str | None] = {}
    for _ in range(random.choice((0, 1, 2, 4, 8))):
        name = random.choice(VARIABLES)
        valid = random.choice(VALID.get(name, ("true", "5")))
        odd = mutate.text(random, valid) if random.random() < 0.5 else valid
        # Without its @, a login in a URL can't be told from a host.
        found[name] = valid if name.endswith("_URL") and SECRET in odd and "@" not in odd else odd
    if random.random() < 0.2:
        found[mutate.text(random, random.choice((*VARIABLES, "SYNC_PORT", "SYNC_SERVICE_HOST")))] = "1"
    return found


def seen(line: str) -> None:
    """A line that people read: one line, without control characters, and without a secret."""
    assert SECRET not in line, line
    assert line.isprintable(), line


@contextmanager
def ready() -> Iterator[Case]:
    def case(random: Random) -> None:
        flags = {name: text for name, text in texts(random).items() if name in VARIABLES}
        environ, from_file = texts(random), texts(random)
        try:
            given = gather(flags, environ, from_file)
        except SettingsError as error:
            seen(str(error))
            return
        assert not any(SECRET in shown.value for shown in given.shown())
        settings = Settings.of(given).settings
        assert SECRET not in f"{settings!r} {settings}"
        for part in (parts.spool, parts.stream, parts.message, parts.objects, parts.link):
            part(settings)
        assert settings.http_host
        assert 0 <= settings.http_port < 65_536
        assert all(settings.nats_urls)
        # What is shown can be given back, and means the same.
        again = {shown.variable: shown.value for shown in given.shown() if shown.value and MASK not in shown.value}
        for setting in SETTINGS:
            if setting.variable in again:
                assert setting.value(again[setting.variable]) == given.values[setting.variable], setting.variable

    yield case


@contextmanager
def env_files() -> Iterator[Case]:
    """A `.env` of any text is read as python-dotenv reads it, and then like any other source."""
    logging.getLogger("dotenv").setLevel(logging.ERROR)  # it warns of each line that it can't read
    valid = f"SITE=edge-1\n# a comment\nNATS_PASSWORD='{SECRET}'\nexport SYNC_AFTER=archive\nSYNC_BWLIMIT=\"1M\"\n"

    def case(random: Random) -> None:
        text = mutate.data(random, valid.encode()).decode(errors="replace")
        found = dotenv.dotenv_values(stream=StringIO(text), interpolate=False)
        problem, values = "", list[str]()
        try:
            values = [shown.value for shown in gather({}, {}, found).shown()]
        except SettingsError as error:
            problem = str(error)
        assert problem.isprintable(), text
        assert "NATS_PASSWORD" not in found or not any(SECRET in value for value in values)

    yield case


@contextmanager
def timetables() -> Iterator[Case]:
    """A timetable is refused, or has a limit at every minute of the week."""
    monday = datetime(2026, 3, 2)

    def case(random: Random) -> None:
        text = mutate.text(random, random.choice(VALID["SYNC_BWLIMIT"]))
        for _ in range(random.randrange(3)):
            text = mutate.text(random, text)
        try:
            found = timetable.timetable(text)
        except Wrong:
            return
        for _ in range(5):
            limit = found.limit_at(monday + timedelta(minutes=random.randrange(7 * 24 * 60)))
            assert limit is None or 0 < limit <= 1 << 60
        assert timetable.timetable(str(found)) == found

    yield case


SURFACES = (
    Surface("settings", "flags, environment and .env together", ready),
    Surface("env-files", "texts of a .env", env_files),
    Surface("timetables", "SYNC_BWLIMIT", timetables),
)
