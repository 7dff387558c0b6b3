"""Who may see what, request by request."""

from __future__ import annotations

from base64 import b64encode

import pytest

from syncdaemon.web.access import HEADERS, NO_TOKEN_SET, Asked, Barred, barred, barred_target, is_local

TOKEN = b"a-token-of-24-characters"
STRANGER = "10.77.0.2"


def asked(peer: str = "127.0.0.1", **headers: str | list[str]) -> Asked:
    """A request for /status. `headers`: with `_` for `-`; Host is an address where none is given."""
    found = {name: headers.get(name.replace("-", "_"), []) for name in HEADERS} | {
        "Host": headers.get("Host", "10.0.0.1:8080")
    }
    values = {name: [value] if isinstance(value, str) else value for name, value in found.items()}
    return Asked(peer, "GET", "/status", values)


def status(request: Asked, hosts: frozenset[str] = frozenset(), token: bytes | Barred = TOKEN) -> int:
    """With which status the request is refused; 200 where it is not."""
    why = barred(request, hosts, token)
    return why.status if why else 200


def basic(password: bytes, user: bytes = b"anyone") -> str:
    return "Basic " + b64encode(user + b":" + password).decode()


# The peer


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", ""])
def test_a_peer_on_this_machine_needs_no_token(peer: str) -> None:
    """A Unix socket's peer has no address."""
    assert is_local(peer)
    assert status(asked(peer)) == status(asked(peer), token=NO_TOKEN_SET) == 200


@pytest.mark.parametrize(
    "peer",
    ["10.0.0.1", "0.0.0.0", "126.255.255.255", "128.0.0.1", "::ffff:10.0.0.1", "::", "fe80::1%eth0", "?", "::7f00:1"],
)
def test_any_other_peer_does(peer: str) -> None:
    assert not is_local(peer)
    assert status(asked(peer)) == 401
    assert status(asked(peer), token=NO_TOKEN_SET) == 403


def test_no_header_makes_a_stranger_a_peer_on_this_machine() -> None:
    """They do not even reach the decision."""
    assert not {name.lower() for name in HEADERS} & {"x-forwarded-for", "forwarded", "x-real-ip", "x-client-ip"}


# The token


@pytest.mark.parametrize(
    "authorization",
    [
        f"Bearer {TOKEN.decode()}",
        f"bearer  {TOKEN.decode()} ",
        basic(TOKEN),
        basic(TOKEN, b""),
        basic(TOKEN).replace("Basic", "BASIC"),
    ],
)
def test_the_token_opens(authorization: str) -> None:
    assert status(asked(STRANGER, Authorization=authorization)) == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN.decode()[:-1]}",
        f"Bearer {TOKEN.decode()}x",
        f"Bearer {TOKEN.decode().upper()}",
        f"Token {TOKEN.decode()}",
        TOKEN.decode(),
        basic(TOKEN[:-1]),
        basic(b"", user=TOKEN),
        "Basic " + b64encode(TOKEN).decode(),
        "Basic not-base-64!",
        "Basic é",
        "Basic " + TOKEN.decode(),
        ["Bearer wrong", f"Bearer {TOKEN.decode()}"],
        [f"Bearer {TOKEN.decode()}", f"Bearer {TOKEN.decode()}"],
        f"Bearer \udcff{TOKEN.decode()}",
    ],
)
def test_nothing_else_opens(authorization: str | list[str]) -> None:
    assert status(asked(STRANGER, Authorization=authorization)) == 401


def test_a_browser_is_asked_for_the_token() -> None:
    why = barred(asked(STRANGER), frozenset(), TOKEN)
    assert why is not None
    assert [value.split()[0] for name, value in why.headers if name == "WWW-Authenticate"] == ["Basic", "Bearer"]


def test_a_foreign_page_never_makes_a_browser_ask() -> None:
    """The question comes last: else a page could have people type the token where it wants."""
    assert status(asked(STRANGER, Origin="https://evil.example")) == 403
    assert status(asked(STRANGER, Host="evil.example")) == 403


# The token in a URL


