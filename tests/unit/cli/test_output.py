"""What people read of us: lines, tables, errors and the log, with a name and a server's words as bad as they get."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import typer

from syncdaemon.base.errors import SyncError
from syncdaemon.cli import tables
from syncdaemon.cli.options import WRONG, Command, with_settings
from syncdaemon.cli.say import say
from syncdaemon.cli.work.begin import begin
from syncdaemon.settings.given import Given, gather

HOSTILE = "\x1b[2J\x9b31m\r\n\u202e\udcff\x07"
SHOWN = r"\x1b[2J\x9b31m\r\n\u202e\udcff\x07"


def seen(text: str) -> str:
    """The same text. It has no control character in it but the ends of its lines."""
    assert all(line.isprintable() for line in text.splitlines()), ascii(text)
    return text


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_a_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"there: {HOSTILE}")
    assert seen(capsys.readouterr().out) == f"there: {SHOWN}\n"


def test_a_table_shows_cells_as_they_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show([["name", HOSTILE]])
    assert SHOWN in seen(capsys.readouterr().out)


def test_an_error_of_a_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a server, a file or a row had to do with it."""

    @with_settings
    def command(given: Given) -> int:
        raise SyncError(f"the server said {HOSTILE}")

    app = typer.Typer()
    app.command(cls=Command)(command)
    with pytest.raises(SystemExit):
        app([], standalone_mode=True)
    assert seen(capsys.readouterr().err) == f"syncdaemon: the server said {SHOWN}\n"


def test_a_file_of_settings_that_can_not_be_read_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In a line, and with the exit code of wrong settings."""

    @with_settings
    def command(given: Given) -> int:
        return 0

    (tmp_path / ".env").write_bytes(b"SITE=edge-\xff\n")
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command(cls=Command)(command)
    with pytest.raises(SystemExit) as ended:
        app([])
    assert ended.value.code == WRONG
    assert seen(capsys.readouterr().err).startswith("syncdaemon: .env can't be read: ")


@pytest.mark.parametrize("form", ["console", "json"])
def test_the_log_has_no_word_that_a_terminal_would_obey(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """Neither in a value nor in a traceback, nor in what a library logs."""
    begin(gather({"SYNC_LOG_FORMAT": form}, {}, {}))
    log = structlog.get_logger("test")
    log.warning("no_link", reason=HOSTILE, names=[HOSTILE], attempts=3)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        log.exception("failed")
    logging.getLogger("nats").error("it said %s", HOSTILE)

    found = capsys.readouterr().err.replace("\x1b[", "") if form == "console" else capsys.readouterr().err
    assert found.count("2J") == 4
    for bad in HOSTILE.replace("\n", "").replace("\x1b", ""):
        assert bad not in found or bad.isprintable(), ascii(bad)
    if form == "json":
        assert [json.loads(line)["event"] for line in seen(found).splitlines()] == [
            "no_link",
            "failed",
            f"it said {HOSTILE}",
        ]
