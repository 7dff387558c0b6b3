"""Who may see what. Pure.

Metrics and probes are for everybody who reaches the port. The other pages name files, digests and addresses, so three
questions come before them. Is the name in `Host` one of ours (else a foreign page may have bound its own name to our
address, which is called DNS rebinding)? Did a page of another site fetch or embed the page (RFC 6454, and the W3C's
"Fetch Metadata Request Headers")? And is the peer on this machine, or does it send the token (RFC 6750, RFC 7617)?

Who the peer is, the connection says. No header about it is believed, such as X-Forwarded-For.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple
from urllib.parse import parse_qsl

HEADERS = ("Host", "Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Authorization")
"""The headers that decide."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(?::[0-9]{1,5})?")
_SECRET_NAME = re.compile(
    r"(?:^|[^a-z])(?:token|auth|authori[sz]ation|bearer|basic|key|apikey|pass|passwd|password|pwd|secret|credentials?"
    r"|jwt)$"
)


class Asked(NamedTuple):
    """A request, as far as it decides. `peer`: the address that it came from; empty for a Unix socket.

    `target` is the request's target as it was sent. `headers` has every value of those in HEADERS, by their names.
    """

    peer: str
    method: str
    target: str
    headers: Mapping[str, Sequence[str]]

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


class Barred(NamedTuple):
    """Why a request is not answered with its page: the status, one line for a person, and further headers."""

    status: int
    line: str
    headers: tuple[tuple[str, str], ...] = ()


NO_TOKEN_SET = Barred(
    403,
    "only this machine may see this page: ask there with `syncdaemon status`, or set SYNC_HTTP_TOKEN_FILE and send the"
    " token",
)
NO_USABLE_TOKEN = Barred(403, "the file of SYNC_HTTP_TOKEN_FILE holds no usable token now: the daemon's log says why")
_TOKEN_WANTED = Barred(
    401,
    "this page wants the token of SYNC_HTTP_TOKEN_FILE: send it as Bearer, or as the password of HTTP Basic",
    (("WWW-Authenticate", 'Basic realm="syncdaemon", charset="UTF-8"'), ("WWW-Authenticate", "Bearer")),
)
_UNKNOWN_HOST = Barred(
    403, "Host names neither an address, nor localhost, nor one of SYNC_HTTP_HOSTS: add the name there, or use another"
)
_FOREIGN_PAGE = Barred(403, "pages of other sites may link to this page, but neither fetch nor embed it")
_SECRET_IN_URL = Barred(400, "a token never belongs into a URL: renew it, and send it as Bearer or as Basic's password")
_NO_PATH = Barred(400, "the target of a request is a path here, such as /livez")


def barred_target(target: str, token: bytes | Barred) -> Barred | None:
    """Why this target is refused on every page; None where it is not."""
    if not target.startswith("/"):
        return _NO_PATH  # a whole URL would name a second host beside Host
    for name, value in parse_qsl(target.partition("?")[2], keep_blank_values=True):
        if _SECRET_NAME.search(name.lower()) or _is_token(name, token) or _is_token(value, token):
            return _SECRET_IN_URL
    return None


def barred(asked: Asked, hosts: frozenset[str], token: bytes | Barred) -> Barred | None:
    """Why the sender may not see what names files and addresses; None where it may.

    `hosts`: further names that may stand in `Host`, in small letters. `token`: what strangers must send, or why there
    is nothing that they could send.
    """
    if not _host_is_ours(asked.headers["Host"], hosts):
        return _UNKNOWN_HOST
    if _is_foreign(asked.headers):
        return _FOREIGN_PAGE
    if is_local(asked.peer):
        return None
    if isinstance(token, Barred):
        return token
    return None if _shows(asked.headers["Authorization"], token) else _TOKEN_WANTED


def is_local(peer: str) -> bool:
    """Whether this address is of a peer on this machine: a loopback address, or a Unix socket."""
    if not peer:
        return True
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _host_is_ours(values: Sequence[str], hosts: frozenset[str]) -> bool:
    if len(values) != 1 or not (match := _HOST.fullmatch(values[0])):
        return False
    name = match[1].lower()
    return name.removesuffix(".") in hosts | {"localhost"} or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        IPv6Address(name[1:-1]) if name.startswith("[") else IPv4Address(name)
    except ValueError:
        return False
    return True


def _is_foreign(headers: Mapping[str, Sequence[str]]) -> bool:
    """Whether a page of another site fetches or embeds. A link that somebody follows is neither."""
    (host,) = headers["Host"]
    ours = {f"http://{host}".lower(), f"https://{host}".lower()}
    if any(origin.lower() not in ours for origin in headers["Origin"]):
        return True
    if all(site in ("same-origin", "none") for site in headers["Sec-Fetch-Site"]):
        return False
    return [*headers["Sec-Fetch-Mode"], *headers["Sec-Fetch-Dest"]] != ["navigate", "document"]


def _shows(values: Sequence[str], token: bytes) -> bool:
    """Whether this is the token, as Bearer or as the password of Basic."""
    if len(values) != 1:
        return False
    scheme, _, rest = values[0].partition(" ")
    rest = rest.strip(" ")
    if scheme.lower() == "bearer":
        return _is_token(rest, token)
    if scheme.lower() != "basic":
        return False
    try:
        login = b64decode(rest, validate=True)
    except ValueError:
        return False
    return _same(login.partition(b":")[2], token)


def _is_token(text: str, token: bytes | Barred) -> bool:
    return not isinstance(token, Barred) and _same(text.encode("utf-8", "surrogateescape"), token)


def _same(one: bytes, other: bytes) -> bool:
    """In a time that tells nothing of either, their lengths included."""
    return hmac.compare_digest(sha256(one).digest(), sha256(other).digest())
