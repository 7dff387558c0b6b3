"""How the text of a setting is read, and how a value is written for people. Pure.

Every reader takes the text and returns the value, or raises `Wrong`.

Sizes: a whole number of bytes, or one with a unit. `Ki Mi Gi Ti` count in 1024s and `k M G T` in 1000s, as in
Kubernetes. Durations: seconds, or a number with `s`, `m`, `h` or `d`.
"""

from __future__ import annotations

import math
import re
from ipaddress import IPv6Address
from pathlib import Path

MASK = "********"
LONGEST = 9.2e9  # seconds: what a server's 64-bit nanoseconds hold
_LARGEST = 2**63 - 1  # bytes: what a server's counters hold

_SIZES = {
    "Ti": 1 << 40, "T": 10**12, "Gi": 1 << 30, "G": 10**9, "Mi": 1 << 20, "M": 10**6, "Ki": 1 << 10, "k": 10**3,
}  # fmt: skip
_DURATIONS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_SIZE = re.compile(rf"([0-9]{{1,19}})({'|'.join(_SIZES)})?")
_DURATION = re.compile(r"(.*[0-9.])([smhd])?")
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_ADDRESS = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([^:]*))?")
_HOST = re.compile(r"[A-Za-z0-9._-]+")
_PORT = re.compile(r"[0-9]{1,5}")
_SITE = re.compile(r"[a-z0-9-]{1,63}")
_LOGIN = re.compile(r"(?<=//)(?:([^:@/,]*):)?[^@/,]*@")
_PLACEHOLDER = re.compile(r"\{(?:site|sha256)\}")
_KEY_MATERIAL = re.compile(r"-----BEGIN|eyJ|S[A-Z][A-Z2-7]{56}$")


class Wrong(ValueError):
    """The text is no such value. `what` is wrong with it, and the `remedy`, as parts of one line.

    `shown` stands in for the text where the text itself may hold a secret.
    """

    def __init__(self, what: str, remedy: str, shown: str | None = None) -> None:
        super().__init__(f"{what}, {remedy}")
        self.what = what
        self.remedy = remedy
        self.shown = shown


def boolean(text: str) -> bool:
    """true or false, in one of the usual spellings."""
    if (value := _BOOLEANS.get(text.lower())) is None:
        raise Wrong("not a yes or no", "write true or false")
    return value


def size(text: str) -> int:
    """Bytes: `67108864`, `64Mi`, `512k`."""
    if not (match := _SIZE.fullmatch(text)):
        raise Wrong(
            "not a size", "write whole bytes, or a whole number with Ki, Mi, Gi, Ti (1024s) or k, M, G, T (1000s)"
        )
    value = int(match[1]) * _SIZES.get(match[2], 1)
    if value > _LARGEST:
        raise Wrong("too large", "write at most 8388607Ti")
    return value


def size_text(value: int) -> str:
    """The shortest text that `size` reads as this value."""
    for unit, factor in _SIZES.items():
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return str(value)


