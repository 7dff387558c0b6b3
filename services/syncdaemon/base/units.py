"""How the text of a setting is read, and how a value is written for people. Pure.

Every reader takes the text and returns the value, or raises `Wrong`.

Sizes are whole bytes, or a whole number with a unit: `Ki Mi Gi Ti` count in 1024s, `k M G T` in 1000s, as in
Kubernetes. Durations are seconds, or a number with `s`, `m`, `h` or `d`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

MASK = "********"
_LARGEST = 2**63 - 1  # bytes: what a server's counters hold
_LONGEST = 9.2e9  # seconds: what a server's 64-bit nanoseconds hold

_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True}
_BOOLEANS |= {"false": False, "no": False, "off": False, "0": False}
_SIZES = {"Ti": 1 << 40, "T": 10**12, "Gi": 1 << 30, "G": 10**9}
_SIZES |= {"Mi": 1 << 20, "M": 10**6, "Ki": 1 << 10, "k": 10**3}
_DURATIONS = {"d": 86_400, "h": 3_600, "m": 60}

_SIZE = re.compile(r"([0-9]{1,19})((?:[KMGT]i|[kMGT])?)")
_DURATION = re.compile(r"(.*[0-9.])([smhd]?)")
_KEY_MATERIAL = re.compile(r"-----BEGIN|eyJ|S[A-Z][A-Z2-7]{56}$")
_PLACEHOLDER = re.compile(r"\{(?:site|sha256)\}")
_DEFAULT_SUBJECT = "edge.replay.{site}.{sha256}"


class Wrong(ValueError):
    """The text is no such value. `what` is wrong with it, and the `remedy`, are parts of one line.

    `shown` stands in for the text where that may hold a secret.
    """

    def __init__(self, what: str, remedy: str, shown: str = "") -> None:
        super().__init__(f"{what}, {remedy}")
        self.what = what
        self.remedy = remedy
        self.shown = shown


def boolean(text: str) -> bool:
    """true or false, in one of the usual spellings."""
    if (value := _BOOLEANS.get(text.lower())) is None:
        raise Wrong("not a yes or no", "write true or false")
    return value


def word(*known: str) -> Callable[[str], str]:
    """A reader of one of these words, in small or capital letters."""
    *others, last = map(repr, known)

    def read(text: str) -> str:
        if text.lower() not in known:
            raise Wrong(f"not {', '.join(others)} or {last}", "write one of these")
        return text.lower()

    return read


def size(text: str) -> int:
    """Bytes: `67108864`, `64Mi`, `512k`."""
    if not (match := _SIZE.fullmatch(text)):
        raise Wrong("not a size", "write whole bytes, or with Ki, Mi, Gi, Ti (1024s) or k, M, G, T (1000s)")
    value = int(match[1]) * _SIZES.get(match[2], 1)
    if value > _LARGEST:
        raise Wrong("too large", "write at most 8388607Ti")
    return value


def size_text(value: int) -> str:
    """What `size` reads as this value, in the largest unit that divides it."""
    unit = next((unit for unit, factor in _SIZES.items() if value and value % factor == 0), "")
    return f"{value // _SIZES.get(unit, 1)}{unit}"


def seconds(text: str) -> float:
    """Seconds, 0 or more: `150`, `0.25`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise Wrong("not a number of seconds", "write a plain number, 0 or more")
    return value


def some_seconds(text: str) -> float:
    """Seconds, more than 0."""
    if not (value := seconds(text)):
        raise Wrong("not more than 0 seconds", "write a number above 0")
    return value


def seconds_text(value: float) -> str:
    """What `seconds` reads as this value."""
    return repr(value).removesuffix(".0")


def max_age(text: str) -> float:
    """Seconds that a stream may take as its `max_age`, 0 for no limit: `90`, `45s`, `15m`, `12h`, `30d`."""
    number, unit = match.groups() if (match := _DURATION.fullmatch(text)) else ("", "")
    try:
        value = seconds(number) * _DURATIONS.get(unit, 1)
    except Wrong:
        raise Wrong("not a duration", "write seconds, or a number with s, m, h or d, such as 30d") from None
    if value and not 0.1 <= value <= _LONGEST:
        raise Wrong("out of a stream's range", "write 0 for no limit, or 0.1 (seconds) to 106000d")
    return value


def duration(text: str) -> float:
    """Seconds, more than 0: `90`, `45s`, `15m`, `2h`, `30d`."""
    number, unit = match.groups() if (match := _DURATION.fullmatch(text)) else ("", "")
    try:
        return some_seconds(number) * _DURATIONS.get(unit, 1)
    except Wrong:
        raise Wrong("not a duration", "write seconds, or a number with s, m, h or d, such as 2h") from None


