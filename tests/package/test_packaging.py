"""The files of the Debian package agree with one another, the code and the pages; systemd finds its unit sound."""

from __future__ import annotations

import configparser
import re
import subprocess
from io import StringIO
from pathlib import Path

import pytest
from dotenv import dotenv_values

from scripts.make_deb import CONFFILES, PLACES
from syncdaemon.settings.given import gather
from tests.support import needs

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
UNIT = PACKAGING / "syncdaemon.service"
ENV_FILE = "/etc/syncdaemon/syncdaemon.env"


def text(name: str) -> str:
    return (PACKAGING / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def service() -> configparser.SectionProxy:
    """The unit's section [Service]; of a key that stands there several times, the last."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    return unit["Service"]


def modes() -> dict[str, list[str]]:
    """What tmpfiles makes: mode, user and group by path."""
    lines = [line.split() for line in text("tmpfiles.conf").splitlines() if line.startswith("d ")]
    return {path: rest[:3] for _, path, *rest in lines}


def test_every_file_goes_somewhere() -> None:
    beside = {path.name for path in PACKAGING.iterdir() if path.is_file()}
    assert beside == PLACES.keys()
    assert {f"/{where}" for where, _ in PLACES.values()} >= set(CONFFILES)


def test_the_settings_are_legal_with_all_examples() -> None:
    """As they are shipped, and with the comment sign taken from each example."""
    shipped = text("syncdaemon.env")
    for content in (shipped, re.sub(r"^#(?=[A-Z_]+=)", "", shipped, flags=re.MULTILINE)):
        given = gather({}, {}, dotenv_values(stream=StringIO(content), interpolate=False), ENV_FILE)
        assert given.values["SYNC_LEDGER_DIR"] == Path("/var/lib/syncdaemon/ledger")
        assert given.sources["SYNC_REPLAY_DIR"] == ENV_FILE
    assert given.values["SITE"] == "harbour-3"


def test_the_wrapper_names_the_settings_and_the_unit_calls_the_wrapper(service: configparser.SectionProxy) -> None:
    """And not systemd: a reload could not read them again."""
    assert f"--env-file {ENV_FILE}" in text("syncdaemon")
    assert service["ExecStart"] == "/usr/bin/syncdaemon run"
    assert "EnvironmentFile" not in service


def test_the_unit_may_write_to_what_the_settings_name_and_to_nothing_else(service: configparser.SectionProxy) -> None:
    assert (service["ProtectSystem"], service["ReadWritePaths"]) == ("strict", "/agentforge/replay")
    assert (service["StateDirectory"], service["User"]) == ("syncdaemon", "syncdaemon")
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == "CAP_LEASE"


def test_the_folders_are_as_the_daemon_wants_them() -> None:
    """Section "Producers of other users" of docs/DEPLOYMENT.md says why."""
    assert modes() == {
        "/agentforge": ["0755", "root", "root"],
        "/agentforge/replay": ["3770", "syncdaemon", "producers"],
        "/agentforge/replay/.syncdaemon": ["0710", "syncdaemon", "producers"],
    }


def test_systemd_finds_the_unit_sound_and_its_exposure_low(tmp_path: Path) -> None:
    """With a program that is there in the place of ours. The exit code of `security` holds the threshold: 2.0."""
    analyze = needs.program("systemd-analyze")
    unit = tmp_path / "syncdaemon.service"
    unit.write_text(re.sub(r"^ExecStart=.*", "ExecStart=/bin/true", text(UNIT.name), flags=re.MULTILINE))
    for command in (["verify", "--man=no"], ["security", "--offline=true", "--threshold=20", "--no-pager"]):
        done = subprocess.run([analyze, *command, str(unit)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", ["syncdaemon", "debian/postinst", "debian/prerm", "debian/postrm"])
def test_the_scripts_are_shell(script: str) -> None:
    done = subprocess.run(["sh", "-n", str(PACKAGING / script)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
