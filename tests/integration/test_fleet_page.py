"""The page of all sites in a real browser: two thousand of them, hostile names, the dark, a phone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.browser import PHONE, Browser, browser
from tests.support.daemon import eventually
from tests.support.fleet import HubProcess, simulated, tell, told

pytestmark = [pytest.mark.integration, pytest.mark.lengthy, pytest.mark.timeout(240)]

SITES = 2000


@pytest.fixture
def hub(nats_server: NatsServer, tmp_path: Path) -> Iterator[HubProcess]:
    hub = HubProcess(tmp_path, nats_server.url)
    hub.start()
    yield hub
    hub.kill()


@pytest.fixture
def window() -> Iterator[Browser]:
    with browser() as window:
        yield window


def names(window: Browser) -> list[str]:
    """The sites that are shown, in their order."""
    return list(window.run("return [...document.querySelectorAll('#sites button')].map(it => it.textContent)"))


def test_two_thousand_sites_are_usable(nats_server: NatsServer, hub: HubProcess, window: Browser) -> None:
    """The worst stand first; what changes shows up without a reload; one site is found, and opened."""
    told(nats_server.url, map(simulated, range(SITES)))
    eventually(lambda: len(hub.sites()) == SITES, 60, "the hub knows them all")
    window.open(f"http://127.0.0.1:{hub.port}/")
    window.wait(lambda: window.run("return found.length") == SITES, "all of them are there")
    painted = window.run("return performance.getEntriesByName('first-contentful-paint')[0].startTime")
    drawn = window.run(
        """for (const site of sites.values()) { site[3] += 1; site[4] += 1e3; site[2] += 1; site.drawn = plot([1, 2]); }
        const began = performance.now(); draw(); document.body.offsetHeight; return performance.now() - began;"""
    )
    print(f"first paint {painted:.0f} ms, {SITES} rows anew {drawn:.0f} ms")
    window.run("window.scrollTo(0, document.body.scrollHeight)")
    window.wait(lambda: names(window)[-1] == "site-01999", "the last one is at the end")
    window.run("window.scrollTo(0, 0)")
    window.wait(lambda: names(window)[0] == "site-00007", "the first one again")
    assert names(window)[0] == "site-00007", "a disk that is full soon is worse than files that were refused"
    told(nats_server.url, [simulated(1999)._replace(checkpoint_conflict=True)])
    window.wait(lambda: names(window)[0] == "site-01999", "the worst one comes to the top")
    assert "1 checkpoints differ" in window.text("#verdict")
    window.run("byId('wanted').value = '01999'; byId('wanted').dispatchEvent(new Event('input'))")
    window.wait(lambda: names(window) == ["site-01999"], "one is found")
    window.run("document.querySelector('#sites button').click()")
    window.wait_for_text("quarantined files", "#detail")
    assert window.ailments() == []
    assert window.console() == []


def test_hostile_words_stay_text(nats_server: NatsServer, hub: HubProcess, window: Browser) -> None:
    """In the light and in the dark, on a desk and on a phone; and the hub that went away is told."""
    word = b'{"v":1,"next_within":3600,"version":"<img src=x onerror=alert(1)>","paused":"<script>alert(2)</script>"}'
    asyncio.run(tell(nats_server.url, [("hostile-" + "x" * 55, word), ("<img>", word), ("b", b'{"v":1}')]))
    eventually(lambda: len(hub.sites()) == 2, 30, "the hub knows both")
    window.open(f"http://127.0.0.1:{hub.port}/")
    window.wait(lambda: len(names(window)) == 2, "both are drawn")
    window.run("[...document.querySelectorAll('#sites button')].find(it => it.textContent[0] === 'h').click()")
    window.wait_for_text("<script>alert(2)</script>", "#told")
    assert window.run("return document.querySelectorAll('img, #sites script').length") == 0
    for dark in (False, True):
        window.dark(dark)
        assert window.ailments() == []
    window.size(*PHONE)
    assert not window.is_too_wide()
    assert window.console() == []
    hub.kill()
    window.wait_for_text("No answer from syncdaemon hub", "#trouble", within=60.0)