def max_age_text(value: float) -> str:
    """What `max_age` reads as this value, in the largest unit that divides it."""
    unit = next((unit for unit, factor in _DURATIONS.items() if value and value % factor == 0), "")
    return f"{seconds_text(value / _DURATIONS.get(unit, 1))}{unit}"


def replicas(text: str) -> int:
    """How many servers keep a stream."""
    if text not in ("1", "2", "3", "4", "5"):
        raise Wrong("not a number of replicas", "write a whole number from 1 to 5")
    return int(text)


def count(text: str) -> int:
    """A whole number of things, 0 or more: `250000`."""
    if not re.fullmatch(r"[0-9]{1,19}", text):
        raise Wrong("not a whole number", "write digits alone, such as 250000")
    if int(text) > _LARGEST:
        raise Wrong("too large", f"write at most {_LARGEST}")
    return int(text)


def duration_in_words(value: float) -> str:
    """Seconds for people: `2 minutes`, `30 days`, `1.5 seconds`."""
    for factor, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if value >= factor:
            number = f"{value / factor:.1f}".removesuffix(".0")
            return f"{number} {word}" + ("" if number == "1" else "s")
    return f"{value:.3g} second" + ("" if value == 1 else "s")


def size_in_words(value: int) -> str:
    """Bytes for people: `1.5 GiB`."""
    for power, word in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if value >= 1 << (10 * power):
            return f"{value / (1 << (10 * power)):.1f} {word}".replace(".0 ", " ")
    return f"{value} bytes"


def login(text: str) -> str:
    """A user name, password or token."""
    if not text or not text.isprintable():
        what = "empty, or with something unprintable in it, such as a line break"
        raise Wrong(what, "give the bare text (printf, not echo)")
    return text


def path(text: str) -> Path:
    """A path in the file system."""
    try:
        good = b"\0" not in text.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # half a character, which no name on a disk can be
        good = False
    if not text or not good:
        raise Wrong("not a path", "name a file or directory")
    return Path(text)


def key_file(text: str) -> Path:
    """The path of a file with a key or certificate; never what should be in that file."""
    if _KEY_MATERIAL.match(text.strip()) or "\n" in text or "\0" in text:
        raise Wrong("the key itself, not a file's name", "put it into a file and name that", MASK)
    return path(text)


def site(text: str) -> str:
    """A site label."""
    if not re.fullmatch("[a-z0-9-]{1,63}", text):
        raise Wrong("not a site label", "use 1 to 63 of a-z, 0-9 and -")
    return text


def site_of(hostname: str) -> str:
    """The label of a site that was given none."""
    return re.sub(r"[^a-z0-9-]", "-", hostname.lower())[:63].strip("-") or "edge"


def stream_name(text: str) -> str:
    """A legal name of a JetStream stream."""
    if not 0 < len(text) < 256 or any(c in " .*>/\\" or not c.isprintable() for c in text):
        raise Wrong("not a stream name", "use 1 to 255 characters, none of them a blank or one of . * > / \\")
    return text


def domain(text: str) -> str:
    """The name of a JetStream domain: one token of a subject."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", text):
        raise Wrong("not the name of a domain", "use letters, digits, - and _")
    return text


def bucket(text: str) -> str:
    """The template of a bucket's name (ADR-20), with `{site}` as its placeholder."""
    name = text.replace("{site}", "s" * 63)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,251}", name):
        raise Wrong("not a bucket's name", "use letters, digits, - and _, and {site} for the site")
    return text


def subject(text: str) -> str:
    """The template of a subject: tokens with dots between, and `{site}` and `{sha256}` as placeholders."""
    tokens = text.split(".")
    if re.search(r"[{}]", _PLACEHOLDER.sub("x", text)):
        raise Wrong("has a placeholder that does not exist", "use only {site} and {sha256}")
    if not all(tokens) or len(text) > 255:
        raise Wrong("has an empty part, or more than 255 characters", "write words with single dots between")
    if any(c in " *>" or not c.isprintable() for c in text):
        raise Wrong("has a blank or a wildcard", "leave out blanks, * and >")
    if any(token.startswith("$") for token in tokens):
        raise Wrong("has a part that begins with $, as the server's own subjects do", "use another word")
    if any("{sha256}" in token and token != "{sha256}" for token in tokens):
        raise Wrong("has {sha256} inside a word", f"put it between dots, as in {_DEFAULT_SUBJECT}")
    if all("{" in token for token in tokens):
        # A stream with nothing but wildcards would swallow the messages of other programs.
        raise Wrong("has no fixed part", f"put a word between the dots, as in {_DEFAULT_SUBJECT}")
    return text
