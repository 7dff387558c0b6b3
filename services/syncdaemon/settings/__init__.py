"""Every setting: its name, default, meaning and check; and which of several sources a value comes from.

A setting has one name everywhere: `SYNC_AFTER` in the environment and in `.env`, the field `sync_after` here.
Pure: flags, environment and `.env` are handed in as mappings; only `check_files` looks at the disk.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import pydantic
from pydantic import AfterValidator, BeforeValidator, Field, Secret, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from syncdaemon.base import units
from syncdaemon.base.errors import SettingsError
from syncdaemon.base.timetable import OFF, Timetable, timetable
from syncdaemon.base.units import MASK, Wrong

Source = Literal["flag", "environment", ".env", "default"]
Texts = Mapping[str, str | None]

# What Kubernetes sets in every container for a Service called `sync` or `sync-...`.
_SERVICE = re.compile(r"SYNC_(.+_)?(SERVICE_(HOST|PORT(_.+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_SERVICE_PORT_VALUE = re.compile(r"(tcp|udp|sctp)://.*")


class ServerUrls(Secret[str]):
    """Server URLs, whose passwords are masked wherever they are printed."""

    def _display(self) -> str:
        return units.masked_servers(self.get_secret_value())


def _read(reader: Callable[[str], Any]) -> BeforeValidator:
    return BeforeValidator(lambda value: value if value is None else reader(str(value)))


_word = _read(str.lower)
_Bool = Annotated[bool, _read(units.boolean)]
_Bytes = Annotated[int, _read(units.size)]
_File = Annotated[Path | None, _read(units.key_file)]
_Path = Annotated[Path, _read(units.path)]
_Seconds = Annotated[float, _read(units.seconds)]
_Secret = Annotated[SecretStr, AfterValidator(lambda it: SecretStr(units.login(it.get_secret_value())))]
_Urls = Annotated[ServerUrls, AfterValidator(lambda it: ServerUrls(units.servers(it.get_secret_value())))]
_Level = Literal["debug", "info", "warning", "error"]


class Settings(BaseSettings):
    """All settings, checked. `Settings.load` makes them from what a user gave."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    edge_mode: _Bool = Field(True, description="false: stand by; watch and report, but publish nothing")
    site: Annotated[str, _read(units.site)] = Field(
        default_factory=lambda: units.site_of(platform.node()),
        description="this site's name in subjects, ledger and metrics: 1 to 63 of a-z, 0-9 and -",
    )
    nats_url: _Urls = Field(
        ServerUrls("nats://127.0.0.1:4222"),
        description="nats://host:port, or tls://host:port for TLS or nothing; several with commas between",
    )
    nats_creds: _File = Field(None, description="file with the user's JWT and key (.creds)")
    nats_nkey_seed: _File = Field(None, description="file with the user's nkey seed")
    nats_user: Annotated[str | None, _read(units.login)] = Field(None, description="user name, with NATS_PASSWORD")
    nats_password: _Secret | None = Field(None, description="password of NATS_USER")
    nats_token: _Secret | None = Field(None, description="token, for a server that asks for one")
    nats_tls_ca: _File = Field(None, description="file with the CAs to trust (PEM); unset: the system's")
    nats_tls_cert: _File = Field(None, description="file with the daemon's certificate (PEM)")
    nats_tls_key: _File = Field(None, description="file with the private key of NATS_TLS_CERT (PEM)")
    nats_monitor_url: Annotated[str | None, _read(units.monitor)] = Field(
        None, description="the server's monitoring address, http://host:8222, where doctor sees whether it syncs"
    )
    sync_subject: Annotated[str, _read(units.subject)] = Field(
        "edge.replay.{site}.{sha256}",
        description="subject of each message; {site} and {sha256} (the message's id) are filled in",
    )
    sync_stream: Annotated[str, _read(units.stream_name)] = Field(
        "swarm_jobs", description="stream that stores the messages; created if missing, never altered"
    )
    sync_stream_create: _Bool = Field(True, description="false: a missing stream is an error")
    sync_stream_max_age: Annotated[float, _read(units.max_age)] = Field(
        0.0, description="created stream: how long it keeps a message, seconds or such as 30d; 0: for ever"
    )
    sync_stream_max_bytes: _Bytes = Field(0, description="created stream: its limit in bytes; 0: none")
    sync_stream_replicas: Annotated[int, _read(units.replicas)] = Field(
        1, description="created stream: how many servers keep a copy, 1 to 5"
    )
    sync_replay_dir: _Path = Field(
        Path("/agentforge/replay"), description="directory whose files are delivered, with its subfolders"
    )
    sync_ledger_dir: _Path = Field(
        Path("services/syncdaemon/logs"), description="directory of the ledger, from the working directory"
    )
    sync_settle_seconds: _Seconds = Field(0.25, description="quiet seconds until a file counts as complete")
    sync_rescan_seconds: Annotated[float, _read(units.some_seconds)] = Field(
        30.0, description="seconds between two full scans of the replay directory"
    )
    sync_after: Annotated[Literal["delete", "archive"], _word] = Field(
        "delete", description="what becomes of a delivered file: delete or archive"
    )
    sync_hold_seconds: _Seconds = Field(
        150.0, description="seconds that a delivered file is kept in case the server loses it; 0: none"
    )
    sync_msg_id: Annotated[Literal["content", "site", "path"], _word] = Field(
        "content", description="what makes two files one: content, site (+ content), path (+ site + content)"
    )
    sync_order: Annotated[Literal["oldest", "newest"], _word] = Field(
        "oldest", description="which waiting file goes first: oldest or newest"
    )
    sync_bwlimit: Annotated[Timetable, _read(timetable)] = Field(
        OFF, description="bytes a second that may be sent, or a timetable such as 08:00,512k 18:00,off"
    )
    sync_compress: Annotated[Literal["none", "zstd"], _word] = Field(
        "none", description="compression of messages: none or zstd"
    )
    sync_http_addr: Annotated[str, _read(units.listen_address)] = Field(
        "0.0.0.0:8080", description="host:port for metrics, health and status; port 0: any free one"
    )
    sync_min_free_bytes: _Bytes = Field(
        64 << 20, description="free bytes on the ledger's disk below which delivery pauses; 0: never"
    )
    sync_log_format: Annotated[Literal["json", "console"] | None, _word] = Field(
        None, description="json or console; unset: console on a terminal, json elsewhere"
    )
    sync_log_level: Annotated[_Level, _word] = Field(
        "info", description="least level that is logged: debug, info, warning or error"
    )

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """None but what is handed in: `load` merges by itself, since it must tell where each value is from."""
        return (init_settings,)

    @pydantic.model_validator(mode="after")
    def _fit_together(self) -> Self:
        problems = []
        for one, other in (("NATS_USER", "NATS_PASSWORD"), ("NATS_TLS_CERT", "NATS_TLS_KEY")):
            missing = [name for name in (one, other) if getattr(self, name.lower()) is None]
            if len(missing) == 1:
                problems.append(f"{missing[0]}: missing (not set), give both {one} and {other}, or neither")
        key = self.nats_creds or self.nats_nkey_seed
        logins = {
            "NATS_URL": "@" in self.nats_url.get_secret_value(),
            "NATS_USER": self.nats_user,
            "NATS_TOKEN": self.nats_token and not key,  # beside a key it is right: an auth callout reads it
            "NATS_CREDS": self.nats_creds,
            "NATS_NKEY_SEED": self.nats_nkey_seed,
        }
        ways = [name for name, given in logins.items() if given]
        if len(ways) > 1:
            problems.append(f"{ways[1]}: a second login ({ways[0]} has one too), keep one of them")
        _refuse(problems)
        return self

    @classmethod
    def load(cls, flags: Texts, environ: Texts, dotenv: Texts) -> Loaded:
        """The settings from these three, keyed by variable: a flag wins over `environ`, that over `dotenv`.

        An empty text in `environ` or `dotenv`, or None in any, counts as not given.

        Raises SettingsError with all that is wrong, in one line.
        """
        given: dict[str, str] = {}
        sources: dict[str, Source] = dict.fromkeys(VARIABLES, "default")
        layers: dict[Source, Texts] = {".env": dotenv, "environment": environ, "flag": flags}
        for source, texts in layers.items():
            for variable in VARIABLES:
                text = texts.get(variable)
                if text or (text is not None and source == "flag"):
                    given[variable.lower()] = text
                    sources[variable] = source
        strays = [name for name in flags if name not in sources]
        strays += [name for name, text in {**dotenv, **environ}.items() if _is_stray(name, text or "")]
        problems = [_stray(name) for name in strays]
        try:
            settings = cls.model_validate(given)
        except pydantic.ValidationError as error:
            problems += [_problem(found, given) for found in error.errors(include_url=False)]
        except SettingsError as error:
            problems.append(str(error))
        _refuse(problems)
        return Loaded(settings, sources)

    @staticmethod
    def shown(loaded: Loaded) -> list[Shown]:
        """Every setting for people: as a text that could be given back, but with secrets masked."""
        return [
            Shown(name.upper(), _text(loaded.settings, name), loaded.sources[name.upper()], about)
            for name, about in _DESCRIPTIONS.items()
        ]

    def check_files(self) -> None:
        """Looks at the disk: key files must be readable, and the ledger not among the files to deliver.

        Raises SettingsError with all that is wrong, in one line.
        """
        problems = []
        for field in ("nats_creds", "nats_nkey_seed", "nats_tls_ca", "nats_tls_cert", "nats_tls_key"):
            file: Path | None = getattr(self, field)
            try:
                if file:
                    file.open("rb").close()
            except OSError as error:
                fault = (error.strerror or "not readable").lower()
                problems.append(f"{field.upper()}: {fault} ({str(file)!r}), name a file that can be read")
        replay, ledger = self.sync_replay_dir.resolve(), self.sync_ledger_dir.resolve()
        inside = ledger.relative_to(replay).parts if ledger.is_relative_to(replay) else (".",)
        if not any(part.startswith(".") for part in inside):  # hidden folders are not taken
            where = f"in the replay directory ({str(self.sync_ledger_dir)!r})"
            problems.append(f"SYNC_LEDGER_DIR: {where}, name one outside, or the ledger would be delivered")
        _refuse(problems)

    @property
    def nats_urls(self) -> tuple[str, ...]:
        """The servers' URLs, each with its port, and with the passwords in them."""
        return tuple(self.nats_url.get_secret_value().split(","))

    @property
    def http_host(self) -> str:
        """Where to listen, without brackets."""
        return units.address(self.sync_http_addr)[0]

    @property
    def http_port(self) -> int:
        """The port to listen on; 0: any free one."""
        return units.address(self.sync_http_addr)[1] or 0

    @property
    def subject_is_per_digest(self) -> bool:
        """Whether each content has its own subject, so that the stream itself can refuse a second copy."""
        return "{sha256}" in self.sync_subject

    @property
    def subject_wildcard(self) -> str:
        """What a created stream captures: the subjects of all sites. A wildcard stands for a whole token."""
        return ".".join("*" if "{" in token else token for token in self.sync_subject.split("."))

    def subject_for(self, msg_id: str) -> str:
        """The subject of the message with this id, which is a SHA-256 in hexadecimal."""
        return self.sync_subject.replace("{site}", self.site).replace("{sha256}", msg_id)


