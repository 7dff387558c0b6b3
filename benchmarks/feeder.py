"""Fills a stream with digests, by atomic batches of messages that are like a daemon's: far quicker than files are made.

The protocol is nats-server's own; the batches are those of ADR-50.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from hashlib import sha256
from typing import Any

from tests.support.client import opened

_BATCH = 500
_PATIENCE = 60.0  # seconds for an answer


class Feeder:
    """One connection. `sent`: how many messages the stream has taken."""

    def __init__(self, port: int, site: str, *, body: bytes = b"x" * 100) -> None:
        self._port, self._site, self._body = port, site, body
        self.sent = 0

    async def feed(self, count: int) -> dict[str, Any] | None:
        """Up to so many further messages; what the server said instead of taking them."""
        async with opened(self._port) as (reader, writer):
            await reader.readline()
            writer.write(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB in 1\r\n')
            end = self.sent + count
            while self.sent < end:
                some = min(_BATCH, end - self.sent)
                writer.write(self._batch(some))
                answer = await asyncio.wait_for(_answer(reader, writer), _PATIENCE)
                if "error" in answer:
                    found: dict[str, Any] = answer["error"]
                    return found
                self.sent += some
            return None

    def _batch(self, count: int) -> bytes:
        name, frames = secrets.token_hex(8), []
        for number in range(1, count + 1):
            digest = sha256(f"{self._site} {self.sent + number}".encode()).hexdigest()
            headers = {
                "Nats-Msg-Id": digest,
                "Nats-Expected-Last-Subject-Sequence": 0,
                "Nats-Batch-Id": name,
                "Nats-Batch-Sequence": number,
                **({"Nats-Batch-Commit": 1} if number == count else {}),
                **{"Edge-Site": self._site, "Edge-Path": f"{self.sent + number}.bin", "Edge-Sha256": digest},
                **{"Edge-Size": len(self._body), "Edge-Mtime-Ns": 1_790_000_000_000_000_000},
            }
            block = "NATS/1.0\r\n" + "".join(f"{key}: {value}\r\n" for key, value in headers.items()) + "\r\n"
            size = len(block) + len(self._body)
            reply = "in " if number == count else ""
            head = f"HPUB edge.replay.{self._site}.{digest} {reply}{len(block)} {size}\r\n{block}"
            frames.append(head.encode() + self._body + b"\r\n")
        return b"".join(frames)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, Any]:
    while line := await reader.readline():
        if line.startswith(b"PING"):
            writer.write(b"PONG\r\n")
        elif line.startswith((b"MSG", b"HMSG")):
            found: dict[str, Any] = json.loads(await reader.readexactly(int(line.split()[-1]) + 2))
            return found
    raise ConnectionError("the server hung up")
