"""What a user gave: which of several sources each setting comes from, and whether its text is right. Pure.

Flags, environment and the file of `--env-file` are handed in as mappings of names to texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, NamedTuple

from syncdaemon.base.errors import SettingsError
from syncdaemon.base.printable import printable
from syncdaemon.base.units import MASK, Wrong
from syncdaemon.settings.table import SETTINGS, VARIABLES, Setting

Source = str
"""`flag`, `environment`, `default`, or the name of the file: `.env` where none was named."""
Texts = Mapping[str, str | None]

# What Kubernetes sets in every container for a Service called `sync` or `sync-...`.
_SERVICE = re.compile(r"SYNC_(.+_)?(SERVICE_(HOST|PORT(_.+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_SERVICE_PORT_VALUE = re.compile(r"(tcp|udp|sctp)://.*")


class Shown(NamedTuple):
    """A setting as `syncdaemon config` prints it. `value` is empty where it is not set."""

    variable: str
    value: str
    source: Source
    about: str


@dataclass(frozen=True)
class Given:
    """The checked value of every setting, and where it comes from; both by variable.

    `again` reads the file of the settings once more. It raises SettingsError, as `gather`.
    """

    values: Mapping[str, Any] = field(repr=False)  # passwords are among them
    sources: Mapping[str, Source]
    again: Callable[[], Given] | None = field(default=None, repr=False, compare=False)

    def shown(self) -> list[Shown]:
        """Every setting for people: as a text that could be given back, but with secrets masked."""
        return [
            Shown(name, setting.shown(self.values[name]), self.sources[name], setting.about)
            for name, setting in zip(VARIABLES, SETTINGS, strict=True)
        ]


def gather(flags: Texts, environ: Texts, dotenv: Texts, file: str = ".env") -> Given:
    """The settings from these three, keyed by variable: a flag wins over `environ`, that over `dotenv`.

    `file` names where `dotenv` was read. An empty text in `environ` or `dotenv`, or None in any, counts as not given.

    Raises SettingsError with all that is wrong, in one line.
    """
    texts: dict[str, str] = {}
    sources: dict[str, Source] = dict.fromkeys(VARIABLES, "default")
    layers: list[tuple[Source, Texts]] = [(file, dotenv), ("environment", environ), ("flag", flags)]
    for source, layer in layers:
        for variable in VARIABLES:
            text = layer.get(variable)
            if text or (text is not None and layer is flags):
                texts[variable] = text
                sources[variable] = source
    strays = [name for name in flags if name not in sources]
    strays += [name for name, text in {**dotenv, **environ}.items() if _is_stray(name, text or "")]
    values, wrong = _read(texts)
    refuse([*map(_stray, strays), *(wrong or _misfits(values))])
    return Given(values, sources)


def refuse(problems: list[str]) -> None:
    """Raises SettingsError with these problems in one line, where there are any."""
    if problems:
        raise SettingsError("; ".join(problems))


def _read(texts: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The values by variable, and what is wrong with the texts."""
    values, problems = {}, []
    for setting in SETTINGS:
        text = texts.get(setting.variable)
        try:
            values[setting.variable] = setting.value(text)
        except Wrong as wrong:
            problems.append(_problem(setting, text or "", wrong))
    return values, problems


def _problem(setting: Setting, text: str, wrong: Wrong) -> str:
    shown = MASK if setting.kind.secret else printable(wrong.shown) or repr(text)
    return f"{setting.variable}: {wrong.what} ({shown}), {wrong.remedy}"


def _misfits(values: Mapping[str, Any]) -> list[str]:
    """Settings that are right by themselves, and wrong together."""
    problems = []
    for one, other in (("NATS_USER", "NATS_PASSWORD"), ("NATS_TLS_CERT", "NATS_TLS_KEY")):
        missing = [name for name in (one, other) if values[name] is None]
        if len(missing) == 1:
            problems.append(f"{missing[0]}: missing (not set), give both {one} and {other}, or neither")
    if values["SYNC_STREAM_FREE"] and not {"{site}", "{sha256}"} <= set(values["SYNC_SUBJECT"].split(".")):
        subject = values["SYNC_SUBJECT"]
        problems.append(
            f"SYNC_STREAM_FREE: not with this SYNC_SUBJECT ({subject!r}), whose parts must be {{site}} and {{sha256}}, "
            "or a stream is not this site's alone"
        )
    if values["SYNC_CHECKPOINT_KEY"] and not values["SYNC_CHECKPOINT_ORIGIN"]:
        remedy = "give the log a name that is yours, such as edge.example.com/evidence"
        problems.append(f"SYNC_CHECKPOINT_ORIGIN: missing (not set), SYNC_CHECKPOINT_KEY needs it: {remedy}")
    key = values["NATS_CREDS"] or values["NATS_NKEY_SEED"]
    logins = {
        "NATS_URL": "@" in values["NATS_URL"],
        "NATS_USER": values["NATS_USER"],
        "NATS_TOKEN": values["NATS_TOKEN"] and not key,  # beside a key it is right: an auth callout reads it
        "NATS_CREDS": values["NATS_CREDS"],
        "NATS_NKEY_SEED": values["NATS_NKEY_SEED"],
    }
    ways = [name for name, login in logins.items() if login]
    if len(ways) > 1:
        problems.append(f"{ways[1]}: a second login ({ways[0]} has one too), keep one of them")
    return problems


def _is_stray(name: str, text: str) -> bool:
    # Small letters too: many programs take those, this one would ignore them.
    if not name.upper().startswith("SYNC_") or name in VARIABLES:
        return False
    return not (_SERVICE.fullmatch(name) or (name.endswith("_PORT") and _SERVICE_PORT_VALUE.match(text)))


def _stray(name: str) -> str:
    address = re.sub("_(PORT|HOST)$", "_ADDR", name.upper())  # one setting has both
    near = [address] if address in VARIABLES else get_close_matches(name.upper(), VARIABLES, n=1)
    remedy = f"did you mean {near[0]}?" if near else "docs/CONFIGURATION.md has them all"
    return f"{printable(name)} is not a setting; {remedy}"
