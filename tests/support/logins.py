"""Files of credentials with claims of any kind, for tests that only read them: no server takes them."""

from __future__ import annotations

import base64
import json
from typing import Any


def credentials(claims: Any) -> bytes:
    """A file of credentials as `nsc` writes it, with these claims in its user JWT."""
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
    token = b"eyJhbGciOiJlZDI1NTE5LW5rZXkifQ." + payload + b".c2lnbmVk"
    return (
        b"-----BEGIN NATS USER JWT-----\n" + token + b"\n------END NATS USER JWT------\n\n"
        b"-----BEGIN USER NKEY SEED-----\nSUAIBDPBAUTW\n------END USER NKEY SEED------\n"
    )
