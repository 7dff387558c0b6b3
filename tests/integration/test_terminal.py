"""What commands print, wherever that goes: a narrow terminal, a dumb one, none, a locale that lacks most characters."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import struct
import subprocess
import termios
import threading
from pathlib import Path

import pytest

from syncdaemon.dev.server import NatsServer
from syncdaemon.settings.table import SETTINGS
from tests.integration.test_commands import read_only
from tests.support.daemon import MakeDaemon, eventually
from tests.support.jetstream import messages
from tests.support.process import PROGRAM
from tests.support.server import MakeNatsServer
from tests.support.shell import Shell, one_line

pytestmark = pytest.mark.integration

ESCAPE = "\x1b"
PLAIN = [{"NO_COLOR": "1"}, {"TERM": "dumb"}]
LOCALES = [
    {"LC_ALL": "C", "PYTHONUTF8": "0"},
]
MORE_LOCALES = [
    {"LC_ALL": "", "LANG": "en_US.ISO-8859-1", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "ascii:strict"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1"},
]
NAMES = ["caf\u00e9.bin".encode(), b"caf\xe9.bin", "\u65e5\u672c.bin".encode()]


def at_terminal(shell: Shell, *arguments: str, columns: int = 80, **settings: str) -> tuple[int, str]:
    """Exit code and output, both streams together, of a command at a terminal of so many columns."""
    controller, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {name: value for name, value in shell.env.items() if name != "COLUMNS"} | settings
    if env.get("TERM") != "dumb":
        env["TERM"] = "xterm"
    process = subprocess.Popen(
        [*PROGRAM, *arguments], cwd=shell.folder, env=env, stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    found = bytearray()

    def read() -> None:
        try:
            while data := os.read(controller, 65_536):
                found.extend(data)
        except OSError:  # the last one that had the terminal has ended
            pass

    reader = threading.Thread(target=read)
    reader.start()
    code = process.wait(60)
    reader.join(20)
    os.close(controller)
    return code, found.decode().replace("\r\n", "\n")


def screen(text: str) -> list[str]:
    """What stands on the terminal at the end: the few controls that a progress bar uses are obeyed."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|\n|\r|[^\x1b\n\r]+|\x1b", text):
        if part == "\n":
            row, column = row + 1, 0
            if row == len(lines):
                lines.append("")
        elif part == "\r":
            column = 0
        elif part.startswith("\x1b[") and part.endswith("A"):
            row = max(0, row - int(part[2:-1] or 1))
        elif part.startswith("\x1b[") and part.endswith("K"):
            lines[row] = "" if part == "\x1b[2K" else lines[row][:column]
        elif not part.startswith("\x1b"):
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines]


