"""JetStream's API as it is, for tests: nothing of the answer is checked."""

from __future__ import annotations

import json
from typing import Any

from syncdaemon.link import Session


async def ask_api(session: Session, subject: str, payload: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """One request, and its answer as it came; None where nobody answers to the subject."""
    data, headers = await session.request(subject, json.dumps(payload).encode() if payload else b"")
    if headers is not None and headers.startswith(b"NATS/1.0 503"):
        return None
    answer: dict[str, Any] = json.loads(data)
    return answer
