"""Draws docs/pictures/status.svg: what a terminal shows when files are put and delivered, from a real run.

    python -m scripts.make_screenshots [FOLDER]

The run is in a folder of its own, with a nats-server of its own. The commands are typed, and their output is drawn as
it comes. Only what differs from run to run is written over (`SAME`): times, speeds, and the places of this machine.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from syncdaemon.dev.server import HOST, NatsServer, free_port

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs/pictures"
PROGRAM = str(Path(sys.executable).with_name("syncdaemon"))
COLUMNS, LINES = 100, 60
PATIENCE_SECONDS = 30.0
FONT_FACE = re.compile(r"@font-face \{\{.*?\}\}", re.DOTALL)  # rich's fonts come from a server on the Internet
SAME = (
    (r"(uptime seconds +)\d[\d.]*", r"\g<1>86400.0"),
    (r"(age_seconds=)\d[\d.]*", r"\g<1>2.5"),
    (r"(bandwidth bytes per second +)\d+", r"\g<1>960"),
    (r"(time left seconds +)\w+", r"\g<1>2"),
    (r"[\d.]+ \w+/s", "72.0 kB/s"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "2026-01-01T12:00:00.000000Z"),
    (r" in [\d.]+ s$", " in 0.1 s"),
    (rf"nats://{HOST}:\d+", f"nats://{HOST}:4222"),
)


def main(arguments: list[str]) -> None:
    """Writes the picture, whole or not at all."""
    folder = Path(arguments[0]) if arguments else PICTURES
    with tempfile.TemporaryDirectory(prefix="syncdaemon-") as place:
        picture = drawn(session(Path(place)))
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "status.svg"
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.write_text(picture, encoding="utf-8")
    temporary.replace(target)
    print(target)


def session(place: Path) -> list[str]:
    """The lines of a terminal: three commands with their output. Raises RuntimeError where one of them fails."""
    replay, shown = place / "replay", "/agentforge/replay"
    replay.mkdir()
    for number in (1, 2):
        scan(place, number)
    lines: list[str] = []

    def type_in(command: str) -> None:
        lines.append(f"\x1b[1m$ {command}\x1b[0m")
        lines.extend(in_terminal(command, place, environment))

    with NatsServer(place / "nats") as server:
        environment = settings(place, server)
        with scan(replay, 3).open("ab"), daemon(place, environment):
            type_in("syncdaemon put --wait scan-1.csv scan-2.csv")
            type_in("syncdaemon status")
        for number in (4, 5):
            scan(replay, number)
        type_in("syncdaemon drain")
    return [same(line.replace(str(replay), shown)) for line in lines]


def scan(folder: Path, number: int) -> Path:
    """A file of 2400 bytes, with a content of its own."""
    path = folder / f"scan-{number}.csv"
    path.write_bytes(b"%d" % number * 2400)
    return path


def settings(place: Path, server: NatsServer) -> dict[str, str]:
    """The environment of the commands: no setting of whoever draws the picture."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SYNC_", "NATS_"))}
    for name in ("EDGE_MODE", "NO_COLOR", "COLUMNS", "LINES"):
        kept.pop(name, None)
    return {
        **kept,
        "TERM": "xterm-256color",
        "SITE": "harbour-3",
        "NATS_URL": server.url,
        "SYNC_REPLAY_DIR": str(place / "replay"),
        "SYNC_LEDGER_DIR": "ledger",
        "SYNC_HTTP_ADDR": f"{HOST}:{free_port()}",
        "SYNC_LOG_LEVEL": "error",
    }


@contextmanager
def daemon(place: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """A running daemon that knows one file, which is still being written, and how much room the stream has."""
    with subprocess.Popen([PROGRAM, "run"], cwd=place, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            for line in ("link +up=True", r"stream room +\d+ messages", "settling files +1$"):
                await_line(line, place, environment)
            yield
        finally:
            process.terminate()


def await_line(pattern: str, place: Path, environment: Mapping[str, str]) -> None:
    """Returns when the status has such a line. Raises RuntimeError where that takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        asked = subprocess.run([PROGRAM, "status"], cwd=place, env=environment, capture_output=True, text=True)
        if any(re.search(pattern, line.rstrip()) for line in asked.stdout.splitlines()):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"no line {pattern!r} in the status: {asked.stdout}{asked.stderr}")
        time.sleep(0.1)


def in_terminal(command: str, place: Path, environment: Mapping[str, str]) -> list[str]:
    """What a terminal shows of this command at its end. Raises RuntimeError where it fails.

    Of a line that was drawn several times, as a bar is, only the last state counts.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    words = [PROGRAM, *command.split()[1:]]
    with subprocess.Popen(words, cwd=place, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said = b"".join(iter(lambda: read(ours), b""))
    os.close(ours)
    if process.returncode:
        raise RuntimeError(f"{command}: exit {process.returncode}: {said!r}")
    text = re.sub(r"\x1b\[\??\d*[A-Zhl]", "", said.decode())  # cursor moves; colours, which end in m, stay
    return [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.rstrip().split("\n")]


def read(terminal: int) -> bytes:
    """What comes next, or nothing at the end, which Linux tells by an error."""
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""


def same(line: str) -> str:
    """The line without what differs from run to run."""
    for pattern, text in SAME:
        line = re.sub(pattern, text, line)
    return line


def drawn(lines: list[str]) -> str:
    """The lines as SVG that loads nothing from anywhere."""
    from rich._export_format import CONSOLE_SVG_FORMAT

    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor")
    for line in lines:
        console.print(Text.from_ansi(line), no_wrap=True, crop=True)
    code = FONT_FACE.sub("", CONSOLE_SVG_FORMAT)
    picture = console.export_svg(title="syncdaemon", theme=DIMMED_MONOKAI, code_format=code, unique_id="syncdaemon")
    return "".join(f"{line.rstrip()}\n" for line in picture.splitlines() if line.strip())


if __name__ == "__main__":
    main(sys.argv[1:])