@pytest.mark.parametrize(
    "query",
    [
        "token=x",
        "access_token=x",
        "a=1&Auth=x",
        "password=",
        "api_key=x",
        "api-key=x",
        f"q={TOKEN.decode()}",
        f"{TOKEN.decode()}",
        f"{TOKEN.decode()}=1",
        "q=" + "".join(f"%{byte:02x}" for byte in TOKEN),
        "%74oken=x",
    ],
)
@pytest.mark.parametrize("path", ["/status", "/metrics", "/livez", "/", "/unknown"])
def test_a_token_in_a_url_is_refused_on_every_page(path: str, query: str) -> None:
    why = barred_target(f"{path}?{query}", TOKEN)
    assert why is not None
    assert why.status == 400
    assert TOKEN.decode() not in why.line


@pytest.mark.parametrize(
    "target", ["/status", "/status?", "/metrics?match=1", "/livez?monkey=1&verbose", "/readyz?&&="]
)
def test_other_queries_do_no_harm(target: str) -> None:
    assert barred_target(target, TOKEN) is None


@pytest.mark.parametrize("target", ["http://127.0.0.1/status", "HTTP://x/livez", "*", "evil.example:80", ""])
def test_a_target_that_is_no_path_is_refused(target: str) -> None:
    """A whole URL would name a host of its own, beside that of Host."""
    why = barred_target(target, TOKEN)
    assert why is not None
    assert why.status == 400


# Host


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8080",
        "10.1.2.3:1",
        "[::1]",
        "[::1]:8080",
        "[fd00::7]:80",
        "localhost",
        "LocalHost:8080",
        "localhost.",
    ],
)
def test_addresses_and_localhost_may_stand_in_host(host: str) -> None:
    assert status(asked(Host=host)) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "127.0.0.1@evil.example",
        "evil.example#127.0.0.1",
        "2130706433",
        "0x7f.1",
        "127.1",
        "[::1",
        "::1",
        "[evil.example]",
        "[::1]evil.example",
        "127.0.0.1:8080:1",
        "127.0.0.1:",
        "127.0.0.1, evil.example",
        " localhost",
        "",
        [],
        ["127.0.0.1", "evil.example"],
        ["127.0.0.1", "127.0.0.1"],
    ],
)
def test_no_other_name_may(host: str | list[str]) -> None:
    """Not even for a peer on this machine: its browser would be the one that was deceived."""
    assert status(asked(Host=host)) == 403


def test_names_of_the_setting_may() -> None:
    hosts = frozenset({"edge-1.example.net"})
    for host in ("edge-1.example.net", "EDGE-1.example.net:8080", "edge-1.example.net."):
        assert status(asked(Host=host), hosts) == 200
    for host in ("edge-2.example.net", "x.edge-1.example.net", "example.net"):
        assert status(asked(Host=host), hosts) == 403


# Pages of other sites


@pytest.mark.parametrize(
    ("site", "mode", "dest", "expected"),
    [
        ("same-origin", "cors", "empty", 200),  # the page itself
        ("none", "navigate", "document", 200),  # typed, or a bookmark
        ("cross-site", "navigate", "document", 200),  # a link
        ("same-site", "navigate", "document", 200),
        ("cross-site", "navigate", "iframe", 403),
        ("cross-site", "navigate", "frame", 403),
        ("cross-site", "navigate", "object", 403),
        ("cross-site", "navigate", "embed", 403),
        ("cross-site", "no-cors", "image", 403),
        ("cross-site", "no-cors", "script", 403),
        ("cross-site", "cors", "empty", 403),
        ("same-site", "cors", "empty", 403),  # another port of this machine
        ("same-site", "no-cors", "style", 403),
        ("something-new", "cors", "empty", 403),
        ("cross-site", [], [], 403),
        (["same-origin", "cross-site"], "cors", "empty", 403),
    ],
)
def test_a_link_opens_and_a_fetch_does_not(
    site: str | list[str], mode: str | list[str], dest: str | list[str], expected: int
) -> None:
    assert status(asked(Sec_Fetch_Site=site, Sec_Fetch_Mode=mode, Sec_Fetch_Dest=dest)) == expected


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://10.0.0.1:8080", 200),
        ("https://10.0.0.1:8080", 200),
        ("http://10.0.0.1:9090", 403),
        ("http://10.0.0.1", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
        (["http://10.0.0.1:8080", "https://evil.example"], 403),
    ],
)
def test_a_request_of_another_origin_is_refused(origin: str | list[str], expected: int) -> None:
    assert status(asked(Origin=origin)) == expected
