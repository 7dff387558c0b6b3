"""A real browser without a screen: Debian's chromium, by its chromedriver, with a profile that is thrown away.

`make screenshots` uses this too.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from tests.support.needs import program

PHONE, DESK = (360, 740), (1200, 900)
"""Width and height of what a page sees of a small phone, and of a desk's screen, in its own pixels."""

PATIENCE_SECONDS = 60.0  # a page that is slow because the machine is

_FLAGS = (
    "--headless=new",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-proxy-server",
    "--password-store=basic",
)


class Browser:
    """One window. What it can do beyond these methods, `driver` can, which is selenium's."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Loads a page. A login may stand in the URL: `http://any:token@...`."""
        self.driver.get(url)

    def size(self, width: int, height: int, *, scale: float = 1.0) -> None:
        """What the page sees is so large, in its own pixels; a picture of it has `scale` times as many."""
        seen = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", seen)

    def dark(self, wanted: bool = True) -> None:
        """Whether the user wants dark pages."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if wanted else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value that this JavaScript returns."""
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str = "body") -> str:
        """What a reader sees of the first element that this CSS selector finds; empty where there is none."""
        found = self.driver.find_elements(By.CSS_SELECTOR, selector)
        try:
            return found[0].text if found else ""
        except WebDriverException:  # it was replaced since
            return ""

    def wait(self, check: Callable[[], object], what: str, within: float = PATIENCE_SECONDS) -> None:
        """Returns as soon as `check` is true. Raises AssertionError with `what` and the page's text if it never is."""
        deadline = time.monotonic() + within
        while not check():
            assert time.monotonic() < deadline, f"not within {within:g} s: {what}; the page: {self.text()[:3000]!r}"
            time.sleep(0.05)

    def wait_for_text(self, text: str, selector: str = "body", within: float = PATIENCE_SECONDS) -> None:
        """Returns as soon as the element shows this text."""
        self.wait(lambda: text in self.text(selector), f"{text!r} in {selector}", within)

    def console(self) -> list[str]:
        """Errors and warnings of the console since the last time."""
        lines: list[Mapping[str, Any]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [str(line["message"]) for line in lines if line["level"] in ("SEVERE", "WARNING")]

    def is_too_wide(self) -> bool:
        """Whether a reader would have to scroll sideways."""
        return bool(self.run("const page = document.documentElement; return page.scrollWidth > page.clientWidth"))

    def ailments(self) -> list[str]:
        """What axe-core finds of the impact `serious` or `critical`: rule, element and reason."""
        self.run(files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
        found = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run().then(found => done(found.violations), error => done(String(error)))"
        )
        assert isinstance(found, list), found
        return [
            f"{rule['id']}: {node['target']}: {node['failureSummary']}"
            for rule in found
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]

    def picture(self, *, whole: bool = False) -> bytes:
        """A PNG of what is seen, or of the whole page."""
        return b64decode(
            self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": whole})["data"]
        )


@contextmanager
def browser() -> Iterator[Browser]:
    """A window for as long as the body runs. Where there is no browser, the test is skipped, and fails on CI."""
    chromium, chromedriver = program("chromium"), program("chromedriver")
    profile = tempfile.mkdtemp(prefix="syncdaemon-browser-")
    options = Options()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    flags = [*_FLAGS, f"--user-data-dir={profile}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    for flag in flags:
        options.add_argument(flag)
    service = Service(chromedriver, log_output=os.devnull)
    try:
        driver = webdriver.Chrome(options=options, service=service)
        try:
            driver.set_script_timeout(PATIENCE_SECONDS)
            driver.set_page_load_timeout(PATIENCE_SECONDS)
            made = Browser(driver)
            made.size(*DESK)
            yield made
        finally:
            driver.quit()  # ends the browser that it started, and itself
    finally:
        shutil.rmtree(profile, ignore_errors=True)
