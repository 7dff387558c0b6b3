"""Logins by key and by JWT, made here: an operator with an account, as `nsc` makes them."""

from __future__ import annotations

import base64
import json
import os
import time
from typing import Any

import nkeys  # type: ignore[import-untyped]


def key_pair(kind: int) -> tuple[nkeys.KeyPair, str, str]:
    """A new key: the pair, its public key and its seed."""
    seed = nkeys.encode_seed(os.urandom(32), kind)
    pair = nkeys.from_seed(seed)
    return pair, pair.public_key.decode(), seed.decode()


def unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt(issuer: nkeys.KeyPair, subject: str, claims: dict[str, Any]) -> str:
    """A token as the server's `operator` mode knows it: claims of `issuer` about `subject`, signed."""
    body = {
        "jti": os.urandom(16).hex(),
        "iat": int(time.time()),
        "iss": issuer.public_key.decode(),
        "sub": subject,
        "name": f"test {claims['type']}",
        "nats": {**claims, "version": 2},
    }
    parts = ({"typ": "JWT", "alg": "ed25519-nkey"}, body)
    signed = ".".join(unpadded(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{unpadded(issuer.sign(signed.encode()))}"


PLAIN = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
JETSTREAM = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)


class Operator:
    """An operator with an account, and a server's configuration that trusts both."""

    def __init__(self) -> None:
        self.pair, self.public, _ = key_pair(nkeys.PREFIX_BYTE_OPERATOR)
        self.account, self.account_public, _ = key_pair(nkeys.PREFIX_BYTE_ACCOUNT)
        system = key_pair(nkeys.PREFIX_BYTE_ACCOUNT)[1]
        ours = {"limits": {**PLAIN, **JETSTREAM, "wildcards": True}, "type": "account"}
        theirs = {"limits": {**PLAIN, "wildcards": True}, "type": "account"}
        self.config = f"""
            operator: {jwt(self.pair, self.public, {"type": "operator", "system_account": system})}
            system_account: {system}
            resolver: MEMORY
            resolver_preload {{
              {self.account_public}: {jwt(self.pair, self.account_public, ours)}
              {system}: {jwt(self.pair, system, theirs)}
            }}
        """

    def creds(self) -> str:
        """A new user's JWT and seed, as `nsc` writes them."""
        _, public, seed = key_pair(nkeys.PREFIX_BYTE_USER)
        limits = {"subs": -1, "data": -1, "payload": -1, "type": "user"}
        token = jwt(self.account, public, limits)
        return (
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
