"""A hub whose sites have an account each, in one file: two sites, the hub's own account, and the worker's.

`tests/support/hub.py` makes such a hub by the product's own commands. This one shows the worker's rights alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

STREAM, CONSUMER = "swarm_jobs", "worker-staging"


def accounts(buckets: Sequence[str], hidden: Sequence[str] = ()) -> str:
    """The accounts of a server. Every user's password is its name; `hidden`: what the worker does not import."""
    worker = [
        f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{CONSUMER}",
        f"$JS.API.CONSUMER.INFO.{STREAM}.{CONSUMER}",
        f"$JS.ACK.{STREAM}.{CONSUMER}.>",
        *(f"$JS.API.DIRECT.GET.OBJ_{bucket}" for bucket in buckets),
    ]
    imported = [subject for subject in worker if subject not in hidden]
    exports = ", ".join(f"{{service: {json.dumps(subject)}, response_type: Stream}}" for subject in worker)
    services = [f"{{service: {{account: HUB, subject: {json.dumps(subject)}}}}}" for subject in imported]
    nobody = '{service: {account: NOBODY, subject: "$JS.API.INFO"}}'
    return f"""accounts {{
  NOBODY {{ exports: [{{service: "$JS.API.INFO"}}] }}
  HUB {{ jetstream: enabled, users: [{{user: hub, password: hub}}], exports: [{exports}] }}
  WORKER {{ users: [{{user: worker, password: worker}}], imports: [{", ".join([nobody, *services])}] }}
}}
"""


def login(url: str, user: str) -> str:
    """The server's URL for this user."""
    return url.replace("://", f"://{user}:{user}@")
