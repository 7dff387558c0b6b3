"""The accounts of a hub as nats-server configuration. Pure.

No secret is in it. The account of a site, of the workers and of the auditor includes a file of its own with its
`users`, so that each may log in by password or nkey. The hub's own accounts have one user each, all with the password
in `users/hub-password.conf`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

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
    login_account,
    shares,
)
from syncdaemon.hub.limits import LIMITS, Limits, batches
from syncdaemon.hub.site_list import HubSite
from syncdaemon.stream.calls import JETSTREAM

_LOGIN_SECONDS = 60


def hub_conf(sites: Sequence[HubSite], layout: Layout, limits: Limits = LIMITS) -> str:
    """What the hub's server includes: the limits of JetStream, and all accounts."""
    lines = [
        "# Printed by `syncdaemon permissions --role hub`. Include it in the server's configuration.",
        'include "users/hub-password.conf"  # one line: HUB_PASSWORD: "..."',
        *_jetstream(sites),
        "accounts {",
    ]
    exports, imports = _by_account(shares(sites, layout))
    heads = _heads(sites, limits)
    for account in accounts(sites):
        lines.append(f"  {_quoted(account)} {{")
        lines += [f"    {line}" for line in heads[account]]
        lines += _block("exports", exports[account])
        lines += _block("imports", imports[account])
        lines.append("  }")
    return "\n".join([*lines, "}", ""])


def jwt_conf(sites: Sequence[HubSite], accounts: Sequence[str]) -> str:
    """The same where the accounts are JWTs: these are the lines that name them."""
    lines = [
        "# Printed by `syncdaemon permissions --role hub --jwt`. Include it in the server's configuration.",
        f"authorization {{timeout: {_LOGIN_SECONDS}}}  # a login waits for the accounts that it needs to be read",
    ]
    return "\n".join([*lines, *_jetstream(sites), *accounts, ""])


def _jetstream(sites: Sequence[HubSite]) -> list[str]:
    return [
        "jetstream {",
        '  include "jetstream.conf"  # store_dir, max_file_store, domain',
        f"  {batches(len(sites))}",
        "}",
    ]


def _heads(sites: Sequence[HubSite], limits: Limits) -> dict[str, list[str]]:
    """What is said of each account before its exports: its users, its JetStream and its limits."""
    heads = {
        HUB: ["jetstream: enabled", _own_user("hub"), _NO_LEAF],
        RECORDS: ["jetstream: enabled", _own_user("records"), _NO_LEAF],
        WORKER: [_users("worker"), _no_leaf(limits)],
        AUDITOR: [_users("auditor"), _no_leaf(limits)],
        NOBODY: [f"exports: [{{service: {_quoted(JETSTREAM.account)}}}]"],
    }
    for site in sites:
        users = _users(f"site-{site.name}")
        if site.leaf:
            heads[login_account(site)] = [users, _limits(limits, limits.leaf_nodes)]
            disk = f"jetstream: {{max_file: {limits.disk}, max_mem: 0}}"
            heads[landing_account(site.name)] = [disk, _own_user(f"in-{site.name}"), _no_leaf(limits)]
        else:
            # A leaf node may set a reply subject that acknowledges messages of the workers.
            heads[login_account(site)] = [users, _no_leaf(limits)]
    return heads


_NO_LEAF = "limits {max_leafnodes: 0}"


def _users(name: str) -> str:
    return f'include "users/{name}.conf"'


def _own_user(name: str) -> str:
    return f"users: [{{user: {_quoted(name)}, password: $HUB_PASSWORD}}]"


def _no_leaf(limits: Limits) -> str:
    return _limits(limits, leaf_nodes=0)


def _limits(limits: Limits, leaf_nodes: int) -> str:
    return (
        f"limits {{max_connections: {limits.connections}, max_subscriptions: {limits.subscriptions}, "
        f"max_payload: {limits.payload}, max_leafnodes: {leaf_nodes}}}"
    )


def _by_account(found: Iterable[Share]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The exports and the imports of each account, as lines."""
    importers: dict[tuple[str, str, bool], dict[str, bool]] = defaultdict(dict)
    exports: dict[str, list[str]] = defaultdict(list)
    imports: dict[str, list[str]] = defaultdict(list)
    for share in found:
        importers[share.exporter, share.subject, share.stream][share.importer] = share.many
        to = f", to: {_quoted(share.to)}" if share.to else ""
        at = f"{{account: {_quoted(share.exporter)}, subject: {_quoted(share.subject)}}}"
        imports[share.importer].append(f"{{{_kind(share.stream)}: {at}{to}}}")
    for (exporter, subject, stream), takers in importers.items():
        if exporter != NOBODY:
            many = ", response_type: Stream" if any(takers.values()) else ""
            names = ", ".join(map(_quoted, takers))
            exports[exporter].append(f"{{{_kind(stream)}: {_quoted(subject)}, accounts: [{names}]{many}}}")
    return exports, imports


def _kind(stream: bool) -> str:
    return "stream" if stream else "service"


def _block(name: str, entries: Sequence[str]) -> Iterator[str]:
    if entries:
        yield f"    {name}: ["
        yield from (f"      {entry}" for entry in entries)
        yield "    ]"


def _quoted(text: str) -> str:
    return f'"{text}"'
