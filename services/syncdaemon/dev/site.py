"""`syncdaemon dev`: the daemon on a laptop, against a real nats-server of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import aiofiles
from aiofiles.os import makedirs

from syncdaemon.base.errors import SettingsError, SyncError
from syncdaemon.client.asynchronous import AsyncOutbox
from syncdaemon.daemon import Daemon
from syncdaemon.dev.server import HOST, NatsServer, free_port
from syncdaemon.settings.values import Loaded, ServerUrls, Settings

_SAMPLE_SECONDS = 20.0
_LOGIN = (
    "nats_creds",
    "nats_nkey_seed",
    "nats_user",
    "nats_password",
    "nats_token",
    "nats_tls_ca",
    "nats_tls_cert",
    "nats_tls_key",
)


class Dev:
    """Everything below one folder: `replay`, `ledger` and the server's store. `say` prints a line."""

    def __init__(self, folder: Path, loaded: Loaded, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._loaded = loaded
        self._say = say
        self.replay = folder / "replay"
        self.ledger = folder / "ledger"

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Raises SettingsError where there is no nats-server to be had."""
        server = NatsServer(self._folder / "nats", port=free_port(4222), monitor_port=free_port(8222))
        try:
            await makedirs(self.replay, exist_ok=True)
            server.start()
        except OSError as error:
            place = error.filename or self._folder
            raise SettingsError(f"--folder: {place} can't be written: {error.strerror}") from None
        try:
            await self._deliver(stop, server)
        finally:
            server.stop()

    async def _deliver(self, stop: asyncio.Event, server: NatsServer) -> None:
        daemon = Daemon(self._settings(server))
        listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        welcome = asyncio.create_task(self._welcome(daemon, server, listening))
        try:
            await daemon.run(stop, listening.set_result)
        finally:
            welcome.cancel()
            with suppress(asyncio.CancelledError):
                await welcome

    def _settings(self, server: NatsServer) -> Settings:
        """What the user gave, but our own server without a login, and our own folders and port."""
        settings = self._loaded.settings
        return settings.model_copy(
            update={
                "nats_url": ServerUrls(server.url),
                **dict.fromkeys(_LOGIN),
                "sync_replay_dir": self.replay,
                "sync_ledger_dir": self.ledger,
                "sync_http_addr": f"{HOST}:{free_port(8080)}",
            }
        )

    async def _welcome(self, daemon: Daemon, server: NatsServer, listening: asyncio.Future[int]) -> None:
        port = await listening
        head = daemon.ledger.head
        if head.n <= 1:
            await self._first_delivery(daemon)
        address = f"127.0.0.1:{port}"
        self._say(
            f"""
syncdaemon delivers. Drop files into the replay folder:

  replay folder   {self.replay}
  ledger          {self.ledger}
  web             http://{address}/status  http://{address}/metrics  http://{address}/healthz
  nats-server     {server.url}  (monitoring {server.monitor_url}/jsz?streams=true)

Try, in another terminal:

  cp README.md {self.replay}/
  .venv/bin/syncdaemon status --sync-http-addr {address}
  .venv/bin/syncdaemon verify --sync-ledger-dir {self.ledger}

Ctrl-C ends it, and the server with it."""
        )

    async def _first_delivery(self, daemon: Daemon) -> None:
        sample = self._folder / "welcome.txt"
        tally = daemon.tally
        try:
            async with aiofiles.open(sample, "w", encoding="utf-8") as file:
                now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
                await file.write(f"The first file of this folder, written at {now}.\n")
            await AsyncOutbox(self.replay).put(sample, name=sample.name)
            async with asyncio.timeout(_SAMPLE_SECONDS):
                await tally.first_receipt.wait()
        except TimeoutError:
            self._say(f"The sample file is not delivered yet: {daemon.link.problem or daemon.lane.paused}")
            return
        except (OSError, SyncError) as error:
            self._say(f"The sample file can't be made: {error}")
            return
        self._say("The sample file is delivered. Its receipt:\n")
        for name, value in (tally.last_receipt or {}).items():
            self._say(f"  {name:<12}{value}")
