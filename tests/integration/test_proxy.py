"""A proxy in the environment, as in many companies: what listens on this machine is never asked through it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from syncdaemon.dev.server import HOST
from tests.support.daemon import MakeDaemon, eventually
from tests.support.ports import own_port
from tests.support.process import clean_environment
from tests.support.server import MakeNatsServer
from tests.support.shell import Shell

pytestmark = pytest.mark.integration

NAMES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


class Proxy:
    """A proxy that answers everything with a page of its own, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.port = own_port()

    @property
    def environment(self) -> dict[str, str]:
        return dict.fromkeys(NAMES, f"http://{HOST}:{self.port}")


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """In the way of every HTTP client that heeds the environment."""
    made = Proxy()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            body = json.dumps({"version": "of the proxy", "server_id": "the proxy"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((HOST, made.port), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def test_status_asks_the_daemon(
    shell: Shell, make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, proxy: Proxy
) -> None:
    server = make_nats_server()
    server.start()
    daemon = make_daemon(server.url, **proxy.environment)
    daemon.start()
    shell.env |= proxy.environment | {"SYNC_HTTP_ADDR": daemon.env["SYNC_HTTP_ADDR"]}
    found = json.loads(shell("status", "--json").out)
    assert found["version"] != "of the proxy"
    assert shell("status").code == 0
    assert proxy.asked == []


def test_without_a_daemon_status_says_so(shell: Shell, proxy: Proxy) -> None:
    """And does not show what a proxy says."""
    shell.env |= proxy.environment
    assert shell("status").code == 3
    assert proxy.asked == []


def test_doctor_asks_the_monitoring_port(shell: Shell, make_nats_server: MakeNatsServer, proxy: Proxy) -> None:
    """The one of this machine directly, one that is elsewhere as the environment says."""
    server = make_nats_server(monitor_port=0)
    server.start()
    shell.env |= proxy.environment | {"NATS_URL": server.url, "NATS_MONITOR_URL": server.monitor_url}
    shell("doctor")
    assert proxy.asked == []
    shell("doctor", NATS_MONITOR_URL="http://hub.example.org:8222")
    assert proxy.asked
    assert all(url.startswith("http://hub.example.org:8222/") for url in proxy.asked)


def test_dev_needs_no_proxy(shell: Shell, proxy: Proxy) -> None:
    """It talks to its own server only; here its start is looked at, and its end."""
    shell.env |= proxy.environment
    with (shell.folder / "dev.out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "syncdaemon", "dev", "--folder", "try"],
            cwd=shell.folder,
            env=shell.env,
            stdout=out,
            stderr=out,
        )
    try:
        eventually(lambda: "Ctrl-C" in (shell.folder / "dev.out").read_text(), 40, "it is ready")
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert proxy.asked == []


def asked(proxy: Proxy, source: str) -> str:
    """What a script says on its standard error, in an environment with the proxy."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=root,
        env=clean_environment() | proxy.environment,
        capture_output=True,
        text=True,
        timeout=40,
    )
    return done.stderr


def test_the_scripts_ask_a_prometheus_of_this_machine_directly(proxy: Proxy) -> None:
    said = asked(proxy, f"from scripts.prometheus import Api; Api('http://localhost:{own_port()}').value('up')")
    assert "no Prometheus answers" in said
    assert proxy.asked == []


def test_the_exporter_asks_its_servers_directly(proxy: Proxy) -> None:
    """It stands beside them."""
    said = asked(proxy, f"from scripts.jsz_exporter import _get; _get('http://{HOST}:{own_port()}/jsz')")
    assert "Connection refused" in said
    assert proxy.asked == []
