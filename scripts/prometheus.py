"""Prometheus: asked over HTTP, wherever it runs; and a real one of our own, for tests and local measurements."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.parse
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

from syncdaemon.base.errors import ConnectTimeout, SettingsError
from syncdaemon.base.pages import open_page
from syncdaemon.dev.leash import leashed
from syncdaemon.dev.server import HOST, free_port

UNPACKED = Path(__file__).parents[1] / ".cache/prometheus"

_START_SECONDS = 60.0
_TIMEOUT = 10.0


Targets = Mapping[str, Sequence[str]]
"""Addresses by the name of their Service, which the Prometheus operator puts into the label `service`."""


class Sample(NamedTuple):
    """One element of an instant vector."""

    labels: dict[str, str]
    value: float


def find_binary(name: str) -> Path:
    """`prometheus` or `promtool`: on the PATH, else where `make test-deps` unpacks them."""
    found = shutil.which(name) or shutil.which(name, path=str(UNPACKED))
    if found is None:
        raise SettingsError(f"no {name} found: make test-deps, or put one on the PATH")
    return Path(found)


class Api:
    """The HTTP API of a Prometheus, version 1, at this URL."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def query(self, expression: str) -> list[Sample]:
        """What the expression gives now. Raises ConnectTimeout where nothing answers, ValueError for a bad one."""
        found = self._get("query", query=expression)["result"]
        return [Sample(it["metric"], float(it["value"][1])) for it in found]

    def value(self, expression: str) -> float | None:
        """The one value of an expression, None where there is none."""
        found = self.query(expression)
        return found[0].value if found else None

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its `name`, `health`, and an alert's `state`."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, what: str, **parameters: str) -> Any:
        url = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with open_page(url, _TIMEOUT) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"Prometheus refused {parameters or what}: {error.read().decode()[:500]}") from None
        except (OSError, ValueError) as error:
            raise ConnectTimeout(f"no Prometheus answers at {self.url}: {error}") from None


class Prometheus:
    """A real Prometheus on the loopback address, from enter to exit, with its configuration and its data in `folder`.

    `rules` is the text of a rule file, `interval` that of scrapes.
    """

    def __init__(self, folder: Path, targets: Targets, rules: str, interval: str) -> None:
        self._folder = folder
        self._port = free_port()
        self.api = Api(f"http://{HOST}:{self._port}")
        self._ending = ExitStack()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rules.yaml").write_text(rules)
        config = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                {"job_name": name, "static_configs": [{"targets": [*addresses], "labels": {"service": name}}]}
                for name, addresses in targets.items()
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config, indent=2))  # JSON is YAML

    def __enter__(self) -> Self:
        command = [
            str(find_binary("prometheus")),
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address={HOST}:{self._port}",
            "--log.level=warn",
        ]
        log_path = self._folder / "prometheus.log"
        with log_path.open("ab") as log:
            process = subprocess.Popen(leashed(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._ending.callback(end, process)
        deadline = time.monotonic() + _START_SECONDS
        while not self._ready():
            if process.poll() is not None or time.monotonic() > deadline:
                self._ending.close()
                raise SettingsError(f"Prometheus did not start: {log_path.read_text()[-2000:]}")
            time.sleep(0.05)
        return self

    def _ready(self) -> bool:
        try:
            with open_page(f"{self.api.url}/-/ready", _TIMEOUT):
                return True
        except OSError:
            return False

    def __exit__(self, *_: object) -> None:
        self._ending.close()


def end(process: subprocess.Popen[bytes], within: float = 15.0) -> None:
    """SIGTERM, also to one that was stopped, and SIGKILL to one that has not ended after so many seconds."""
    process.terminate()
    process.send_signal(signal.SIGCONT)
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
