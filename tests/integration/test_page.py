"""The live page of a site in a real browser: what somebody sees who knows nothing, and what happens meanwhile."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.js import JetStreamContext
from selenium.webdriver.common.by import By

from syncdaemon.dev.server import HOST, NatsServer
from tests.support.browser import DESK, PHONE, Browser, browser
from tests.support.daemon import DaemonProcess, MakeDaemon
from tests.support.network import HUB, Network
from tests.support.receiver import MakeReceiver, at_server

pytestmark = [pytest.mark.integration, pytest.mark.lengthy, pytest.mark.timeout(300)]

TOKEN = "a-token-of-24-characters"
HOSTILE = {
    "<img src=x onerror=document.title='taken'>": "<img src=x onerror=document.title='taken'>",
    "bill\u202egpj.exe": "bill\\u202egpj.exe",  # would be shown as billexe.jpg
    "red\x1b[31m\nsecond line": "red\\x1b[31m\\nsecond line",
    "שלום.csv": "שלום.csv",
    "&amp; \"'`${1}": "&amp; \"'`${1}",
    "é" * 100: "é" * 100,
}


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture
def daemon(nats_server: NatsServer, make_daemon: MakeDaemon) -> DaemonProcess:
    made = make_daemon(nats_server.url, SITE="harbour-3")
    made.start()
    return made


def seen(window: Browser, daemon: DaemonProcess) -> Browser:
    """The page of this daemon, with what the event stream says."""
    window.size(*DESK)
    window.dark(False)
    window.console()
    window.open(f"http://{HOST}:{daemon.port}/")
    window.wait_for_text("live", "#word")
    return window


def test_first_sight_and_a_delivery_that_appears_by_itself(window: Browser, daemon: DaemonProcess) -> None:
    page = seen(window, daemon)
    page.wait_for_text("Yes", "#verdict")
    assert page.text("#name") == "harbour-3"
    assert "None waits here" in page.text("#sentence")
    assert page.text("#link-state") == "up"
    page.wait_for_text("all is well", "#health-count")
    assert "0 %" not in page.text("#link")  # of what is known since a moment, nothing is said
    page.run("window.same = true")

    daemon.drop("scan-1.csv", b"evidence")
    page.wait_for_text("scan-1.csv", "#receipts-list")
    page.wait_for_text("Yes", "#verdict")
    assert "8 bytes" in page.text("#receipts-list")
    assert page.run("return window.same"), "it was loaded again"
    assert page.console() == []


def test_the_link_goes_down_and_comes_back(window: Browser, daemon: DaemonProcess, nats_server: NatsServer) -> None:
    page = seen(window, daemon)
    page.wait_for_text("Yes", "#verdict")
    nats_server.stop()
    daemon.drop("late.csv", b"late")
    page.wait_for_text("1 file is on this machine alone: the link is down.", "#sentence")
    assert page.text("#verdict") == "Not yet"
    assert page.text("#link-state") == "down"
    page.wait_for_text("What to do: Look at this machine's network", "#ill")
    assert page.ailments() == []
    nats_server.start()
    page.wait_for_text("late.csv", "#receipts-list")
    page.wait_for_text("Yes", "#verdict")
    assert page.text("#link-state") == "up"
    assert page.console() == []


def test_an_upload_shows_how_far_it_is(window: Browser, nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(nats_server.url, SYNC_BWLIMIT="400k")
    daemon.start()
    page = seen(window, daemon)
    daemon.drop("film.bin", os.urandom(4_000_000))
    page.wait_for_text("film.bin", "#work-list")
    page.wait_for_text("uploading", "#work-list")
    page.wait(lambda: 0 < _progress(page) < 1, "the bar is on its way")
    assert page.ailments() == []
    page.wait_for_text("film.bin", "#receipts-list")
    page.wait(lambda: not page.text("#work"), "nothing is on the way any more")
    assert page.console() == []


def _progress(page: Browser) -> float:
    bars = page.driver.find_elements(By.CSS_SELECTOR, "#work-list progress")
    return float(page.run("return arguments[0].position", bars[0])) if bars else 0.0


def test_names_of_every_kind_are_text(window: Browser, daemon: DaemonProcess) -> None:
    page = seen(window, daemon)
    for number, name in enumerate(HOSTILE):
        daemon.drop(name, b"%d" % number)
    page.wait(lambda: len(page.driver.find_elements(By.CSS_SELECTOR, "#receipts-list bdi")) >= len(HOSTILE), "all came")
    texts = {bdi.text for bdi in page.driver.find_elements(By.CSS_SELECTOR, "#receipts-list bdi")}
    assert texts == set(HOSTILE.values())
    assert page.run("return document.images.length") == 0
    assert page.run("return document.title") == "harbour-3"
    page.size(*PHONE)
    assert not page.is_too_wide()
    assert page.console() == []


def test_a_refused_file_is_told_with_its_reason(
    window: Browser, nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    daemon = make_daemon(nats_server.url)
    daemon.start()
    page = seen(window, daemon)
    _set_aside(daemon, "torn.csv")
    page.wait_for_text("1 file was refused, and lies on this machine alone.", "#sentence")
    assert page.text("#verdict") == "No"
    page.wait_for_text("torn.csv", "#refused-list")
    assert "too_large" in page.text("#refused-list")
    page.wait_for_text("syncdaemon quarantine list", "#ill")
    assert page.ailments() == []


def _set_aside(daemon: DaemonProcess, name: str) -> None:
    """As the daemon itself does it; it counts what lies there."""
    folder = daemon.replay / ".syncdaemon" / "quarantine"
    at = "2026-01-01T00:00:00Z"
    sidecar = {"reason": "too_large", "error": "no room", "attempts": 1, "path": name, "sha256": ""}
    (folder / f"{name}.reason.json").write_text(json.dumps({**sidecar, "first": at, "last": at}))
    (folder / name).write_bytes(b"x")


@pytest.mark.parametrize("size", [PHONE, DESK])
@pytest.mark.parametrize("dark", [False, True])
def test_it_can_be_read(window: Browser, daemon: DaemonProcess, dark: bool, size: tuple[int, int]) -> None:
    """On a small phone and on a desk, by day and by night, with a keyboard and with a screen reader."""
    daemon.drop("a-name-without-any-place-to-break-it-" + "x" * 150, b"1")
    page = seen(window, daemon)
    page.size(*size)
    page.dark(dark)
    page.wait_for_text("a-name-without", "#receipts-list")
    assert page.ailments() == []
    assert not page.is_too_wide()
    page.run("document.querySelector('#well-box').open = true")
    assert not page.is_too_wide()
    assert page.ailments() == []


def test_without_the_daemon_nothing_is_claimed(window: Browser, daemon: DaemonProcess) -> None:
    page = seen(window, daemon)
    page.wait_for_text("Yes", "#verdict")
    daemon.kill()
    page.wait_for_text("Not known", "#verdict")
    page.wait_for_text("can't be reached from here", "#sentence")
    daemon.start()
    page.wait_for_text("Yes", "#verdict")


def test_another_machine_needs_the_token_once(
    make_network: type[Network], nats_server: NatsServer, make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    """The browser asks for it, and sends it with the event stream too."""
    network = make_network()
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    daemon = make_daemon("nats://127.0.0.1:1", SYNC_HTTP_TOKEN_FILE=str(token))
    daemon.env["SYNC_HTTP_ADDR"] = f"0.0.0.0:{daemon.port}"
    with network.hub:
        daemon.start()
    with network.edge, browser() as page:
        page.open(f"http://{HUB}:{daemon.port}/")
        assert "Is my evidence safe?" not in page.text()
        page.open(f"http://any:{TOKEN}@{HUB}:{daemon.port}/")
        page.wait_for_text("live", "#word")
        page.wait_for_text("down", "#link-state")
        assert TOKEN not in page.run("return document.documentElement.outerHTML + location.href")


def test_the_other_end_has_the_same_page(
    window: Browser, daemon: DaemonProcess, nats_server: NatsServer, make_receiver: MakeReceiver
) -> None:
    receiver = make_receiver(nats_server.url)
    receiver.start()
    window.size(*DESK)
    window.console()
    window.open(f"http://{HOST}:{receiver.port}/")
    window.wait_for_text("Yes", "#verdict")
    daemon.drop("scans/one.csv", b"evidence")
    window.wait_for_text("harbour-3/scans/one.csv", "#receipts-list")
    window.wait_for_text("harbour-3", "#sites-rows")
    assert "Does evidence arrive?" in window.text("#question")
    assert "Free on the disk" in window.text("#facts")
    assert window.ailments() == []
    window.size(*PHONE)
    assert not window.is_too_wide()
    publish_rubbish(nats_server.url)
    window.wait_for_text("Not all", "#verdict")
    window.wait_for_text("header_missing", "#rejected-list")
    assert window.ailments() == []
    assert window.console() == []


def publish_rubbish(url: str) -> None:
    """A message that is no file."""

    async def publish(stream: JetStreamContext) -> None:
        await stream.publish("edge.replay.harbour-3.x", b"rubbish")

    at_server(url, publish)
