"""A site whose pods are played by podman, seen from outside only."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import nats

from tests.deploy.containers import Engine
from tests.deploy.secrets import Secrets, password
from tests.support.daemon import eventually, parse_metrics
from tests.support.jetstream import messages

USER, PRODUCER = 10001, 10002


class Site:
    """The pods of a profile while they play: one of ours, and `nats`, each with one container of the pod's name."""

    def __init__(self, podman: Engine, ours: str, claims: Path, given: Secrets, *, prefix: str = "") -> None:
        self._podman, self._ours, self._claims, self._secrets = podman, ours, claims, given
        self._prefix = prefix  # of the names of all pods

    def volume(self, name: str) -> Path:
        """Where the files of a claim are."""
        return self._claims / name

    @property
    def replay(self) -> Path:
        """The replay directory, which is a folder of its claim."""
        return self.volume("replay") / "replay"

    def get(self, path: str, port: int = 8080) -> str:
        def ask() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return str(answer.read().decode())

        return self._podman.network.call(ask)

    def ready(self) -> bool:
        try:
            return self.get("/readyz") == "ok\n"
        except (urllib.error.URLError, OSError):
            return False

    def metrics(self) -> dict[str, float]:
        return parse_metrics(self.get("/metrics"))

    def metric(self, name: str) -> float:
        return self.metrics()[name]

    def drop(self, name: str, data: bytes) -> None:
        """As a producer of another pod would that has the volume too: another user of the claim's group."""
        temporary = self.replay / f".{name}.part"
        temporary.write_bytes(data)
        os.chown(temporary, PRODUCER, USER)
        temporary.chmod(0o640)
        temporary.rename(self.replay / name)

    def drop_all(self, files: dict[str, bytes]) -> None:
        for name, data in files.items():
            self.drop(name, data)

    def kill_server(self) -> None:
        """The pod of the server dies, all at once; returns when podman has cleared up after it.

        Podman clears up in a process of its own, which the container's monitor starts and outlives, and which stops a
        pod whose containers have ended: also one that was started again in the meantime.
        """
        pod = f"{self._prefix}nats"
        infra = self._podman.podman("pod", "inspect", "--format", "{{.InfraContainerID}}", pod).strip()
        look = ("inspect", "--format", "{{.State.ConmonPid}}", f"{pod}-nats", infra)
        monitors = [Path(f"/proc/{pid}/cmdline") for pid in self._podman.podman(*look).split()]
        self._podman.podman("pod", "kill", pod)
        eventually(lambda: not any(map(_is_alive, monitors)), 60, "podman has cleared up after the server")

    def start_server(self) -> None:
        self._podman.podman("pod", "start", f"{self._prefix}nats")

    def stored(self) -> list[tuple[str, bytes]]:
        """Path and content of every message in the stream."""

        def read() -> list[tuple[str, bytes]]:
            found = asyncio.run(messages("nats://127.0.0.1:4222", "swarm_jobs"))
            return [(message.headers["Edge-Path"], message.data) for message in found]

        return self._podman.network.call(read)

    def publish(self, files: dict[str, bytes]) -> None:
        """Stores files in the hub's stream as a daemon of the site `edge-1` would, with the login of that site."""

        async def send() -> None:
            url = f"tls://site-edge-1:{password(self._secrets, 'site-edge-1')}@localhost:4222"
            tls = ssl.create_default_context(cadata=self._secrets["nats-tls"]["ca.crt"].decode())
            client = await nats.connect(url, tls=tls, allow_reconnect=False)
            js = client.jetstream()
            for name, data in files.items():
                digest = hashlib.sha256(data).hexdigest()
                headers = {"Nats-Msg-Id": digest, "Edge-Site": "edge-1", "Edge-Path": name, "Edge-Sha256": digest}
                headers |= {"Edge-Size": str(len(data)), "Edge-Mtime-Ns": "1"}
                await js.publish(f"edge.replay.edge-1.{digest}", data, headers=headers)
            await client.close()

        self._podman.network.call(asyncio.run, send())

    def logs(self) -> str:
        """The end of what either pod has said."""
        ends = []
        for pod in (self._ours, "nats"):
            container = f"{self._prefix}{pod}-{pod}"
            done = self._podman.try_podman("logs", container)
            ends.append(f"{container}:\n{(done.out + done.err)[-4000:]}")
        return "\n".join(ends)


def files_in(folder: Path) -> dict[str, bytes]:
    """The files of a folder that are not on their way yet."""
    found = folder.iterdir() if folder.is_dir() else ()
    return {path.name: path.read_bytes() for path in found if path.is_file() and not path.name.startswith(".")}


def _is_alive(command_line: Path) -> bool:
    try:
        return command_line.read_bytes() != b""  # a zombie's is empty
    except FileNotFoundError:
        return False
