"""The page of all sites, and what it asks for. It only shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

from syncdaemon.web.access import Asked, Barred
from syncdaemon.web.pages import ALWAYS, Page, json_page, refusal

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = tuple((name, _POLICY if name == "Content-Security-Policy" else value) for name, value in ALWAYS)
_FILES = {
    "/": ("fleet.html", "text/html; charset=utf-8"),
    "/fleet.css": ("fleet.css", "text/css; charset=utf-8"),
    "/fleet.js": ("fleet.js", "text/javascript; charset=utf-8"),
}

Lines = Callable[[int], Mapping[str, Any]]
Site = Callable[[str], Mapping[str, Any] | None]


def fleet_pages(lines: Lines, site: Site) -> dict[str, Callable[[Asked], Page]]:
    """The pages by their paths. `lines` and `site` are asked whenever a page wants them."""
    folder = files("syncdaemon.hub") / "page"
    pages: dict[str, Callable[[Asked], Page]] = {}
    for path, (name, kind) in _FILES.items():
        pages[path] = partial(_file, (folder / name).read_bytes(), kind)
    pages["/sites"] = partial(_lines, lines)
    pages["/site"] = partial(_site, site)
    return pages


def _file(body: bytes, kind: str, _asked: Asked) -> Page:
    return Page(200, body, kind, _HEADERS)


def _lines(lines: Lines, asked: Asked) -> Page:
    since = _given(asked, "since")
    return json_page(200, lines(int(since) if since.isascii() and since.isdigit() and len(since) < 16 else 0))


def _site(site: Site, asked: Asked) -> Page:
    found = site(_given(asked, "name"))
    return refusal(Barred(404, "there is no such site")) if found is None else json_page(200, found)


def _given(asked: Asked, name: str) -> str:
    return parse_qs(asked.target.partition("?")[2]).get(name, [""])[0]
