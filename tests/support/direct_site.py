"""A hub that separates its sites by accounts, and a site that connects to it directly, with just the rights of one.

The site's account has no JetStream. It imports what a site of its own needs of the hub's, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from syncdaemon.dev.server import HOST, NatsServer
from tests.support.client import connect
from tests.support.server import MakeNatsServer

SITE, STREAM, BUCKET = "test-site", "swarm_jobs", "edge_replay_test-site"
LOGIN = {"NATS_USER": SITE, "NATS_PASSWORD": SITE}


def hub_config(bucket: str = BUCKET, hidden: str = "") -> str:
    """The accounts: of the hub, of the site, and one without JetStream. `hidden`: what the site does not import."""
    own = f"edge.replay.{SITE}.>"
    services = [own, f"$JS.API.DIRECT.GET.{STREAM}.{own}", f"$O.{bucket}.>"]
    services += [f"$JS.API.STREAM.{call}.OBJ_{bucket}" for call in ("INFO", "MSG.GET", "PURGE", "MSG.DELETE")]
    many = f"$JS.API.DIRECT.GET.OBJ_{bucket}"
    imports = ['{service: {account: NOBODY, subject: "$JS.API.INFO"}}']
    imports += [
        f'{{service: {{account: HUB, subject: "{subject}"}}}}' for subject in [*services, many] if subject != hidden
    ]
    exports = [f'{{service: "{subject}", accounts: [SITE]}}' for subject in services]
    exports.append(f'{{service: "{many}", accounts: [SITE], response_type: Stream}}')
    return f"""
accounts {{
  NOBODY {{ exports: [ {{service: "$JS.API.INFO"}} ] }}
  SITE {{
    limits {{ max_leafnodes: 0 }}
    users: [ {{user: "{SITE}", password: "{SITE}"}} ]
    imports: [ {", ".join(imports)} ]
  }}
  HUB {{
    jetstream: enabled
    users: [ {{user: hub, password: hub}} ]
    exports: [ {", ".join(exports)} ]
  }}
}}
"""


class DirectSite:
    """The hub's server, running, with its stream and the site's bucket. `atomic`: the stream takes batches."""

    def __init__(self, make: MakeNatsServer, bucket: str = BUCKET, atomic: bool = True, hidden: str = "") -> None:
        self.server: NatsServer = make(config=hub_config(bucket, hidden))
        self.server.start()
        self.bucket = bucket
        self.hub = f"nats://hub:hub@{HOST}:{self.server.port}"
        limits = {"max_msgs_per_subject": 1, "discard_new_per_subject": True, "deny_delete": True, "allow_direct": True}
        self.ask(
            f"STREAM.CREATE.{STREAM}",
            name=STREAM,
            subjects=["edge.replay.*.*"],
            discard="new",
            allow_atomic=atomic,
            **limits,
        )
        chunks = [f"$O.{bucket}.C.>", f"$O.{bucket}.M.>"]
        self.ask(
            f"STREAM.CREATE.OBJ_{bucket}",
            name=f"OBJ_{bucket}",
            subjects=chunks,
            discard="new",
            allow_rollup_hdrs=True,
            allow_direct=True,
        )

    def ask(self, call: str, **ask: Any) -> dict[str, Any]:
        """A call of JetStream's API, as the hub's own user."""
        return asyncio.run(_ask(self.hub, call, ask))

    def publish(self, subject: str, data: bytes, **headers: str) -> None:
        """A message from another site, as the hub's own user."""
        asyncio.run(_publish(self.hub, subject, data, {name.replace("_", "-"): text for name, text in headers.items()}))

    def state(self, stream: str = STREAM) -> dict[str, Any]:
        """What a stream holds."""
        found: dict[str, Any] = self.ask(f"STREAM.INFO.{stream}")["state"]
        return found


async def _ask(url: str, call: str, ask: dict[str, Any]) -> dict[str, Any]:
    client = await connect(url)
    try:
        answer = await client.request(f"$JS.API.{call}", json.dumps(ask).encode() if ask else b"", timeout=5)
    finally:
        await client.close()
    found: dict[str, Any] = json.loads(answer.data)
    assert "error" not in found, found
    return found


async def _publish(url: str, subject: str, data: bytes, headers: dict[str, str]) -> None:
    client = await connect(url)
    try:
        await client.jetstream().publish(subject, data, headers=headers)
    finally:
        await client.close()
