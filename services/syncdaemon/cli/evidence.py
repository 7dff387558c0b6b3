"""The commands about proofs: the key that signs, the log as files, a proof of one receipt, and its check."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import quote_from_bytes

import typer

from syncdaemon.base.errors import SettingsError
from syncdaemon.cli.options import FOUND, Command, Group, with_settings, without_settings
from syncdaemon.cli.say import say
from syncdaemon.settings.given import Given

key_app = typer.Typer(cls=Group, no_args_is_help=True, help="The key that signs a site's checkpoints.")
ledger_app = typer.Typer(cls=Group, no_args_is_help=True, help="The ledger as a whole.")


@key_app.command("new", cls=Command, no_args_is_help=True)
@without_settings
def new(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where the key goes. No file is written over.")],
) -> int:
    """Make a key for SYNC_CHECKPOINT_KEY, and print its public key. Keep a copy of FILE where only you reach it."""
    from syncdaemon.evidence.keyfile import new_key
    from syncdaemon.evidence.strict import base64_text

    say(base64_text(new_key(Path(file)).public))
    return 0


@key_app.command("pin", cls=Command)
@with_settings
def pin(given: Given) -> int:
    """Print the pin, `<public key> <origin>/<site>`: what an auditor keeps, to know this site's checkpoints by."""
    from syncdaemon.evidence.origins import Pin

    say(str(Pin(_public(given), f"{given.values['SYNC_CHECKPOINT_ORIGIN']}/{given.values['SITE']}")))
    return 0


@key_app.command("vkey", cls=Command)
@with_settings
def vkey(given: Given) -> int:
    """Print the key of this log in the form that other tools take. It exists when the ledger has its first row."""
    from syncdaemon.evidence.notes import LOG_KEY, VerifierKey
    from syncdaemon.evidence.origins import LogOrigin
    from syncdaemon.ledger.tree import find_log_id

    public = _public(given)
    folder, site = given.values["SYNC_LEDGER_DIR"], given.values["SITE"]
    if not (log := find_log_id(folder, site)):
        say(f"syncdaemon: row 1 of site {site} is not in {folder}; the vkey exists when the ledger has it", err=True)
        return FOUND
    say(VerifierKey(str(LogOrigin(given.values["SYNC_CHECKPOINT_ORIGIN"], site, log)), LOG_KEY, public).vkey)
    return 0


def _public(given: Given) -> bytes:
    from syncdaemon.evidence.keyfile import read_key

    values = given.values
    if values["SYNC_CHECKPOINT_KEY"] is None:
        raise SettingsError("SYNC_CHECKPOINT_KEY: not set; make a key with `syncdaemon key new FILE` and name its file")
    logins = (values["NATS_CREDS"], values["NATS_NKEY_SEED"], values["NATS_TLS_KEY"])
    return read_key(values["SYNC_CHECKPOINT_KEY"], logins).public


@ledger_app.command("export", cls=Command, no_args_is_help=True)
@with_settings
def export(
    given: Given, target: Annotated[str, typer.Argument(metavar="DIR", help="An empty folder, or one to be made.")]
) -> int:
    """Write the whole log as static files (C2SP tlog-tiles): tiles, entry bundles, and the newest checkpoint.

    Exit 1 if a row is too long for an entry bundle: its bundle is left out then.
    """
    from syncdaemon.ledger.export import export

    done = export(given.values["SYNC_LEDGER_DIR"], given.values["SITE"], Path(target))
    signed = "with its checkpoint" if done.signed else "without a checkpoint, since none is here"
    say(f"{done.rows} rows of log {done.log_id} are in {target}, {signed}")
    for n in done.too_long:
        say(f"row {n} is too long for an entry bundle: its bundle of 256 rows is not there, the tiles are", err=True)
    return FOUND if done.too_long else 0


@with_settings
def prove(
    given: Given,
    output: Annotated[str, typer.Option("-o", "--output", metavar="FILE", help="Where the proof goes: X.tlog-proof.")],
    path: Annotated[
        str | None, typer.Argument(metavar="PATH", help="The file's path in the replay directory: its newest receipt.")
    ] = None,
    row: Annotated[int | None, typer.Option("--row", min=1, metavar="N", help="The receipt in this row.")] = None,
) -> int:
    """Write the proof of one receipt: with it, the file and the site's pin, `verify-proof` needs nothing else."""
    if (path is None) == (row is None):
        raise typer.BadParameter("name a PATH or a --row", param_hint="'PATH'")
    from syncdaemon.ledger.proving import newest_receipt_of, prove_row

    folder, site = given.values["SYNC_LEDGER_DIR"], given.values["SITE"]
    n = row or newest_receipt_of(folder, site, _in_ledger(path or "", given.values["SYNC_REPLAY_DIR"]))
    proof = prove_row(folder, site, n)
    try:
        with open(output, "xb") as file:
            file.write(bytes(proof))
    except OSError as error:
        raise SettingsError(f"--output: {output}: {error.strerror}") from None
    say(f"{output} proves row {n}")
    return 0


def _in_ledger(path: str, replay_dir: Path) -> str:
    """A path as the ledger has it: relative to the replay directory, percent-encoded."""
    relative = os.path.relpath(path, replay_dir) if os.path.isabs(path) else os.path.normpath(path)
    return quote_from_bytes(os.fsencode(relative))


@without_settings
def verify_proof(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The file that the proof is about.")],
    proof: Annotated[str, typer.Argument(metavar="PROOF", help="Its proof, X.tlog-proof.")],
    pin: Annotated[str | None, typer.Option("--pin", metavar="PIN", help="The site's pin (key pin).")] = None,
    vkey: Annotated[str | None, typer.Option("--vkey", metavar="VKEY", help="The log's key (key vkey).")] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", metavar="FILE", help="Whose cosignatures are enough (C2SP tlog-policy).")
    ] = None,
    unwitnessed: Annotated[
        bool, typer.Option("--unwitnessed", help="The site's own signature is enough: exit 0 without cosignatures.")
    ] = False,
) -> int:
    """Check the proof of a file's receipt, without a network, settings or a ledger. Says in one line what it proves.

    Exit 1 if it proves nothing, and without cosignatures that a policy asks for, unless --unwitnessed is given.
    """
    if (pin is None) == (vkey is None):
        raise typer.BadParameter("name the site's key, by --pin or by --vkey", param_hint="'--pin'")
    if policy is not None and unwitnessed:
        raise typer.BadParameter("a policy asks for witnesses: leave out one of both", param_hint="'--unwitnessed'")
    from syncdaemon.cli.work.verify_proof import verify_proof

    return verify_proof(Path(file), Path(proof), pin or "", vkey or "", policy, unwitnessed=unwitnessed)