def seconds(text: str) -> float:
    """Seconds, zero or more: `150`, `0.25`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise Wrong("not a number of seconds", "write a plain number, 0 or more")
    return value


def some_seconds(text: str) -> float:
    """Seconds, more than zero."""
    if not (value := seconds(text)):
        raise Wrong("not more than 0 seconds", "write a number above 0")
    return value


def seconds_text(value: float) -> str:
    """The text that `seconds` reads as this value."""
    return repr(float(value)).removesuffix(".0")


def duration(text: str) -> float:
    """Seconds from `90`, `45s`, `15m`, `12h` or `30d`."""
    match = _DURATION.fullmatch(text)
    try:
        value = seconds(match[1] if match else "") * _DURATIONS.get(match[2] if match else "", 1)
    except Wrong:
        raise Wrong("not a duration", "write seconds, or a number with s, m, h or d, such as 30d") from None
    if value > LONGEST:
        raise Wrong("too long", "write at most 106000d, or 0 for no limit")
    return value


def duration_text(value: float) -> str:
    """The shortest text that `duration` reads as this value."""
    for unit, factor in _DURATIONS.items():
        if value and factor > 1 and value % factor == 0:
            return f"{int(value // factor)}{unit}"
    return seconds_text(value)


def max_age(text: str) -> float:
    """A duration that a stream takes as its `max_age`; 0 for no limit."""
    if 0 < (value := duration(text)) < 0.1:
        raise Wrong("too short for a stream", "write at least 0.1, or 0 for no limit")
    return value


def replicas(text: str) -> int:
    """How many servers keep a stream."""
    if text not in ("1", "2", "3", "4", "5"):
        raise Wrong("not a number of replicas", "write a whole number from 1 to 5")
    return int(text)


def address(text: str) -> tuple[str, int | None]:
    """Host and port of `host`, `host:port` or `[IPv6]:port`; the host comes without brackets.

    The text of a `Wrong` from here never quotes any of it.
    """
    remedy = "write host:port, an IPv6 address in brackets"
    if not (match := _ADDRESS.fullmatch(text)):
        raise Wrong("has too many colons or unpaired brackets", remedy)
    host, port = match[1], match[2]
    if host.startswith("["):
        host = host[1:-1]
        try:
            IPv6Address(host)
        except ValueError:
            raise Wrong("has no IPv6 address in its brackets", remedy) from None
    elif not _HOST.fullmatch(host):
        raise Wrong("has no legal host" if host else "has no host", remedy)
    if port is not None and not (_PORT.fullmatch(port) and int(port) < 65_536):
        raise Wrong("has a port that is not a number from 0 to 65535", remedy)
    return host, None if port is None else int(port)


def listen_address(text: str) -> str:
    """A `host:port` to listen on."""
    if address(text)[1] is None:
        raise Wrong("has no port", "write host:port, such as 0.0.0.0:8080")
    return text


def servers(text: str) -> str:
    """NATS server URLs with commas between, every one with its port and without blanks around it."""
    urls = [url.strip() for url in text.split(",")]
    for number, url in enumerate(urls, 1):
        try:
            urls[number - 1] = _server(url)
        except Wrong as wrong:
            # A password may hold a comma or an @: of a text with a login, show only what is surely a host.
            shown = repr(url) if "@" not in text else MASK + url[url.rfind("@") :] if "@" in url else MASK
            which = f"server {number} of {len(urls)} " if len(urls) > 1 else ""
            raise Wrong(which + wrong.what, wrong.remedy, shown) from None
    return ",".join(urls)


def _server(url: str) -> str:
    remedy = "write nats://host:4222 or tls://host:4222, several with commas between"
    scheme, _, rest = url.partition("://")
    if scheme not in ("nats", "tls") or not rest:
        raise Wrong("does not begin with nats:// or tls:// and a host" if url else "is empty", remedy)
    login, at, place = rest.rpartition("@")
    if at and (not all(login.split(":", 1)) or re.search(r"[@/?#%\s]", login)):
        # Clients differ in whether they decode %40 and the like: a setting of its own has one meaning only.
        what = "has a login that is incomplete or holds one of @ / ? # % or a blank"
        raise Wrong(what, "use NATS_USER and NATS_PASSWORD, or NATS_TOKEN")
    if re.search(r"[/?#]", place):
        raise Wrong("goes on after host and port", remedy)
    try:
        port = address(place)[1]
    except Wrong as wrong:
        raise Wrong(wrong.what, remedy) from None
    if port == 0:
        raise Wrong("has port 0", remedy)
    return f"{scheme}://{login}{at}{place}" + (":4222" if port is None else "")


def masked_servers(text: str) -> str:
    """The server URLs with passwords, and tokens in their place, masked."""
    return _LOGIN.sub(lambda login: (f"{login[1]}:" if login[1] is not None else "") + MASK + "@", text)


def login(text: str) -> str:
    """A user name, password or token."""
    if not text or any(character < " " for character in text):
        raise Wrong("empty, or with a line break or control character in it", "give the bare text (printf, not echo)")
    return text


def path(text: str) -> Path:
    """A path in the file system."""
    if not text or "\0" in text:
        raise Wrong("not a path", "name a file or directory")
    return Path(text)


def key_file(text: str) -> Path:
    """The path of a file with keys or certificates; never what should be in it."""
    if _KEY_MATERIAL.match(text.strip()):
        remedy = "put it into a file that only the daemon can read, and give that file's name"
        raise Wrong("the key itself, not the name of a file", remedy, MASK)
    return path(text)


def site(text: str) -> str:
    """A site label."""
    if not _SITE.fullmatch(text):
        raise Wrong("not a site label", "use 1 to 63 of a-z, 0-9 and -")
    return text


def site_of(hostname: str) -> str:
    """The site label of a host that was given none."""
    return re.sub(r"[^a-z0-9-]", "-", hostname.lower())[:63].strip("-") or "edge"


def stream_name(text: str) -> str:
    """A legal name of a JetStream stream."""
    if not 0 < len(text) < 256 or any(c in ".*>/\\ " or not c.isprintable() for c in text):
        raise Wrong("not a stream name", "use 1 to 255 characters, none of them a blank or one of . * > / \\")
    return text


def subject(text: str) -> str:
    """A template of a subject: tokens with dots between, `{site}` and `{sha256}` as placeholders."""
    tokens = text.split(".")
    if re.search(r"[{}]", _PLACEHOLDER.sub("x", text)):
        raise Wrong("has a placeholder that does not exist", "use only {site} and {sha256}")
    if not all(tokens) or len(text) > 255:
        raise Wrong("has an empty part or more than 255 characters", "write short words with single dots between")
    if any(c in " *>" or not c.isprintable() for c in text):
        raise Wrong("has a blank or a wildcard", "a subject to publish to has no blanks, * or >")
    if any(token.startswith("$") for token in tokens):
        raise Wrong("has a part that begins with $", "such subjects are the server's own, use another word")
    if any("{sha256}" in token and token != "{sha256}" for token in tokens):
        raise Wrong("has {sha256} within a word", "put it between dots, as in edge.replay.{site}.{sha256}")
    if all("{" in token for token in tokens):
        # As a stream's subject that would be wildcards only, which takes in other programs' messages.
        raise Wrong("has placeholders in every part", "put a fixed word before them, as in edge.replay.{site}.{sha256}")
    return text


def subject_wildcard(template: str) -> str:
    """What captures every subject of the template. A wildcard stands for a whole token, never for a part of one."""
    return ".".join("*" if "{" in token else token for token in template.split("."))
