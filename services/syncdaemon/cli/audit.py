"""The command of an auditor: it cosigns the checkpoints of all sites, and follows a new ledger when it is told to."""

from __future__ import annotations

from typing import Annotated

import typer

from syncdaemon.base.errors import SettingsError
from syncdaemon.cli.options import with_settings
from syncdaemon.settings.given import Given

_ACTIONS = ("accept", "vkey")


@with_settings
def audit(
    given: Given,
    action: Annotated[
        str,
        typer.Argument(
            metavar="[accept SITE | vkey]",
            help="accept: follow a site's new ledger, or take note of its conflict. vkey: print the cosigner's key.",
        ),
    ] = "",
    of_site: Annotated[str, typer.Argument(metavar="", hidden=True)] = "",
    key: Annotated[str, typer.Option("--key", metavar="FILE", help="The cosigner's own key (key new FILE).")] = "",
    state: Annotated[
        str, typer.Option("--state", metavar="DIR", help="What was cosigned: one auditor's own; never copy it.")
    ] = "",
    pins: Annotated[str, typer.Option("--pins", metavar="FILE", help="The sites' pins, one a line (key pin).")] = "",
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="The cosigner's name. Default: <origin of the pins>/auditor.")
    ] = "",
    sites: Annotated[
        str, typer.Option("--sites", metavar="FILE", help="Sites that should be heard. Default: those of the pins.")
    ] = "",
    policy: Annotated[
        str, typer.Option("--policy", metavar="FILE", help="Witnesses that are asked to cosign too (C2SP tlog-policy).")
    ] = "",
    listen: Annotated[
        str, typer.Option("--listen", metavar="ADDR", help="Serve add-checkpoint for others at this host:port.")
    ] = "",
    once: Annotated[bool, typer.Option("--once", help="One round. Exit 1 if a site needs a person.")] = False,
    accept_state: Annotated[
        bool, typer.Option("--accept-state", help="Begin without a state, or with a copied or an old one.")
    ] = False,
) -> int:
    """Cosign the checkpoints of all sites, until SIGTERM. It needs a key of its own, and no key of a site."""
    from syncdaemon.cli.work import audit as work

    if action and (action not in _ACTIONS or bool(of_site) != (action == "accept")):
        raise typer.BadParameter("it is: audit, audit accept SITE, or audit vkey", param_hint="'[accept SITE | vkey]'")
    needed = {"accept": {"--state": state}, "vkey": {"--key": key}}
    for option, value in needed.get(action, {"--key": key, "--state": state, "--pins": pins}).items():
        if not value:
            raise SettingsError(f"{option}: this is needed")
    if action == "accept":
        return work.accept(state, of_site)
    if action == "vkey":
        return work.vkey(given, key, name, pins)
    files = work.AuditFiles(key, state, pins, name, sites, accept_state, policy, listen)
    return work.once(given, files) if once else work.run(given, files)
