"""The values of all settings, as the parts of the daemon take them: of the right kind, unchangeable, secrets hidden."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Secret, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from syncdaemon.base.keep import Keep
from syncdaemon.base.timetable import Timetable
from syncdaemon.settings import addresses
from syncdaemon.settings.given import Given, Source, Texts, gather, refuse


class ServerUrls(Secret[str]):
    """Server URLs, whose passwords are masked wherever they are printed."""

    def _display(self) -> str:
        return addresses.masked_servers(self.get_secret_value())


class Settings(BaseSettings):
    """All settings. `Settings.load` makes them from what a user gave.

    The table says what each one means, which texts it takes and what it is by default.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    edge_mode: bool
    site: str
    nats_url: ServerUrls
    nats_creds: Path | None
    nats_nkey_seed: Path | None
    nats_user: str | None
    nats_password: SecretStr | None
    nats_token: SecretStr | None
    nats_tls_ca: Path | None
    nats_tls_cert: Path | None
    nats_tls_key: Path | None
    nats_tls_first: bool
    nats_js_domain: str | None
    nats_hub_domain: str | None
    nats_monitor_url: str | None
    sync_subject: str
    sync_stream: str
    sync_bucket: str
    sync_stream_create: bool
    sync_stream_max_age: float
    sync_stream_max_bytes: int
    sync_stream_max_msgs: int
    sync_stream_replicas: int
    sync_stream_free: bool
    sync_tombstones: Literal["refuse", "delivered"]
    sync_replay_dir: Path
    sync_ledger_dir: Path
    sync_settle_seconds: float
    sync_settle_in_place_seconds: float
    sync_rescan_seconds: float
    sync_after: Literal["delete", "archive"]
    sync_hold_seconds: float
    sync_archive_keep: Keep | None
    sync_prune_empty: float
    sync_msg_id: Literal["content", "site", "path"]
    sync_order: Literal["oldest", "newest"]
    sync_bwlimit: Timetable
    sync_compress: Literal["none", "zstd"]
    sync_probe_seconds: float
    sync_http_addr: str
    sync_http_token_file: Path | None
    sync_http_hosts: str | None
    sync_steer_uids: frozenset[int] | None
    sync_min_free_bytes: int
    sync_checkpoint_key: Path | None
    sync_checkpoint_origin: str | None
    sync_log_format: Literal["json", "console"] | None
    sync_log_level: Literal["debug", "info", "warning", "error"]

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """None but what is handed in: `given` merges by itself, since it must tell where each value is from."""
        return (init_settings,)

    @classmethod
    def load(cls, flags: Texts, environ: Texts, dotenv: Texts) -> Loaded:
        """The settings from these three, as `given.gather` reads them.

        Raises SettingsError with all that is wrong, in one line.
        """
        return cls.of(gather(flags, environ, dotenv))

    @classmethod
    def of(cls, given: Given) -> Loaded:
        """The same settings for the parts of the daemon."""
        return Loaded(cls.model_validate({name.lower(): value for name, value in given.values.items()}), given.sources)

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
        refuse(problems)

    @property
    def nats_urls(self) -> tuple[str, ...]:
        """The servers' URLs, each with its port, and with the passwords in them."""
        return tuple(self.nats_url.get_secret_value().split(","))

    @property
    def login_files(self) -> tuple[Path | None, ...]:
        """The files whose keys log in somewhere."""
        return self.nats_creds, self.nats_nkey_seed, self.nats_tls_key

    @property
    def http_host(self) -> str:
        """Where to listen, without brackets."""
        return addresses.address(self.sync_http_addr)[0]

    @property
    def http_port(self) -> int:
        """The port to listen on; 0: any free one."""
        return addresses.address(self.sync_http_addr)[1] or 0

    @property
    def http_hosts(self) -> frozenset[str]:
        """Further names by which the port may be addressed, in small letters."""
        return frozenset(self.sync_http_hosts.split(",")) if self.sync_http_hosts else frozenset()

    @property
    def subject_is_per_digest(self) -> bool:
        """Whether each content has its own subject, so that the stream itself can refuse a second copy."""
        return "{sha256}" in self.sync_subject

    @property
    def subject_wildcard(self) -> str:
        """What a created stream captures: the subjects of all sites. A wildcard stands for a whole token."""
        return ".".join("*" if "{" in token else token for token in self.sync_subject.split("."))

    @property
    def subject_form(self) -> str:
        """How all subjects of this site begin, up to the token with the site in it; empty without one."""
        tokens = self.sync_subject.split(".")
        count = max((at + 1 for at, token in enumerate(tokens) if "{site}" in token), default=0)
        return ".".join(tokens[:count]).replace("{site}", self.site).replace("{sha256}", "*")

    def subject_for(self, msg_id: str) -> str:
        """The subject of the message with this id, which is a SHA-256 in hexadecimal."""
        return self.sync_subject.replace("{site}", self.site).replace("{sha256}", msg_id)


class Loaded(NamedTuple):
    """Settings, and for every variable where its value comes from."""

    settings: Settings
    sources: Mapping[str, Source]
