"""The table of all settings: the name of each, what its text may be, its default and what it means. Pure.

A setting has one name everywhere: `SYNC_AFTER` in the environment and in `.env`, the flag `--sync-after`, the field
`sync_after` of `values.Settings`. Flags, help, checks and `syncdaemon config` are made of this table.
The module has more than 250 lines because every setting is a row of this one table.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any, NamedTuple

from syncdaemon.base import keep, timetable, units
from syncdaemon.settings import addresses, users


class Kind(NamedTuple):
    """What a setting may be: `read` makes the value of a text, or raises Wrong; `write` shows the value to people.

    A `secret` is never shown, not even where it is wrong.
    """

    read: Callable[[str], Any]
    write: Callable[[Any], str] = str
    secret: bool = False


class Setting(NamedTuple):
    """One setting. `default` is the text that counts where none is given; None: it is not set then."""

    variable: str
    kind: Kind
    default: str | Callable[[], str] | None
    about: str

    @property
    def field(self) -> str:
        """Its name as a field, and as a flag without the dashes."""
        return self.variable.lower()

    def value(self, text: str | None) -> Any:
        """The value of this text, or of the default where there is none; None where it is not set.

        Raises Wrong.
        """
        if text is None:
            text = self.default() if callable(self.default) else self.default
        return None if text is None else self.kind.read(text)

    def shown(self, value: Any) -> str:
        """The value as a text that could be given back, but a secret is masked. It is empty where there is none."""
        return "" if value is None else self.kind.write(value)


def _masked(value: str) -> str:
    return units.MASK


def _yes_or_no(value: bool) -> str:
    return str(value).lower()


def _host() -> str:
    return units.site_of(platform.node())


_BOOLEAN = Kind(units.boolean, _yes_or_no)
_BYTES = Kind(units.size, units.size_text)
_KEY_FILE = Kind(units.key_file)
_PATH = Kind(units.path)
_SECONDS = Kind(units.seconds, units.seconds_text)
_SECRET = Kind(units.login, _masked, secret=True)

SETTINGS = (
    Setting("EDGE_MODE", _BOOLEAN, "true", "false: stand by; watch and report, but publish nothing"),
    Setting(
        "SITE",
        Kind(units.site),
        _host,
        "this site's name in subjects, ledger and metrics: 1 to 63 of a-z, 0-9 and -",
    ),
    Setting(
        "NATS_URL",
        Kind(addresses.servers, addresses.masked_servers),
        "nats://127.0.0.1:4222",
        "nats://host:port, or tls://host:port for TLS or nothing; several with commas between",
    ),
    Setting("NATS_CREDS", _KEY_FILE, None, "file with the user's JWT and key (.creds)"),
    Setting("NATS_NKEY_SEED", _KEY_FILE, None, "file with the user's nkey seed"),
    Setting("NATS_USER", Kind(units.login), None, "user name, with NATS_PASSWORD"),
    Setting("NATS_PASSWORD", _SECRET, None, "password of NATS_USER"),
    Setting("NATS_TOKEN", _SECRET, None, "token, for a server that asks for one"),
    Setting("NATS_TLS_CA", _KEY_FILE, None, "file with the CAs to trust (PEM); unset: the system's"),
    Setting("NATS_TLS_CERT", _KEY_FILE, None, "file with the daemon's certificate (PEM)"),
    Setting("NATS_TLS_KEY", _KEY_FILE, None, "file with the private key of NATS_TLS_CERT (PEM)"),
    Setting("NATS_TLS_FIRST", _BOOLEAN, "false", "true: TLS before the server's greeting (handshake_first there)"),
    Setting(
        "NATS_JS_DOMAIN",
        Kind(units.domain),
        None,
        "domain of the JetStream that has the stream, where the server itself only forwards to it",
    ),
    Setting(
        "NATS_HUB_DOMAIN",
        Kind(units.domain),
        None,
        "domain of the hub's JetStream, where the site's own server is a leaf node of a hub",
    ),
    Setting(
        "NATS_MONITOR_URL",
        Kind(addresses.monitor),
        None,
        "the server's monitoring address, http://host:8222, where doctor sees whether it syncs",
    ),
    Setting(
        "SYNC_SUBJECT",
        Kind(units.subject),
        "edge.replay.{site}.{sha256}",
        "subject of each message; {site} and {sha256} (the message's id) are filled in",
    ),
    Setting(
        "SYNC_STREAM",
        Kind(units.stream_name),
        "swarm_jobs",
        "stream that stores the messages; created if missing, never altered",
    ),
    Setting(
        "SYNC_BUCKET",
        Kind(units.bucket),
        "edge_replay_{site}",
        "bucket for files too large for a message, with {site} filled in; edge_replay where only that is there",
    ),
    Setting("SYNC_STREAM_CREATE", _BOOLEAN, "true", "false: a missing stream is an error"),
    Setting(
        "SYNC_STREAM_MAX_AGE",
        Kind(units.max_age, units.max_age_text),
        "0",
        "created stream: how long it keeps a message, seconds or such as 30d; 0: for ever",
    ),
    Setting("SYNC_STREAM_MAX_BYTES", _BYTES, "0", "created stream: its limit in bytes; 0: none"),
    Setting("SYNC_STREAM_MAX_MSGS", Kind(units.count), "0", "created stream: its limit in messages; 0: none"),
    Setting(
        "SYNC_STREAM_REPLICAS",
        Kind(units.replicas),
        "1",
        "created stream: how many servers keep a copy, 1 to 5",
    ),
    Setting(
        "SYNC_STREAM_FREE",
        _BOOLEAN,
        "false",
        "true: a created stream is this site's alone, and `receive --free` may empty its messages",
    ),
    Setting(
        "SYNC_TOMBSTONES",
        Kind(units.word("refuse", "delivered")),
        "refuse",
        "a file whose subject says that it was received and freed: refuse it, or count it as delivered",
    ),
    Setting(
        "SYNC_REPLAY_DIR",
        _PATH,
        "/agentforge/replay",
        "directory whose files are delivered, with its subfolders",
    ),
    Setting(
        "SYNC_LEDGER_DIR",
        _PATH,
        "services/syncdaemon/logs",
        "directory of the ledger, from the working directory",
    ),
    Setting("SYNC_SETTLE_SECONDS", _SECONDS, "0.25", "quiet seconds until a file counts as complete"),
    Setting("SYNC_SETTLE_IN_PLACE_SECONDS", _SECONDS, "30", "the same for others' files that nothing was seen of"),
    Setting(
        "SYNC_RESCAN_SECONDS",
        Kind(units.some_seconds, units.seconds_text),
        "30",
        "seconds between two full scans of the replay directory",
    ),
    Setting(
        "SYNC_AFTER",
        Kind(units.word("delete", "archive")),
        "delete",
        "what becomes of a delivered file: delete or archive",
    ),
    Setting(
        "SYNC_HOLD_SECONDS",
        _SECONDS,
        "150",
        "seconds that a delivered file is kept in case the server loses it; 0: none",
    ),
    Setting(
        "SYNC_ARCHIVE_KEEP",
        Kind(keep.keep, keep.keep_text),
        None,
        "how much of the archive is kept, such as 30d or 50Gi, the newest files; unset: all",
    ),
    Setting(
        "SYNC_PRUNE_EMPTY",
        Kind(keep.duration, keep.duration_text),
        "off",
        "how long nothing must have happened in an empty folder until it is removed, such as 7d; off: never",
    ),
    Setting(
        "SYNC_MSG_ID",
        Kind(units.word("content", "site", "path")),
        "content",
        "what makes two files one: content, site (+ content), path (+ site + content)",
    ),
    Setting(
        "SYNC_ORDER",
        Kind(units.word("oldest", "newest")),
        "oldest",
        "which waiting file goes first: oldest or newest",
    ),
    Setting(
        "SYNC_BWLIMIT",
        Kind(timetable.timetable),
        "off",
        "bytes a second that may be sent, or a timetable such as 08:00,512k 18:00,off",
    ),
    Setting("SYNC_COMPRESS", Kind(units.word("none", "zstd")), "none", "compression of messages: none or zstd"),
    Setting(
        "SYNC_PROBE_SECONDS",
        Kind(units.some_seconds, units.seconds_text),
        "30",
        "longest pause between two probes of an idle link, in seconds; below 0.5 counts as 0.5",
    ),
    Setting(
        "SYNC_HTTP_ADDR",
        Kind(addresses.listen_address),
        "127.0.0.1:8080",
        "host:port for metrics, health and status; port 0: any free one",
    ),
    Setting(
        "SYNC_HTTP_TOKEN_FILE",
        _KEY_FILE,
        None,
        "file with the token that clients on other machines need for status; unset: they get none",
    ),
    Setting(
        "SYNC_HTTP_HOSTS",
        Kind(addresses.host_names),
        None,
        "further names by which clients may address the port, with commas between",
    ),
    Setting(
        "SYNC_STEER_UIDS",
        Kind(users.uids, users.uids_text),
        None,
        "numbers of the users who may steer the daemon beside its own, with commas between; root only if named",
    ),
    Setting(
        "SYNC_MIN_FREE_BYTES",
        _BYTES,
        "64Mi",
        "free bytes on the ledger's disk below which delivery pauses; 0: never",
    ),
    Setting(
        "SYNC_CHECKPOINT_KEY",
        _KEY_FILE,
        None,
        "file with the key that signs the ledger's checkpoints (syncdaemon key new); unset: no tree, none are signed",
    ),
    Setting(
        "SYNC_CHECKPOINT_ORIGIN",
        Kind(addresses.origin),
        None,
        "what the log's name begins with, such as edge.example.com/evidence; needed with SYNC_CHECKPOINT_KEY",
    ),
    Setting(
        "SYNC_LOG_FORMAT",
        Kind(units.word("json", "console")),
        None,
        "json or console; unset: console on a terminal, json elsewhere",
    ),
    Setting(
        "SYNC_LOG_LEVEL",
        Kind(units.word("debug", "info", "warning", "error")),
        "info",
        "least level that is logged: debug, info, warning or error",
    ),
)
"""In the order of the documentation."""

VARIABLES = tuple(setting.variable for setting in SETTINGS)
"""The names of all settings."""