class Loaded(NamedTuple):
    """Settings, and for every variable where its value comes from."""

    settings: Settings
    sources: dict[str, Source]


class Shown(NamedTuple):
    """A setting as `syncdaemon config` prints it. `value` is empty where it is not set."""

    variable: str
    value: str
    source: Source
    description: str


VARIABLES = tuple(name.upper() for name in Settings.model_fields)
"""The names of all settings, in the order of the documentation."""

_DESCRIPTIONS = {name: field.description or "" for name, field in Settings.model_fields.items()}
_SECRETS = ("nats_password", "nats_token")


def _refuse(problems: list[str]) -> None:
    if problems:
        raise SettingsError("; ".join(problems))


def _is_stray(name: str, text: str) -> bool:
    # Small letters too: many programs take those, this one would ignore them.
    if not name.upper().startswith("SYNC_") or name in VARIABLES:
        return False
    return not (_SERVICE.fullmatch(name) or (name.endswith("_PORT") and _SERVICE_PORT_VALUE.match(text)))


def _stray(name: str) -> str:
    near = get_close_matches(name.upper(), VARIABLES, n=1)
    remedy = f"did you mean {near[0]}?" if near else "docs/CONFIGURATION.md has them all"
    return f"{name} is not a setting; {remedy}"


def _problem(found: Any, given: Mapping[str, str]) -> str:
    field, context = found["loc"][0], found.get("ctx", {})
    wrong = context.get("error") or Wrong(f"not {context['expected']}", "write one of these")
    shown = MASK if field in _SECRETS else wrong.shown or repr(given[field])
    return f"{field.upper()}: {wrong.what} ({shown}), {wrong.remedy}"


def _text(settings: Settings, field: str) -> str:
    match value := getattr(settings, field):
        case None:
            return ""
        case SecretStr():
            return MASK
        case bool():
            return str(value).lower()
        case int() if field.endswith("_bytes"):
            return units.size_text(value)
        case float():
            return units.max_age_text(value) if field == "sync_stream_max_age" else units.seconds_text(value)
        case _:
            return str(value)
