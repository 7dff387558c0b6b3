"""The small web side: metrics, health and status. It only shows; it changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from aiohttp import web

from syncdaemon.base.errors import SettingsError


class Check(NamedTuple):
    """One check of health: whether it holds, and in words what it found."""

    ok: bool
    detail: str


class Views(NamedTuple):
    """What the pages show. `ready` names the checks that readiness depends on."""

    metrics: Callable[[], bytes]
    checks: Callable[[], Mapping[str, Check]]
    ready: frozenset[str]
    status: Callable[[], Mapping[str, Any]]


class Web:
    """The HTTP server, from `start` to `stop`."""

    def __init__(self, host: str, port: int, views: Views) -> None:
        self._host, self._port, self._views = host, port, views
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/status", self._status)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)

    async def start(self) -> None:
        """Raises SettingsError where the address can't be had."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise SettingsError(
                f"SYNC_HTTP_ADDR: can't listen on {self._host}:{self._port} ({error.strerror}); name a free address"
            ) from None

    @property
    def port(self) -> int:
        """The port that is listened on; of use where the settings said 0."""
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Answers what is under way, and closes."""
        await self._runner.cleanup()

    async def _metrics(self, _request: web.Request) -> web.Response:
        kind = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=self._views.metrics(), headers=kind)

    async def _livez(self, _request: web.Request) -> web.Response:
        """That this is answered at all is the proof: the loop turns."""
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        checks = self._views.checks()
        bad = [f"{name}: {checks[name].detail}" for name in sorted(self._views.ready) if not checks[name].ok]
        return web.Response(text="\n".join(bad or ["ok"]) + "\n", status=503 if bad else 200)

    async def _healthz(self, _request: web.Request) -> web.Response:
        checks = self._views.checks()
        ok = all(check.ok for check in checks.values())
        body = {"ok": ok, "checks": {name: check._asdict() for name, check in checks.items()}}
        return web.json_response(body, status=200 if ok else 503)

    async def _status(self, _request: web.Request) -> web.Response:
        return web.json_response(self._views.status())
