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
RECEIVING = PACKAGING / "syncdaemon-receive.service"
ENV_FILE = "/etc/syncdaemon/syncdaemon.env"
WORKERS_ENV_FILE = "/etc/syncdaemon/receive.env"
FOR_ITSELF = re.compile(
    "^(?:Protect|Private|Restrict|Lock|Memory|SystemCall|NoNew|Remove|Keyring|Device|ProcSubset|Watch)"
)


def text(name: str) -> str:
    return (PACKAGING / name).read_text(encoding="utf-8")


def section(path: Path) -> configparser.SectionProxy:
    """A unit's section [Service]; of a key that stands there several times, the last."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(path)
    return unit["Service"]


@pytest.fixture(scope="module")
def service() -> configparser.SectionProxy:
    """Of the daemon."""
    return section(UNIT)


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


def test_the_worker_is_confined_as_the_daemon_is(service: configparser.SectionProxy) -> None:
    """Every such line of the daemon's unit, without its capability; the worker has a user and a folder of its own."""
    worker = section(RECEIVING)
    confines = {name: value for name, value in service.items() if FOR_ITSELF.match(name)}
    assert len(confines) > 20
    confines["SystemCallFilter"] = "~@privileged @resources"  # it changes no owner
    assert {name: worker.get(name) for name in confines} == confines
    assert (worker["CapabilityBoundingSet"], worker.get("AmbientCapabilities")) == ("", None)
    assert (worker["User"], worker["Type"]) == ("syncdaemon-receive", service["Type"])
    assert "ReadWritePaths" not in worker
    assert f"u {worker['User']} " in text("sysusers.conf")


def test_the_worker_reads_its_own_settings_and_writes_into_its_own_folder() -> None:
    """Beside a daemon on the same machine, it needs another port."""
    worker = section(RECEIVING)
    _, command, option, env_file, folder = worker["ExecStart"].split()
    assert (command, option, env_file) == ("receive", "--env-file", WORKERS_ENV_FILE)
    assert folder in {f"/var/lib/{name}" for name in worker["StateDirectory"].split()}
    for content in (text("receive.env"), re.sub(r"^#(?=[A-Z_]+=)", "", text("receive.env"), flags=re.MULTILINE)):
        given = gather({}, {}, dotenv_values(stream=StringIO(content), interpolate=False), env_file)
        assert given.values["SYNC_HTTP_ADDR"] != gather({}, {}, {}, env_file).values["SYNC_HTTP_ADDR"]


def test_the_folders_are_as_the_daemon_wants_them() -> None:
    """Section "Producers of other users" of docs/DEPLOYMENT.md says why."""
    assert modes() == {
        "/agentforge": ["0755", "root", "root"],
        "/agentforge/replay": ["3770", "syncdaemon", "producers"],
        "/agentforge/replay/.syncdaemon": ["0710", "syncdaemon", "producers"],
    }


@pytest.mark.parametrize("packaged", [UNIT, RECEIVING], ids=lambda path: path.stem)
def test_systemd_finds_the_unit_sound_and_its_exposure_low(packaged: Path, tmp_path: Path) -> None:
    """With a program that is there in the place of ours. The exit code of `security` holds the threshold: 2.0."""
    analyze = needs.program("systemd-analyze")
    unit = tmp_path / packaged.name
    unit.write_text(re.sub(r"^ExecStart=.*", "ExecStart=/bin/true", text(packaged.name), flags=re.MULTILINE))
    for command in (["verify", "--man=no"], ["security", "--offline=true", "--threshold=20", "--no-pager"]):
        done = subprocess.run([analyze, *command, str(unit)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("unit", [UNIT, RECEIVING], ids=lambda path: path.stem)
def test_a_unit_starts_only_programs_that_every_debian_has(unit: Path) -> None:
    """A bare Debian has no /bin/kill: it is in the package procps."""
    started = re.findall(r"^Exec\w+=[-@:+!]*(\S+)", unit.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(started) <= {"/usr/bin/syncdaemon", "/bin/sh"}


def test_who_may_read_what_was_received_can_not_read_the_workers_login() -> None:
    """Readers join the worker's group, so that the login is for the worker's user alone."""
    worker = section(RECEIVING)
    (install,) = re.findall(r"^#\s+install (.*)", text("receive.env"), re.MULTILINE)
    assert install.split()[:4] == ["-m", "0400", "-o", worker["User"]]


@pytest.mark.parametrize("script", ["syncdaemon", "debian/postinst", "debian/prerm", "debian/postrm"])
def test_the_scripts_are_shell(script: str) -> None:
    done = subprocess.run(["sh", "-n", str(PACKAGING / script)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
