"""Draws docs/pictures/hub.png: the page of all sites of a hub with forty simulated sites, in a real browser.

    python -m scripts.make_fleet_picture [FOLDER]

The server, the hub and the page are real. The sites are words that no daemon stands behind, and a minute of the small
plots is as short as the time between two words here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from syncdaemon.base.pages import open_page
from syncdaemon.dev.server import HOST, NatsServer, free_port
from syncdaemon.stream.site_status import SiteStatus
from tests.support.browser import browser
from tests.support.fleet import simulated, told

PICTURES = Path(__file__).parents[1] / "docs/pictures"
SITES, WORDS = 40, 20
PATIENCE_SECONDS = 60.0
_PROGRAM = "from syncdaemon.hub import fleet; fleet._POINT_SECONDS = 0.0; from syncdaemon.cli import main; main()"
_PLACES = ("harbour", "ridge", "depot", "ferry", "quarry")


def word(number: int, turn: int) -> SiteStatus:
    """What a site tells at its turn; three of them do not do well."""
    status = simulated(number)._replace(site=f"{_PLACES[number % 5]}-{number:02d}", next_within=600)
    status = status._replace(
        queue_depth=(number * 7 + turn * turn) % (11 + number), oldest_file_age=0, quarantined_files=0
    )
    if number == 7:
        return status._replace(replay_days_left=2.4, queue_depth=900 + 40 * turn, oldest_file_age=5_000)
    if number == 12:
        return status._replace(quarantined_files=3)
    return status._replace(oldest_file_age=1_900, queue_depth=60 + turn) if number == 23 else status


def main(arguments: list[str]) -> None:
    """Writes the picture, whole or not at all."""
    folder = Path(arguments[0]) if arguments else PICTURES
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="syncdaemon-") as place, NatsServer(Path(place) / "nats") as server:
        expected = Path(place) / "expected"
        expected.write_text("".join(f"{word(number, 0).site}\n" for number in range(SITES)) + "harbour-99\n")
        command = [sys.executable, "-c", _PROGRAM, "hub", "--sites", str(expected)]
        environment = {**os.environ, "NATS_URL": server.url, "SYNC_HTTP_ADDR": f"{HOST}:{port}"}
        told(server.url, [word(0, 0)])
        with subprocess.Popen(command, cwd=place, env=environment, stderr=subprocess.DEVNULL) as hub:
            try:
                await_page(f"http://{HOST}:{port}/sites")
                for turn in range(WORDS):
                    told(server.url, [word(number, turn) for number in range(SITES)])
                    time.sleep(0.2)
                picture = drawn(f"http://{HOST}:{port}/")
            finally:
                hub.terminate()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "hub.png"
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.write_bytes(picture)
    temporary.replace(target)
    print(target)


def await_page(url: str) -> None:
    """Returns when the hub answers. Raises OSError where that takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with open_page(url, 5.0):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def drawn(url: str) -> bytes:
    """The page as PNG."""
    with browser() as window:
        window.open(url)
        window.wait(lambda: window.run("return sites.size") == SITES + 1, "all sites are there")
        time.sleep(1.0)
        return window.picture()


if __name__ == "__main__":
    main(sys.argv[1:])
