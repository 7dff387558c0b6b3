"""`syncdaemon audit`: the auditor, from its files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

from syncdaemon.base.errors import SettingsError
from syncdaemon.base.units import Wrong
from syncdaemon.cli.options import FOUND
from syncdaemon.cli.say import say
from syncdaemon.cli.work.begin import begin
from syncdaemon.daemon.process import Signals
from syncdaemon.daemon.supervisor import supervised
from syncdaemon.evidence.keyfile import CheckpointKey, read_key
from syncdaemon.evidence.notes import COSIGNER_KEY, VerifierKey, check_name
from syncdaemon.evidence.policy import Policy, Witness
from syncdaemon.evidence.strict import BadEvidence
from syncdaemon.hub import audit
from syncdaemon.hub.audit import Auditor, AuditSettings, state
from syncdaemon.hub.audit.pins import Pins, read_pins
from syncdaemon.hub.site_list import read_sites
from syncdaemon.settings.given import Given

_MOST_BYTES = 64 << 20


class AuditFiles(NamedTuple):
    """What the options name."""

    key: str
    state: str
    pins: str
    name: str
    sites: str
    accept_state: bool
    policy: str
    listen: str


def accept(folder: str, site: str) -> int:
    """Follows what a site has begun anew. Raises SettingsError where there is nothing to follow."""
    what = state.order(Path(folder), site)
    said = f"follows {site} as {what}" if what != "*" else f"has taken note of the conflict of {site}"
    say(f"the auditor {said} in its next round")
    return 0


def vkey(given: Given, key: str, name: str, pins: str) -> int:
    """Prints the cosigner's key as policies take it."""
    read = _pins(pins) if pins else {}
    say(VerifierKey(_name(name, read), COSIGNER_KEY, _key(given, key).public).vkey)
    return 0


def once(given: Given, files: AuditFiles) -> int:
    """One round; a line for each finding. Raises SyncError."""
    loaded = begin(given)
    report = audit.once(loaded.settings, _own(given, files))
    findings = list(report.findings())
    for line in findings:
        say(line)
    heads = sum(bool(site.rows) for site in report.sites)
    say(f"{heads} of {len(report.sites)} sites are cosigned, read to message {report.read_to}")
    return FOUND if findings else 0


def run(given: Given, files: AuditFiles) -> int:
    """Audits until SIGTERM. Raises SyncError where it can't begin, or may not sign."""
    loaded, own, signals = begin(given), _own(given, files), Signals()

    async def live() -> None:
        stop = asyncio.Event()
        signals.install(stop)
        loaded.settings.check_files()
        auditor = Auditor(loaded.settings, own)
        try:
            await supervised(auditor.run, stop)
        finally:
            auditor.close()

    asyncio.run(live())
    signals.die()
    return 0


def _own(given: Given, files: AuditFiles) -> AuditSettings:
    pins = _pins(files.pins)
    expected = sorted(pins)
    if files.sites:
        try:
            expected = [site.name for site in read_sites(_text("--sites", files.sites))]
        except Wrong as wrong:
            raise SettingsError(f"--sites: {files.sites}: {wrong}") from None
    return AuditSettings(
        _name(files.name, pins),
        _key(given, files.key),
        Path(files.state),
        pins,
        expected,
        files.accept_state,
        _witnesses(files.policy, files.key, given),
        _address(files.listen),
    )


def _witnesses(path: str, key: str, given: Given) -> list[Witness]:
    """Those of the policy that have a URL, but for ourselves."""
    if not path:
        return []
    try:
        policy = Policy.parse(_text("--policy", path).encode())
    except BadEvidence as error:
        raise SettingsError(f"--policy: {path}: {error}") from None
    own = _key(given, key).public
    return [witness for witness in policy.witnesses if witness.url and witness.key.public != own]


def _address(text: str) -> tuple[str, int] | None:
    host, _, port = text.rpartition(":")
    if not text:
        return None
    if not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"--listen: {text!r} is no address; write host:port")
    return host.strip("[]"), int(port)


def _key(given: Given, path: str) -> CheckpointKey:
    """Raises SettingsError. It is no login, and no site's key where this machine has one."""
    values = given.values
    logins = (values["NATS_CREDS"], values["NATS_NKEY_SEED"], values["NATS_TLS_KEY"], values["SYNC_CHECKPOINT_KEY"])
    return read_key(Path(path), logins, setting="--key")


def _pins(path: str) -> Pins:
    try:
        return read_pins(_text("--pins", path))
    except BadEvidence as error:
        raise SettingsError(f"--pins: {path}: {error}") from None


def _name(name: str, pins: Pins) -> str:
    """The name that was given, else the one that follows from the pins. Raises SettingsError."""
    bases = {pin.place.rpartition("/")[0] for pin in pins.values()}
    if not name and len(bases) != 1:
        raise SettingsError("--name: the pins have not all the same origin, so the cosigner needs a name")
    try:
        return check_name(name or f"{bases.pop()}/auditor")
    except BadEvidence as error:
        raise SettingsError(f"--name: {error}") from None


def _text(option: str, path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_MOST_BYTES).decode()
    except OSError as error:
        raise SettingsError(f"{option}: {path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{option}: {path} is no text") from None
