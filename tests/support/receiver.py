"""A real `syncdaemon receive` process, seen from outside only; and messages for it, published with nats-py alone."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from nats.js import JetStreamContext

from tests.support.client import connect
from tests.support.process import WebProcess, parse_metrics

STREAM = "swarm_jobs"


class Receiver(WebProcess):
    """`folder` keeps its log; several may have one `target`."""

    def __init__(self, folder: Path, target: Path, url: str, *arguments: str, **settings: str) -> None:
        self.target = target
        super().__init__(["receive", str(target), *arguments], folder / "receive.log", url, settings)

    def metric(self, name: str, **labels: str) -> float:
        """The value of one sample now; 0 where there is none."""
        wanted = ",".join(f'{label}="{value}"' for label, value in labels.items())
        return parse_metrics(self.get("/metrics")).get(f"{name}{{{wanted}}}" if wanted else name, 0.0)

    def status(self, path: str) -> int:
        """The HTTP status of a page."""
        return self.page(path)[0]


def received(target: Path) -> dict[str, bytes]:
    """Every file below the sites' folders."""
    sites = [site for site in target.glob("*") if not site.name.startswith(".")]
    found = (path for site in sites for path in site.rglob("*") if path.is_file())
    return {str(path.relative_to(target)): path.read_bytes() for path in found}


def drafts(target: Path) -> list[Path]:
    """What is there of files that are not complete."""
    return [path for path in (target / ".incoming").rglob("*") if path.is_file() and path.name != "lock"]


def at_server(url: str, work: Callable[[JetStreamContext], Awaitable[Any]]) -> Any:
    """What `work` comes to, on a connection of its own."""

    async def run() -> Any:
        client = await connect(url)
        try:
            return await work(client.jetstream())
        finally:
            await client.close()

    return asyncio.run(run())


async def make_stream(js: JetStreamContext, **config: Any) -> None:
    """The stream as the daemon makes it."""
    await js.add_stream(
        name=STREAM,
        subjects=["edge.replay.*.*"],
        max_msgs_per_subject=1,
        discard="new",
        discard_new_per_subject=True,
        **config,
    )


def headers(path: str | bytes, data: bytes, /, site: str = "edge-1", **changes: str | None) -> dict[str, str]:
    """The contract's headers for a file; `changes` with `_` for `-`, None for one that is left out."""
    fields: dict[str, str | None] = {
        "Nats-Msg-Id": hashlib.sha256(data).hexdigest(),
        "Edge-Site": site,
        "Edge-Path": quote_from_bytes(os.fsencode(path)),
        "Edge-Sha256": hashlib.sha256(data).hexdigest(),
        "Edge-Size": str(len(data)),
        "Edge-Mtime-Ns": "1700000000000000000",
    }
    fields |= {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in fields.items() if value is not None}


async def publish(js: JetStreamContext, fields: dict[str, str], body: bytes) -> int:
    """One message of a file; its sequence."""
    subject = f"edge.replay.{fields.get('Edge-Site', 'x')}.{hashlib.sha256(body + repr(fields).encode()).hexdigest()}"
    return (await js.publish(subject, body, headers=fields)).seq


MakeReceiver = Callable[..., Receiver]
"""Takes the server's URL, options of `receive` and settings by variable; the process is not running yet."""


@pytest.fixture
def make_receiver(tmp_path: Path) -> Iterator[MakeReceiver]:
    """Receivers that end with the test; `target` names the directory that they receive into."""
    made: list[Receiver] = []

    def make(url: str, *arguments: str, target: Path | None = None, **settings: str) -> Receiver:
        place = tmp_path / f"receiver{len(made)}"
        place.mkdir()
        receiver = Receiver(place, target or tmp_path / "received", url, *arguments, **settings)
        made.append(receiver)
        return receiver

    yield make
    for receiver in made:
        receiver.kill()
