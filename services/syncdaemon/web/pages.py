"""The pages: what is answered to a request. Pure.

The same question decides whether `/status` is shown and whether the health pages tell details: `access.barred`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

from syncdaemon.web.access import Asked, Barred, barred, barred_target
from syncdaemon.web.views import Views, brief_of

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json; charset=utf-8"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_LEFT_OUT = "files and addresses are named on this machine only, or to who sends the token of SYNC_HTTP_TOKEN_FILE"

ALWAYS = (
    ("Server", "syncdaemon"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
"""Headers of every answer, of refusals too. No page allows another origin anything (CORS)."""

COSTLY = frozenset({"/metrics", "/status"})
"""Pages that take milliseconds to make; the others are there for probes, which may not wait."""


class Page(NamedTuple):
    """An answer. `kind` is its Content-Type."""

    status: int
    body: bytes
    kind: str
    headers: tuple[tuple[str, str], ...] = ALWAYS


class Pages:
    """Answers requests. `hosts`: further names for `Host`; `token`: what strangers must send now."""

    def __init__(self, views: Views, hosts: frozenset[str], token: Callable[[], bytes | Barred]) -> None:
        self._views, self._hosts, self._token = views, hosts, token
        self._pages: dict[str, Callable[[Asked], Page]] = {
            "/metrics": self._metrics,
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/healthz": self._healthz,
            "/status": self._status,
        }

    def answer(self, asked: Asked) -> Page:
        """The page that was asked for, or in one line why it is not given."""
        page = self._pages.get(asked.path)
        if asked.target != asked.path or page is None:
            why = barred_target(asked.target, self._token())
            if why or page is None:
                return refusal(why or Barred(404, "there is no such page"))
        if asked.method not in ("GET", "HEAD"):
            return refusal(Barred(405, "pages can only be read here", (("Allow", "GET, HEAD"),)))
        return page(asked)

    def _barred(self, asked: Asked) -> Barred | None:
        """Why files and addresses are not named to this sender."""
        return barred(asked, self._hosts, self._token())

    def _metrics(self, _asked: Asked) -> Page:
        return Page(200, self._views.metrics(), _METRICS)

    def _livez(self, _asked: Asked) -> Page:
        """That this is answered at all is the proof: the loop turns."""
        return _text(200, "ok")

    def _readyz(self, asked: Asked) -> Page:
        checks = self._views.checks()
        bad = [name for name in sorted(self._views.ready) if not checks[name].ok]
        if not bad:
            return _text(200, "ok")
        if self._barred(asked):
            return _text(503, *(f"{name}: {brief_of(checks[name])}" for name in bad), f"({_LEFT_OUT})")
        return _text(503, *(f"{name}: {checks[name].detail}" for name in bad))

    def _healthz(self, asked: Asked) -> Page:
        checks = self._views.checks()
        if self._barred(asked):
            shown = {name: {"ok": check.ok, "detail": brief_of(check)} for name, check in checks.items()}
            left_out = {"left_out": _LEFT_OUT}
        else:
            shown = {name: {"ok": check.ok, "detail": check.detail} for name, check in checks.items()}
            left_out = {}
        ok = all(check.ok for check in checks.values())
        return json_page(200 if ok else 503, {"ok": ok, "checks": shown, **left_out})

    def _status(self, asked: Asked) -> Page:
        why = self._barred(asked)
        return refusal(why) if why else json_page(200, self._views.status())


def refusal(why: Barred) -> Page:
    """One line that says why."""
    return Page(why.status, f"{why.line}\n".encode(), _TEXT, ALWAYS + why.headers)


def _text(status: int, *lines: str) -> Page:
    return Page(status, "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"), _TEXT)


def json_page(status: int, value: Mapping[str, object]) -> Page:
    """This value."""
    return Page(status, json.dumps(value).encode(), _JSON)
