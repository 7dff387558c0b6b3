"""The commands of a hub of many sites: what separates them, and what is made there for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syncdaemon.base.errors import SettingsError
from syncdaemon.base.units import Wrong
from syncdaemon.cli.options import Command, Group, with_settings
from syncdaemon.cli.say import say
from syncdaemon.settings.given import Given

if TYPE_CHECKING:
    from syncdaemon.hub.accounts import Layout
    from syncdaemon.hub.limits import Limits
    from syncdaemon.hub.site_list import HubSite

app = typer.Typer(cls=Group, no_args_is_help=True, help="A hub of many sites.")

_JWT = "With the role hub: accounts as JWTs; keys and credentials are kept in this folder."
_SITES = "File with `<site>` or `<site> leaf` a line."


@with_settings
def permissions(
    given: Given,
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="hub, site, worker, auditor or leaf.")],
    sites: Annotated[str, typer.Option("--sites", metavar="FILE", help=_SITES)] = "",
    jwt: Annotated[str, typer.Option("--jwt", metavar="DIR", help=_JWT)] = "",
) -> int:
    """Print what a nats-server has to permit, and nothing more, as its own configuration."""
    from syncdaemon.hub.conf import hub_conf
    from syncdaemon.hub.limits import LIMITS
    from syncdaemon.hub.roles import ROLES, role_conf

    if role not in ("hub", *ROLES):
        raise typer.BadParameter(f"{role!r} is none of hub, {', '.join(ROLES)}", param_hint="'--role'")
    if jwt and role != "hub":
        raise typer.BadParameter("only the hub's accounts are JWTs", param_hint="'--jwt'")
    layout, site = _layout(given), given.values["SITE"]
    if role == "site" and given.values["SYNC_STREAM_CREATE"]:
        raise SettingsError(
            "SYNC_STREAM_CREATE: a site that may create streams can read those of all others; "
            "set it to false, and let the hub make the stream (syncdaemon hub init)"
        )
    if role == "hub":
        limits = LIMITS._replace(disk=given.values["SYNC_STREAM_MAX_BYTES"] or LIMITS.disk)
        listed = _read(sites)
        text = _jwts(Path(jwt), listed, layout, limits) if jwt else hub_conf(listed, layout, limits)
    else:
        text = role_conf(role, site, layout, _read(sites) if role in ("worker", "auditor") else ())
    for line in text.splitlines():
        say(line)
    return 0


@app.command("init", cls=Command, no_args_is_help=True)
@with_settings
def init(given: Given, sites: Annotated[str, typer.Option("--sites", metavar="FILE", help=_SITES)]) -> int:
    """Make the hub's streams, buckets and the workers' consumer. Run it again when a site comes or goes.

    Log in as the user `hub`, by NATS_PASSWORD or with NATS_CREDS: the logins of the hub's other accounts have the same
    password, or lie beside that file.
    """
    from syncdaemon.cli.work.begin import begin
    from syncdaemon.cli.work.hub import init

    return init(begin(given), _read(sites), _layout(given))


def _jwts(folder: Path, sites: list[HubSite], layout: Layout, limits: Limits) -> str:
    """The hub's configuration with JWTs, whose keys and credentials are on disk before it is printed."""
    from syncdaemon.hub.conf import jwt_conf
    from syncdaemon.hub.jwt import issue, preload
    from syncdaemon.hub.keys import open_keys, write_credentials

    keys = open_keys(folder, sites, lambda line: say(line, err=True))
    issued = issue(sites, layout, limits, keys)
    write_credentials(folder, issued)
    return jwt_conf(sites, preload(issued, keys))


def _read(sites: str) -> list[HubSite]:
    from syncdaemon.hub.site_list import read_sites

    if not sites:
        raise SettingsError("--sites: name the file that lists the sites")
    try:
        return read_sites(Path(sites).read_text())
    except OSError as error:
        raise SettingsError(f"--sites: {sites} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"--sites: {sites} is no text") from None
    except Wrong as wrong:
        raise SettingsError(f"--sites: {sites}: {wrong}") from None


def _layout(given: Given) -> Layout:
    from syncdaemon.hub.accounts import Layout

    stream, subject = given.values["SYNC_STREAM"], given.values["SYNC_SUBJECT"]
    try:
        return Layout.of(stream, subject, given.values["SYNC_BUCKET"])
    except Wrong as wrong:
        raise SettingsError(f"what sites share: {wrong}") from None
