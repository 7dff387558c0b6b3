"""What each page shows, to whom."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncdaemon.web.access import HEADERS, NO_TOKEN_SET, Asked, is_local
from syncdaemon.web.pages import Page, Pages
from syncdaemon.web.views import Check, Views

SECRET = "/agentforge/replay/patient-7.bin"
TOKEN = b"a-token-of-24-characters"


def answer(
    target: str,
    peer: str = "10.77.0.2",
    headers: Mapping[str, str] = MappingProxyType({}),
    *,
    method: str = "GET",
    well: bool = False,
) -> Page:
    checks = {"one": Check(well, SECRET), "two": Check(well, SECRET, "7 files"), "three": Check(True, SECRET)}
    views = Views(lambda: b"x 1\n", lambda: checks, frozenset({"one", "two"}), lambda: {"path": SECRET})
    given = {"Host": "10.0.0.1", **headers}
    values = {name: [given[name]] if name in given else [] for name in HEADERS}
    return Pages(views, frozenset(), lambda: TOKEN).answer(Asked(peer, method, target, values))


AUTHORIZED = {"Authorization": f"Bearer {TOKEN.decode()}"}


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/healthz"])
def test_metrics_and_probes_are_for_everybody(path: str) -> None:
    """Whatever name or page asks."""
    assert answer(path, well=True).status == 200
    anybody = {"Host": "any.example", "Origin": "null", "Sec-Fetch-Site": "cross-site"}
    assert answer(path, headers=anybody, well=True).status == 200


@pytest.mark.parametrize("path", ["/readyz", "/healthz", "/status"])
def test_strangers_learn_no_path(path: str) -> None:
    attempts: list[tuple[str, dict[str, str]]] = [
        ("10.77.0.2", {}),
        ("10.77.0.2", {"Authorization": "Bearer wrong"}),
        ("127.0.0.1", {"Host": "evil.example"}),  # a browser here whose page has bound a name to our address
        ("127.0.0.1", {"Origin": "https://evil.example"}),
    ]
    for peer, headers in attempts:
        page = answer(path, peer, headers)
        assert SECRET.encode() not in page.body
        assert page.status in (401, 403, 503)


@pytest.mark.parametrize("path", ["/readyz", "/healthz", "/status"])
def test_this_machine_and_who_has_the_token_see_all(path: str) -> None:
    assert SECRET.encode() in answer(path, "127.0.0.1").body
    assert SECRET.encode() in answer(path, headers=AUTHORIZED).body


def test_what_is_left_out_is_said() -> None:
    """Whether each check holds, and counts, are for everybody."""
    found = json.loads(answer("/healthz").body)
    assert {name: check["ok"] for name, check in found["checks"].items()} == {"one": False, "two": False, "three": True}
    assert [check["detail"] for check in found["checks"].values()] == ["not well", "7 files", "well"]
    assert "SYNC_HTTP_TOKEN_FILE" in found["left_out"]
    assert "left_out" not in json.loads(answer("/healthz", "::1").body)
    one, two, left_out = answer("/readyz").body.decode().splitlines()
    assert (one, two) == ("one: not well", "two: 7 files")
    assert "SYNC_HTTP_TOKEN_FILE" in left_out


def test_without_a_token_strangers_are_told_what_to_do() -> None:
    pages = Pages(Views(bytes, dict, frozenset(), dict), frozenset(), lambda: NO_TOKEN_SET)
    page = pages.answer(Asked("10.0.0.9", "GET", "/status", {name: [] for name in HEADERS} | {"Host": ["10.0.0.1"]}))
    assert page.status == 403
    assert page.body.count(b"\n") == 1
    assert b"SYNC_HTTP_TOKEN_FILE" in page.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_pages_can_only_be_read(method: str) -> None:
    page = answer("/livez", method=method)
    assert (page.status, dict(page.headers)["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/status/",
        "//status",
        "/./status",
        "/x/../status",
        "/%73tatus",
        "/status%00",
        "/STATUS",
        "/status;x",
        "/..%2fstatus",
    ],
)
def test_a_page_has_one_spelling(target: str) -> None:
    """So no check can be passed by with another one."""
    assert answer(target, "127.0.0.1").status == 404


@pytest.mark.parametrize("target", ["/livez", "/status", "/nothing", "/status?token=x", "http://x/status"])
def test_every_answer_forbids_browsers_what_it_can(target: str) -> None:
    headers = dict(answer(target).headers)
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Server"] == "syncdaemon"
    assert not [name for name in headers if name.lower().startswith("access-control-")]


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
TARGETS = st.one_of(
    ANY_TEXT,
    st.builds("{}?{}={}".format, st.sampled_from(["/status", "/healthz", "/livez", "/"]), ANY_TEXT, ANY_TEXT),
)
VALUES = st.one_of(ANY_TEXT, st.sampled_from(["127.0.0.1", "localhost", "navigate", "Basic ", "Bearer "]))


@settings(max_examples=500, deadline=None)
@given(
    target=TARGETS,
    peer=st.one_of(
        st.sampled_from(["10.77.0.2", "fe80::1%eth0", "nowhere"]), st.text("0123456789abcdef.:%", min_size=1)
    ),
    values=st.fixed_dictionaries({name: st.lists(VALUES, max_size=3) for name in HEADERS}),
)
def test_whatever_is_sent_is_answered_and_opens_nothing(target: str, peer: str, values: dict[str, list[str]]) -> None:
    """One surrogate stands for each byte of a request that is no UTF-8."""
    checks = {"one": Check(False, SECRET)}
    views = Views(bytes, lambda: checks, frozenset({"one"}), lambda: {"path": SECRET})
    page = Pages(views, frozenset(), lambda: TOKEN).answer(Asked(peer, "GET", target, values))
    assert page.status in (200, 400, 401, 403, 404, 503)
    if not is_local(peer):
        assert SECRET.encode() not in page.body
