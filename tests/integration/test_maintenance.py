"""The commands of docs/MAINTENANCE.md, run as they are written: on a box with a daemon and a server of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from syncdaemon import __version__
from syncdaemon.dev.server import HOST, NatsServer
from tests.support import runbook
from tests.support.ports import own_port
from tests.support.process import clean_environment
from tests.support.runbook import MAINTENANCE, ROOT
from tests.support.shell import run_script

pytestmark = [pytest.mark.integration, pytest.mark.lengthy, pytest.mark.timeout(180)]

FIRST = "Before you begin"
NEWER = f"{__version__}.post1"
RUN = [block for block in runbook.blocks(MAINTENANCE) if block.runs]
INSTALLED = {"Upgrade": (__version__,), "Downgrade": (__version__, NEWER)}  # the last one is in use; else this checkout
SECTIONS = list(dict.fromkeys(block.section for block in RUN if block.section != FIRST))

# What the page asks its reader to define, for a box with neither systemd nor a cluster; and a site at work.
BOX = """
start_daemon() {
    syncdaemon run 2>>"$BOX/log" & daemon=$!
    until curl -fsS "http://$SYNC_HTTP_ADDR/readyz" >/dev/null 2>&1; do kill -0 "$daemon"; sleep 0.1; done
}
stop_daemon() { kill "$daemon"; wait "$daemon"; }
end_box() { if kill "$daemon" 2>/dev/null; then wait "$daemon"; fi; }
trap end_box EXIT
start_daemon
for n in 1 2 3; do echo "evidence $n" >"$BOX/$n.txt"; done
syncdaemon put "$BOX"/?.txt
until [ "$(cat "$SYNC_LEDGER_DIR"/*.jsonl | grep -c '"event":"published"')" = 3 ]; do sleep 0.1; done
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A download folder with the wheel of this version and of a newer one."""
    downloads = tmp_path_factory.mktemp("downloads")
    for version in (__version__, NEWER):
        build_wheel(version, tmp_path_factory.mktemp("source"), downloads)
    (downloads / "proof.txt").write_text("a first file for the new stream\n")
    return downloads


def build_wheel(version: str, source: Path, into: Path) -> None:
    """As a release does, but for the number of the version."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "services", source / "services", ignore=shutil.ignore_patterns("__pycache__", "logs"))
    place = source / "services/syncdaemon/__init__.py"
    place.write_text(re.sub(r'(?m)^__version__ = ".*"', f'__version__ = "{version}"', place.read_text()))
    code = f"import hatchling.build; hatchling.build.build_wheel({str(into)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)


@pytest.fixture
def box(tmp_path: Path, wheels: Path, nats_server: NatsServer) -> dict[str, str]:
    """The environment of a site's box. Libraries come from this test's own environment; nothing is downloaded."""
    for name in ("replay", "ledger", "backups", "releases"):
        (tmp_path / name).mkdir()
    path = (str(tmp_path / "releases/current/bin"), str(Path(sys.executable).parent), os.environ["PATH"])
    return {
        **clean_environment(),
        "BOX": str(tmp_path),
        "BACKUPS": str(tmp_path / "backups"),
        "RELEASES": str(tmp_path / "releases"),
        "DOWNLOADS": str(wheels),
        "NEW": NEWER,
        "OLD": __version__,
        "SITE": "harbour-3",
        "NATS_URL": nats_server.url,
        "SYNC_REPLAY_DIR": str(tmp_path / "replay"),
        "SYNC_LEDGER_DIR": str(tmp_path / "ledger"),
        "SYNC_HTTP_ADDR": f"{HOST}:{own_port()}",
        "SYNC_HOLD_SECONDS": "1",
        "SYNC_SETTLE_IN_PLACE_SECONDS": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "PATH": os.pathsep.join(path),
    }


def install(version: str, releases: Path, wheels: Path) -> None:
    """An environment with this version, as the page makes one."""
    (wheel,) = wheels.glob(f"syncdaemon-{version}-py3*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(releases / version)], check=True, capture_output=True)
    pip = [str(releases / version / "bin/pip"), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    (releases / "current").unlink(missing_ok=True)
    (releases / "current").symlink_to(version)


@pytest.mark.parametrize("section", SECTIONS)
def test_the_commands_of_a_procedure_work_as_written(
    section: str, box: dict[str, str], tmp_path: Path, wheels: Path
) -> None:
    """All of them in one shell that ends at the first command that fails; the site has delivered before."""
    for version in INSTALLED.get(section, ()):
        install(version, tmp_path / "releases", wheels)
    script = "\n".join([BOX, *(block.text for block in RUN if block.section in (FIRST, section))])
    run_script(script, tmp_path, box)
