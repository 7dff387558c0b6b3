"""Draws docs/pictures/site.png: the page of a real site in a real browser, a large file on its way.

`make screenshots` calls this. What differs from run to run, such as times, differs in the picture too.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from scripts.make_screenshots import PROGRAM, await_line, settings
from syncdaemon.dev.server import NatsServer
from tests.support.browser import Browser, browser

SIZE = (1160, 900)
_SECONDS = 50.0  # of a run, so that the plots show something
_FILE_SECONDS = 0.6
_FILM_BYTES = 9_000_000
_LIMIT = "400k"


def site_picture(place: Path) -> bytes:
    """A PNG. `place` is an empty folder. Raises RuntimeError or AssertionError where something does not come."""
    with NatsServer(place / "nats") as server, browser() as page:
        environment = settings(place, server) | {"SYNC_BWLIMIT": _LIMIT}
        (place / "replay").mkdir()
        command = [PROGRAM, "run"]
        with subprocess.Popen(command, cwd=place, env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                await_line("link +up=True", place, environment)
                return _drawn(page, place / "replay", environment["SYNC_HTTP_ADDR"])
            finally:
                process.terminate()


def _drawn(page: Browser, replay: Path, address: str) -> bytes:
    page.size(*SIZE, scale=1.5)
    page.open(f"http://{address}/")
    began = time.monotonic()
    number = 0
    while (passed := time.monotonic() - began) < _SECONDS:
        number += 1
        drop(replay, f"camera-{number % 3 + 1}/frame-{number:04d}.jpg", 20_000 + 9_000 * (number % 7))
        if number == int(_SECONDS / _FILE_SECONDS * 0.7):
            drop(replay, "survey/2026-01-01.mp4", _FILM_BYTES)
        time.sleep(_FILE_SECONDS if passed < 20 or passed > 27 else _FILE_SECONDS / 8)
    page.wait_for_text("uploading", "#work-list")
    return page.picture()


def drop(replay: Path, name: str, size: int) -> None:
    """A file, as a producer should drop it."""
    target = replay / name
    target.parent.mkdir(exist_ok=True)
    hidden = target.with_name(f".{target.name}")
    hidden.write_bytes(os.urandom(size))
    hidden.rename(target)