def solid(text: str) -> str:
    """Without blanks and line breaks: a value that wraps is whole here."""
    return re.sub(r"\s+", "", re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", text))


# Tables


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_no_value_of_config_is_cut_at_any_width(shell: Shell, columns: int) -> None:
    """It wraps."""
    code, text = at_terminal(shell, "config", columns=columns)
    assert code == 0
    assert all(len(line) <= columns for line in screen(text))
    assert "\u2026" not in text
    if columns < 80:
        for setting in SETTINGS:
            assert solid(setting.variable) in solid(text)
            assert solid(setting.about) in solid(text)
        assert str(shell.replay) in solid(text)


@pytest.mark.parametrize("columns", [1, 9, 23])
def test_no_value_is_left_out_where_there_is_no_room_for_any(shell: Shell, columns: int) -> None:
    """A pane that was made as small as can be: the terminal breaks the lines, and a copy of them has all."""
    _, wide = at_terminal(shell, "config", columns=40)
    code, text = at_terminal(shell, "config", columns=columns)
    assert code == 0
    assert "".join(text.split()) == "".join(wide.split())


def test_into_a_pipe_every_setting_is_one_line(shell: Shell) -> None:
    """However wide the terminal is that the pipe's reader writes to."""
    shell.env["COLUMNS"] = "40"
    lines = shell("config").out.splitlines()
    assert len(lines) == len(SETTINGS) + 1
    for setting, line in zip(SETTINGS, lines[1:], strict=True):
        assert line.split()[0] == setting.variable
        assert setting.about in line


def test_into_a_pipe_status_is_whole(shell: Shell, nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """The last receipt of a long name, too: a line for each value."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    daemon.drop("a" * 150 + ".bin", b"one")
    eventually(lambda: daemon.rows_so_far("published"), what="the file has a receipt")
    shell.env |= {"COLUMNS": "40", "SYNC_HTTP_ADDR": daemon.env["SYNC_HTTP_ADDR"]}
    table, page = shell("status").out, json.loads(shell("status", "--json").out)
    assert len(table.splitlines()) == len(page)
    assert "a" * 150 in table
    _, narrow = at_terminal(shell, "status", columns=40)
    assert all(len(line) <= 40 for line in screen(narrow))
    assert "\u2026" not in narrow


@pytest.mark.parametrize("columns", [40, 80])
def test_no_sentence_of_the_help_is_cut(shell: Shell, columns: int) -> None:
    """In the lists of commands; also into a pipe, where there is no terminal to be wide."""
    for group in ([], ["quarantine"]):
        _, text = at_terminal(shell, *group, "--help", columns=columns)
        assert "..." not in text.replace("[ARGS]...", "")
        del shell.env["COLUMNS"]
        assert "..." not in shell(*group, "--help").out.replace("[ARGS]...", "")
        shell.env["COLUMNS"] = str(columns)


@pytest.mark.parametrize("columns", [40, 200])
def test_no_value_of_the_quarantine_is_cut(shell: Shell, columns: int) -> None:
    quarantine = shell.replay / ".syncdaemon" / "quarantine"
    quarantine.mkdir(parents=True)
    name = "b" * 100 + ".bin"
    (quarantine / name).write_bytes(b"evidence")
    code, text = at_terminal(shell, "quarantine", "list", columns=columns)
    assert code == 0
    assert all(len(line) <= columns for line in screen(text))
    if columns == 40:
        assert name in solid(text)


@pytest.mark.parametrize("plain", PLAIN, ids=str)
@pytest.mark.parametrize("command", ["config", "doctor --nats-url nats://127.0.0.1:1", "drain --timeout 1", "--help"])
def test_users_who_ask_for_plain_text_get_no_escapes(shell: Shell, command: str, plain: dict[str, str]) -> None:
    """Neither colours nor a bar, at a terminal."""
    shell.env |= plain
    _, text = at_terminal(shell, *command.split())
    assert ESCAPE not in text


@pytest.mark.parametrize("command", ["config", "doctor", "drain --timeout 1", "--help", "run --help"])
def test_into_a_pipe_no_command_writes_escapes(shell: Shell, command: str) -> None:
    """Nor when the log is asked for as people read it."""
    ended = shell(*command.split(), SYNC_LOG_FORMAT="console", FORCE_COLOR="", TERM="xterm")
    assert ESCAPE not in ended.out + ended.err


# The bar


@pytest.mark.parametrize("count", [3, 300])
def test_log_lines_of_a_drain_stand_above_its_bar(shell: Shell, nats_server: NatsServer, count: int) -> None:
    """On lines of their own; and at the end there is one bar, which says that all is done, however soon that was."""
    for number in range(count):
        (shell.replay / f"{number}.bin").write_bytes(b"%d" % number)
    code, text = at_terminal(shell, "drain", columns=100, NATS_URL=nats_server.url)
    assert code == 0
    lines = [line for line in screen(text) if line]
    bars = [line for line in lines if " files " in line and "/s" in line]
    assert len(bars) == 1, lines
    assert f"{count}/{count}" in bars[0]
    logged = [line for line in lines if "link_up" in line]
    assert len(logged) == 1
    assert re.match(r"\d{4}-\d\d-\d\dT", logged[0]), lines
    assert lines.index(logged[0]) < lines.index(bars[0])


def test_no_number_of_a_bar_is_cut(shell: Shell, nats_server: NatsServer) -> None:
    """In a terminal that is too narrow there is none."""
    (shell.replay / "one.bin").write_bytes(b"one")
    code, text = at_terminal(shell, "drain", columns=40, NATS_URL=nats_server.url)
    assert code == 0
    assert "\u2026" not in text
    assert "1/1" not in text
    assert "1 files delivered" in solid_lines(text)


def solid_lines(text: str) -> str:
    return re.sub(r"\s+", " ", text)


# Locales


@pytest.mark.parametrize(
    "locale", [*LOCALES, *(pytest.param(locale, marks=pytest.mark.lengthy) for locale in MORE_LOCALES)], ids=str
)
def test_every_command_prints_in_every_locale(
    shell: Shell, make_nats_server: MakeNatsServer, locale: dict[str, str]
) -> None:
    """Names that the locale can't show are shown as escapes; no command ends in a traceback."""
    server = make_nats_server()
    server.start()
    shell.env |= locale
    shell.env |= {"NATS_URL": server.url, "SYNC_LOG_FORMAT": "console"}
    for name in NAMES:
        source = os.path.join(os.fsencode(shell.folder), name)
        with open(source, "wb") as file:
            file.write(name)
        assert run(shell, b"put", source) == 0
    (shell.folder / ".env").write_text("SYNC_LEDGER_DIR=caf\u00e9\n", encoding="utf-8")
    del shell.env["SYNC_LEDGER_DIR"]
    assert run(shell, b"config") == 0
    assert run(shell, b"config", b"--json") == 0
    assert run(shell, b"drain") == 0
    assert len(asyncio.run(messages(server.url, "swarm_jobs"))) == len(NAMES)
    assert list((shell.folder / "caf\u00e9").glob("*.jsonl"))
    for command in ("verify", "verify --stream", "doctor", "quarantine list", "--help", "run --help"):
        assert run(shell, *command.encode().split()) == 0, command
    assert run(shell, b"status") == 3
    assert run(shell, b"put", b"caf\xe9") == 2
    assert run(shell, b"run", b"--site", b"caf\xe9") == 2


def run(shell: Shell, *arguments: bytes) -> int:
    """The exit code; a traceback fails the test."""
    done = subprocess.run([*PROGRAM, *arguments], cwd=shell.folder, env=shell.env, capture_output=True, timeout=60)
    assert b"Traceback" not in done.stdout + done.stderr, done.stderr.decode("utf-8", "replace")
    return done.returncode


def test_in_ascii_a_character_is_an_escape_and_not_lost(shell: Shell) -> None:
    """On standard output and on standard error."""
    done = subprocess.run(
        [*PROGRAM, "config", "--sync-replay-dir", "caf\u00e9"],
        cwd=shell.folder,
        env=shell.env | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=40,
    )
    assert b"caf\\xe9" in done.stdout


def test_a_dotenv_that_can_not_be_read_is_said_in_one_line(shell: Shell) -> None:
    """It is not UTF-8."""
    (shell.folder / ".env").write_bytes(b"SITE=caf\xe9\n")
    assert one_line(shell("config"), 2).startswith(".env can't be read")


# dev, in a folder that can't be written


def test_dev_in_a_folder_that_can_not_be_written_is_refused_in_one_line(shell: Shell) -> None:
    assert "can't be written" in one_line(shell.under(read_only(shell.folder), "dev"), 2)


@pytest.mark.parametrize("taken", ["try", "try/replay", "try/nats", "try/ledger", "try/nats/nats-server.conf"])
def test_dev_where_something_else_has_a_name_of_its_own_is_refused_in_one_line(shell: Shell, taken: str) -> None:
    """A file where a folder should be, or the other way round."""
    place: Path = shell.folder / taken
    place.parent.mkdir(parents=True, exist_ok=True)
    if taken.endswith(".conf"):
        place.mkdir()
    else:
        place.write_text("something else")
    assert one_line(shell("dev", "--folder", "try"), 2)


def test_a_terminal_is_what_the_test_says() -> None:
    """The test's own screen obeys the controls of a bar."""
    assert screen("log\n--- 1/3\r\x1b[2Kline\n--- 2/3\r\x1b[1A\x1b[2Kx") == ["log", "x", "--- 2/3"]
