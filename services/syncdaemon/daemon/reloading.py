"""Settings that are read once more while the daemon runs: what can change then, and what waits for a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from syncdaemon.link import Link
from syncdaemon.settings import parts
from syncdaemon.settings.given import Given
from syncdaemon.settings.table import VARIABLES
from syncdaemon.settings.values import Loaded, Settings

_LOG, _LIMIT = "SYNC_LOG_LEVEL", "SYNC_BWLIMIT"
_LOGIN = frozenset(
    {
        *("NATS_URL", "NATS_CREDS", "NATS_NKEY_SEED", "NATS_USER", "NATS_PASSWORD", "NATS_TOKEN"),
        *("NATS_TLS_CA", "NATS_TLS_CERT", "NATS_TLS_KEY", "NATS_TLS_FIRST"),
    }
)
_CHANGEABLE = _LOGIN | {_LOG, _LIMIT}


class Rereading(NamedTuple):
    """The settings of the start, how they are read once more, and how the log is set up by them."""

    begun_with: Given
    read: Callable[[], Given]
    set_log: Callable[[Settings], None]


class Reloaded(NamedTuple):
    """What was changed; what waits for a restart; and what the environment or a flag keeps as it is."""

    changed: tuple[str, ...]
    for_a_restart: tuple[str, ...]

    def __str__(self) -> str:
        said = []
        if self.changed:
            said.append(f"changed: {', '.join(self.changed)}")
        if self.for_a_restart:
            said.append(f"only after a restart: {', '.join(self.for_a_restart)}")
        kept = "what stands in the environment or in a flag is as it was"
        return "; ".join([*said, kept]) if said else f"nothing has changed; {kept}"


class Reloading:
    """Compares the settings with those of the start, and carries out what can be changed."""

    def __init__(self, loaded: Settings, rereading: Rereading, link: Link) -> None:
        self._rereading, self._link = rereading, link
        self._settings = loaded
        self._started = self._values = _comparable(rereading.begun_with)
        self._files = _digests(loaded)

    def once(self) -> Reloaded:
        """Raises SettingsError where the settings are wrong now; then nothing is changed."""
        given = self._rereading.read()
        fresh: Loaded = Settings.of(given)
        fresh.settings.check_files()
        values, files = _comparable(given), _digests(fresh.settings)
        different = [name for name in VARIABLES if values[name] != self._values[name]]
        changed = [name for name in different if name in _CHANGEABLE]
        renewed = [name for name in files if files[name] != self._files.get(name) and name not in changed]
        if _LOG in changed:
            self._rereading.set_log(fresh.settings)
        link_settings = parts.link(fresh.settings)
        if _LIMIT in changed:
            limit = self._link.limit
            limit.settle(link_settings.bwlimit)
        if _LOGIN.intersection([*changed, *renewed]):
            self._link.renew(link_settings)
        self._values, self._files = {**values, **_unchangeable(self._values)}, files
        later = [name for name in VARIABLES if name not in _CHANGEABLE and values[name] != self._started[name]]
        return Reloaded((*changed, *(f"the file of {name}" for name in renewed)), tuple(later))


def _comparable(given: Given) -> dict[str, Any]:
    return {name: given.values[name] for name in VARIABLES}


def _unchangeable(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in _CHANGEABLE}


def _digests(settings: Settings) -> dict[str, str]:
    """By setting: what the files of the login hold."""
    files: Iterable[tuple[str, Path | None]] = (
        (name, getattr(settings, name.lower()))
        for name in sorted(_LOGIN)
        if isinstance(getattr(settings, name.lower()), Path)
    )
    return {name: _digest(file) for name, file in files if file is not None}


def _digest(file: Path) -> str:
    try:
        return sha256(file.read_bytes()).hexdigest()
    except OSError:  # `check_files` says so
        return ""
