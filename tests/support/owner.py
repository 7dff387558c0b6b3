"""What the owner of a stream does with it, as with any tool: through nats-py, with nothing of ours."""

from __future__ import annotations

import json
from typing import Any

from tests.support.client import connect


async def call(url: str, subject: str, ask: dict[str, Any] | None = None) -> dict[str, Any]:
    """A call of JetStream's API, as an operator's tools make it; its answer."""
    client = await connect(url)
    try:
        answer = await client.request(f"$JS.API.{subject}", json.dumps(ask).encode() if ask else b"", timeout=30)
        found: dict[str, Any] = json.loads(answer.data)
        assert "error" not in found, found
        return found
    finally:
        await client.close()
