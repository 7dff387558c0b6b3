"""The commands. Each is a few lines: settings in, one part called, an exit code out."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from syncdaemon import __version__
from syncdaemon.cli import bucket, check, evidence, files, hub, interrupt, look, quarantine, serve, steer, streams
from syncdaemon.cli.options import Command, EnvFile, EnvFileOption, Group

_COMMANDS = (
    serve.run,
    serve.dev,
    serve.drain,
    serve.receive,
    look.status,
    check.doctor,
    check.verify,
    evidence.prove,
    evidence.verify_proof,
    files.put,
    steer.pause,
    steer.resume,
    steer.limit,
    steer.rescan,
    steer.reload,
    look.config,
    hub.permissions,
)

app = typer.Typer(
    name="syncdaemon",
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: loading rich for it takes longer than all else
    context_settings={"max_content_width": 120},
    pretty_exceptions_enable=False,
    help="Delivers every file that is dropped into a directory to NATS JetStream, exactly once, with receipts. "
    "Settings are environment variables, a file (--env-file, by default .env), or the flags of each command; "
    "`syncdaemon config` shows them.",
)


for _command in _COMMANDS:
    app.command(cls=Command)(_command)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(bucket.app, name="bucket")
app.add_typer(hub.app, name="hub")
app.add_typer(evidence.key_app, name="key")
app.add_typer(evidence.ledger_app, name="ledger")


def main() -> None:
    """The `syncdaemon` program."""
    interrupt.end_at_once()
    streams.prepare()
    try:
        app()
    except SystemExit:
        interrupt.end_at_once()
        sys.stdout.flush()  # here, because a failure of the interpreter's own flush shows a traceback
        raise


def _version(value: bool) -> None:
    if value:
        typer.echo(f"syncdaemon {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    ctx: typer.Context,
    env_file: EnvFileOption = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    if env_file is not None:
        ctx.obj = EnvFile(env_file)
