"""Where a server is, where the daemon listens, and the name of a log: how the text of such a setting is read. Pure.

What is refused is said without the passwords in it.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address

from syncdaemon.base.units import MASK, Wrong

_ADDRESS = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([^:]*))?")
_LOGIN_IN_URL = re.compile(r"(?<=//)([^:@/,]*:)?[^@/,]*@")


def address(text: str) -> tuple[str, int | None]:
    """Host, without brackets, and port of `host`, `host:port` or `[IPv6]:port`.

    What the `Wrong` from here says never quotes the text.
    """
    remedy = "write host:port, an IPv6 address in brackets"
    if not (match := _ADDRESS.fullmatch(text)):
        raise Wrong("has colons or brackets too many", remedy)
    host, port = match[1], match[2]
    if host.startswith("["):
        host = host[1:-1]
        try:
            IPv6Address(host)
        except ValueError:
            raise Wrong("has no IPv6 address in its brackets", remedy) from None
    elif not re.fullmatch(r"[A-Za-z0-9._-]+", host):
        raise Wrong("has no legal host" if host else "has no host", remedy)
    if port is not None and not (re.fullmatch("[0-9]{1,5}", port) and int(port) < 65_536):
        raise Wrong("has a port that is not a number from 0 to 65535", remedy)
    return host, None if port is None else int(port)


def listen_address(text: str) -> str:
    """An address to listen on: with a port."""
    if address(text)[1] is None:
        raise Wrong("has no port", "write host:port, such as 0.0.0.0:8080")
    return text


def host_names(text: str) -> str:
    """Names of hosts with commas between: in small letters, without ports, blanks and the root's dot."""
    names = [name.strip().lower().removesuffix(".") for name in text.split(",")]
    for name in names:
        if not re.fullmatch(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", name):
            raise Wrong(
                f"{name!r} is no host name",
                "write names such as edge-1.example.net without scheme and port, with commas between",
            )
    return ",".join(names)


def servers(text: str) -> str:
    """NATS server URLs with commas between: each with its port, no blanks."""
    urls = [url.strip() for url in text.split(",")]
    for index, url in enumerate(urls):
        try:
            urls[index] = _server(url)
        except Wrong as wrong:
            # A password may hold a comma or an @: of a text with a login, show only what is surely a host.
            shown = repr(url) if "@" not in text else MASK + url[url.rfind("@") :] if "@" in url else MASK
            which = f"server {index + 1} of {len(urls)} " if len(urls) > 1 else ""
            raise Wrong(which + wrong.what, wrong.remedy, shown) from None
    return ",".join(urls)


def _server(url: str) -> str:
    remedy = "write nats://host:4222 or tls://host:4222, several with commas between"
    scheme, _, rest = url.partition("://")
    if scheme not in ("nats", "tls") or not rest:
        raise Wrong("does not begin with nats:// or tls:// and a host" if url else "is empty", remedy)
    user, at, place = rest.rpartition("@")
    if at and (not all(user.split(":", 1)) or re.search(r"[@/?#% ]", user) or not user.isprintable()):
        # Clients differ in whether they decode %40 and the like; settings of their own mean one thing only.
        what = "has half a login, or one with @ / ? # %, a blank or something unprintable"
        raise Wrong(what, "use NATS_USER and NATS_PASSWORD, or NATS_TOKEN")
    try:
        port = address(place)[1]
    except Wrong as wrong:
        raise Wrong(wrong.what, remedy) from None
    if port == 0:
        raise Wrong("has port 0", remedy)
    return f"{scheme}://{rest}" + (":4222" if port is None else "")


def monitor(text: str) -> str:
    """The base of a server's monitoring pages, without a slash at its end."""
    remedy = "write http://host:8222"
    shown = MASK if "@" in text else ""
    scheme, _, place = text.rstrip("/").partition("://")
    if scheme not in ("http", "https") or not place:
        raise Wrong("does not begin with http:// or https:// and a host", remedy, shown)
    try:
        address(place)
    except Wrong as wrong:
        raise Wrong(wrong.what, remedy, shown) from None
    return f"{scheme}://{place}"


def masked_servers(text: str) -> str:
    """Server URLs with their passwords masked; a token, which stands in a user's place, too."""
    return _LOGIN_IN_URL.sub(rf"\g<1>{MASK}@", text)


def origin(text: str) -> str:
    """What the name of a log begins with (C2SP tlog-checkpoint): a URL without a scheme. Site and log id follow it."""
    if "://" in text:
        raise Wrong("a URL with its scheme", "leave out what stands before the name, such as https://")
    if not re.fullmatch(r"[!-*,-~]{1,174}", text) or not all(text.split("/")):
        raise Wrong("not the beginning of a log's name", "use printable ASCII without blanks and +, 174 bytes at most")
    return text
