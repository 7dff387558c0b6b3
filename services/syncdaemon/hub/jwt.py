"""The accounts of a hub as JWTs: operator, accounts and users, each signed by the one above. Pure.

The form is that of the JWT library of nats-server 2.15 (github.com/nats-io/jwt, version 2). An export between two
accounts is private: the importer shows an *activation*, signed by the exporter, that names it and the subject.
Signatures of Ed25519 and the order of all fields are fixed, so the same keys and sites give the same text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from syncdaemon.hub.accounts import (
    AUDITOR,
    HUB,
    NOBODY,
    RECORDS,
    WORKER,
    Layout,
    Share,
    accounts,
    landing_account,
    shares,
    site_account,
)
from syncdaemon.hub.limits import Limits
from syncdaemon.hub.site_list import HubSite

SYSTEM = "SYS"
_UNLIMITED = -1


class Key(Protocol):
    """A key pair of a known role (nkey)."""

    @property
    def public(self) -> str:
        """As NATS writes it: `O...`, `A...` or `U...`."""

    def sign(self, text: bytes) -> bytes:
        """The signature of this text."""


class Issued(NamedTuple):
    """What has been signed: the operator's JWT, and those of accounts and users by their names."""

    operator: str
    accounts: dict[str, str]
    users: dict[str, str]


class Keys(NamedTuple):
    """All key pairs, by name; `issued`: the time that stands in every JWT, in seconds since 1970."""

    operator: Key
    accounts: Mapping[str, Key]
    users: Mapping[str, Key]
    issued: int


def users(sites: Sequence[HubSite]) -> dict[str, str]:
    """The account of each user: one for every party, and one for each of the hub's own accounts."""
    found = {"hub": HUB, "records": RECORDS, "worker": WORKER, "auditor": AUDITOR}
    for site in sites:
        found[f"site-{site.name}"] = site_account(site.name)
        if site.leaf:
            found[f"in-{site.name}"] = landing_account(site.name)
    return found


def all_accounts(sites: Sequence[HubSite]) -> list[str]:
    """Also the system account, without which a server with an operator has no JetStream."""
    return [SYSTEM, *accounts(sites)]


def issue(sites: Sequence[HubSite], layout: Layout, limits: Limits, keys: Keys) -> Issued:
    """Signs everything."""
    by_name = keys.accounts
    told = _Teller(keys)
    exports, imports = _exports(shares(sites, layout)), defaultdict(list)
    for share in shares(sites, layout):
        imports[share.importer].append(_import(share, told))
    signed = {}
    for name in all_accounts(sites):
        kind = {
            "imports": imports[name],
            "exports": exports[name],
            "limits": _limits(limits, name, sites),
            "default_permissions": {"pub": {}, "sub": {}},
        }
        signed[name] = told.claim(keys.operator, by_name[name].public, name, "account", kind)
    operator = told.claim(
        keys.operator, keys.operator.public, "syncdaemon", "operator", {"system_account": by_name[SYSTEM].public}
    )
    own = {"pub": {}, "sub": {}, "subs": _UNLIMITED, "data": _UNLIMITED, "payload": _UNLIMITED}
    by_user = {
        user: told.claim(by_name[account], keys.users[user].public, user, "user", own)
        for user, account in users(sites).items()
    }
    return Issued(operator, signed, by_user)


def credentials(jwt: str, seed: str) -> str:
    """A file of credentials, for `NATS_CREDS` and for the `credentials` of a leaf node's remote."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )


def preload(issued: Issued, keys: Keys) -> list[str]:
    """The lines by which a server knows the operator and all accounts."""
    lines = [f'operator: "{issued.operator}"', f'system_account: "{keys.accounts[SYSTEM].public}"']
    lines += ["resolver: MEMORY", "resolver_preload {"]
    lines += [f'  {keys.accounts[name].public}: "{jwt}"  # {name}' for name, jwt in issued.accounts.items()]
    return [*lines, "}"]


class _Teller:
    """Signs claims, all of the same time."""

    def __init__(self, keys: Keys) -> None:
        self.accounts = keys.accounts
        self._issued = keys.issued

    def claim(self, issuer: Key, subject: str, name: str, kind: str, what: Mapping[str, Any]) -> str:
        """The issuer says this of the subject, which is a public key."""
        claims: dict[str, Any] = {
            "iat": self._issued,
            "iss": issuer.public,
            "name": name,
            "sub": subject,
            "nats": {**what, "type": kind, "version": 2},
        }
        digest = hashlib.sha256(_json(claims)).digest()
        claims["jti"] = base64.b32encode(digest).decode().rstrip("=")
        text = b".".join(map(_base64, (_json({"typ": "JWT", "alg": "ed25519-nkey"}), _json(claims))))
        return (text + b"." + _base64(issuer.sign(text))).decode()


def _exports(found: Sequence[Share]) -> dict[str, list[dict[str, Any]]]:
    exports: dict[str, list[dict[str, Any]]] = defaultdict(list)
    many = {(share.exporter, share.subject): False for share in found}
    for share in found:
        many[share.exporter, share.subject] |= share.many
    for share in dict.fromkeys(share._replace(importer="", many=False, to="") for share in found):
        export: dict[str, Any] = {"name": share.subject, "subject": share.subject, "type": _kind(share)}
        if share.exporter != NOBODY:
            export["token_req"] = True
        if many[share.exporter, share.subject]:
            export["response_type"] = "Stream"
        exports[share.exporter].append(export)
    return exports


def _import(share: Share, told: _Teller) -> dict[str, Any]:
    exporter, importer = told.accounts[share.exporter], told.accounts[share.importer]
    found = {"name": share.subject, "subject": share.subject, "account": exporter.public, "type": _kind(share)}
    if share.to:
        found["local_subject"] = share.to
    if share.exporter != NOBODY:
        what = {"subject": share.subject, "kind": _kind(share)}
        found["token"] = told.claim(exporter, importer.public, share.subject, "activation", what)
    return found


def _kind(share: Share) -> str:
    return "stream" if share.stream else "service"


def _limits(limits: Limits, name: str, sites: Sequence[HubSite]) -> dict[str, Any]:
    """What an account may take; no JetStream, unless it is one of the hub's own."""
    found = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn"), _UNLIMITED)
    found |= {"leaf": 0, "mem_storage": 0, "disk_storage": 0, "streams": 0, "consumer": 0}
    disk = {HUB: _UNLIMITED, RECORDS: _UNLIMITED} | {landing_account(site.name): limits.disk for site in _leaves(sites)}
    if name in disk:
        found |= {"disk_storage": disk[name], "streams": _UNLIMITED, "consumer": _UNLIMITED}
    if name not in (HUB, RECORDS, SYSTEM, NOBODY):
        found |= {"subs": limits.subscriptions, "payload": limits.payload, "conn": limits.connections}
    if name in {site_account(site.name) for site in _leaves(sites)}:
        found["leaf"] = limits.leaf_nodes
    return {**found, "wildcards": True}


def _leaves(sites: Sequence[HubSite]) -> Iterator[HubSite]:
    return (site for site in sites if site.leaf)


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
