"""The accounts of a hub as JWTs: operator, accounts and users, each signed by the one above. Pure.

The form is that of the JWT library of nats-server 2.15 (github.com/nats-io/jwt, version 2), which reads at most 1 MiB.
So exports of the hub's own accounts name no site: who imports what stands in the importer's JWT, which only the
operator can sign. No party has more than the key of a user. Signatures of Ed25519 and the order of all fields are
fixed, so the same keys and sites give the same text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
    leaf_account,
    login_account,
    patterns,
    shares,
)
from syncdaemon.hub.limits import Limits
from syncdaemon.hub.site_list import HubSite

SYSTEM = "SYS"
_UNLIMITED = -1
# A server resolves an account at the first login that needs it, and the system account at its own start; both with all
# that they import (nats-server 2.15.1). So this import, on which nothing is ever said, has all accounts of the hub read
# before the server listens. Without it the first login waits for that: after 2 s the server's PING comes before the
# login's PONG, for which clients take it, and a second login meanwhile gets an account that is not complete.
_AT_THE_START = Share(HUB, SYSTEM, "edge.at_the_start", stream=True)


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
        found[f"site-{site.name}"] = login_account(site)
        if site.leaf:
            found[f"in-{site.name}"] = landing_account(site.name)
    return found


def all_accounts(sites: Sequence[HubSite]) -> list[str]:
    """Also the system account, without which a server with an operator has no JetStream."""
    return [SYSTEM, *accounts(sites)]


def issue(sites: Sequence[HubSite], layout: Layout, limits: Limits, keys: Keys) -> Issued:
    """Signs everything."""
    by_name = keys.accounts
    told = _Teller(keys.issued)
    found, imports = shares(sites, layout), defaultdict(list)
    of_sites = (share for share in found if share.exporter not in (HUB, RECORDS))
    exports = _exports([_AT_THE_START, *patterns(layout), *of_sites])
    for share in found:
        imports[share.importer].append(_import(share, by_name))
    imports[SYSTEM].append(_import(_AT_THE_START, by_name))
    leaves = [site.name for site in sites if site.leaf]
    disks = {HUB: _UNLIMITED, RECORDS: _UNLIMITED} | {landing_account(site): limits.disk for site in leaves}
    leaf_nodes = {leaf_account(site): limits.leaf_nodes for site in leaves}
    signed = {}
    for name in all_accounts(sites):
        kind = {
            "imports": imports[name],
            "exports": exports.get(name, []),
            "limits": _limits(limits, name, disks.get(name, 0), leaf_nodes.get(name, 0)),
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

    def __init__(self, issued: int) -> None:
        self._issued = issued

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
    """By account. One that lies within another is left out, since the library refuses it."""
    many: dict[str, dict[Share, bool]] = defaultdict(dict)
    for share in found:
        own, export = many[share.exporter], share._replace(importer="", many=False, to="")
        own[export] = own.get(export, False) or share.many
    return {
        exporter: [_export(share, several) for share, several in own.items() if not _left_out(share, own)]
        for exporter, own in many.items()
    }


def _export(share: Share, many: bool) -> dict[str, Any]:
    export: dict[str, Any] = {"name": share.subject, "subject": share.subject, "type": _kind(share)}
    return export | ({"response_type": "Stream"} if many else {})


def _left_out(share: Share, others: Iterable[Share]) -> bool:
    return any(_within(share, other) for other in others)


def _within(one: Share, other: Share) -> bool:
    if one == other or one.stream != other.stream:
        return False
    tokens, wider = one.subject.split("."), other.subject.split(".")
    return len(tokens) == len(wider) and all(b in ("*", a) for a, b in zip(tokens, wider, strict=True))


def _import(share: Share, by_name: Mapping[str, Key]) -> dict[str, Any]:
    found: dict[str, Any] = {"subject": share.subject, "account": by_name[share.exporter].public, "type": _kind(share)}
    return found | ({"local_subject": share.to} if share.to else {})


def _kind(share: Share) -> str:
    return "stream" if share.stream else "service"


def _limits(limits: Limits, name: str, disk: int, leaf_nodes: int) -> dict[str, Any]:
    """What an account may take. `disk`: 0 is no JetStream, -1 is as much as the server has."""
    found = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn"), _UNLIMITED)
    found |= {"leaf": leaf_nodes, "mem_storage": 0, "disk_storage": disk}
    found |= dict.fromkeys(("streams", "consumer"), _UNLIMITED if disk else 0)
    if name not in (HUB, RECORDS, SYSTEM, NOBODY):
        found |= {"subs": limits.subscriptions, "payload": limits.payload, "conn": limits.connections}
    return {**found, "wildcards": True}


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
