"""The Debian package on a Debian box: a real systemd is its process 1, and it has its own network and no registry.

The commands are those of README, "For real", and of docs/DEPLOYMENT.md, as they are written there. The box knows
`hub.example.net`, which is a nats-server in the same box, with TLS and a login by JWT.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncdaemon import __version__
from syncdaemon.dev.server import find_binary
from tests.deploy.commands import Done, attempt, run
from tests.deploy.containers import Engine
from tests.deploy.manifests import ROOT
from tests.support.issuer import Operator
from tests.support.process import eventually, parse_metrics

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]

CAP_LEASE = 1 << 28
UNIT = "syncdaemon.service"
RECEIVING = "syncdaemon-receive.service"
RECEIVED = "/var/lib/syncdaemon-receive/files"
TIME = ("log", "-1", "--format=%ct")
LEDGER = "/var/lib/syncdaemon/ledger"
BLOCK = re.compile(r"^```(?:console|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(page: str, heading: str) -> list[str]:
    """The blocks of commands of a section, as a shell takes them, until the next heading. A prompt of root is `# `."""
    text = (ROOT / page).read_text(encoding="utf-8")
    section = re.split(r"^##+ ", text.partition(f"{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    return [re.sub(r"^[#$] ", "", block, flags=re.MULTILINE) for block in BLOCK.findall(section)]


class Box:
    """A running Debian. `sh` is root's shell there."""

    def __init__(self, podman: Engine, name: str) -> None:
        self._podman, self._name = podman, name

    def try_sh(self, script: str, user: str = "root") -> Done:
        """Runs a script in /root, however it goes."""
        return self._podman.try_podman("exec", "--user", user, self._name, "bash", "-c", f"cd /root; {script}")

    def sh(self, script: str, user: str = "root") -> str:
        """Its output; it has to go well, each line of it."""
        return self.try_sh(f"set -e; {script}", user).check().out

    def put(self, source: Path, target: str) -> None:
        """Copies a file or the content of a folder into the box."""
        self._podman.podman("cp", f"{source}/." if source.is_dir() else str(source), f"{self._name}:{target}")

    def shows(self, *names: str, unit: str = UNIT) -> dict[str, str]:
        """What systemd knows of the unit."""
        lines = self.sh(f"systemctl show {unit} {' '.join(f'-p {name}' for name in names)}").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def process(self, unit: str = UNIT) -> dict[str, str]:
        """What the kernel says of the unit's process."""
        lines = self.sh(f"cat /proc/$(systemctl show -p MainPID --value {unit})/status").splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def rows(self) -> list[dict[str, Any]]:
        """Of the ledger."""
        return [json.loads(line) for line in self.sh(f"cat {LEDGER}/evidence-*.jsonl").splitlines()]

    def delivered(self) -> dict[str, str]:
        """Path and digest of all that has a receipt."""
        return {row["path"]: row["sha256"] for row in self.rows() if row["event"] == "published"}

    def metric(self, name: str) -> float:
        """As the daemon says it on its port."""
        fetch = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/metrics').read().decode())"
        return parse_metrics(self.sh(f'python3 -c "{fetch}"'))[name]


@pytest.fixture(scope="module")
def package() -> Path:
    """Built as a release builds it."""
    run("make", "-C", str(ROOT), "deb")
    (found,) = (ROOT / "dist").glob(f"syncdaemon_{__version__}_*.deb")
    return found


@pytest.fixture
def box(podman: Engine, tmp_path: Path) -> Iterator[Box]:
    """A Debian that has just started, with the hub's server beside it and the site's login in root's home."""
    rights = ["--systemd=always", "--cap-add", "SYS_ADMIN,LEASE", "--network", "host"]
    hub = ["--add-host", "hub.example.net:127.0.0.1"]
    podman.podman("run", "--detach", "--name", "box", *rights, *hub, podman.box(), "/lib/systemd/systemd")
    try:
        found = Box(podman, "box")
        eventually(lambda: found.try_sh("systemctl is-active multi-user.target").code == 0, 60, "the box is up")
        start_hub(found, tmp_path)
        yield found
        print(found.try_sh(f"journalctl --no-pager -u {UNIT} | tail -60").out)
    finally:
        podman.podman("rm", "--force", "--time", "0", "box")


def start_hub(box: Box, folder: Path) -> None:
    """A nats-server as hub.example.net, with a certificate that the box trusts."""
    operator = Operator()
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2"]
    names = ["-subj", "/CN=hub.example.net", "-addext", "subjectAltName=DNS:hub.example.net"]
    files = ["-keyout", str(folder / "hub.key"), "-out", str(folder / "hub.crt")]
    subprocess.run([*make, *names, *files], check=True, capture_output=True)
    tls = "tls { cert_file: /hub/hub.crt, key_file: /hub/hub.key }"
    (folder / "hub.conf").write_text(
        f"host: 127.0.0.1\nport: 4222\n{tls}\njetstream {{ store_dir: /hub/js }}\n{operator.config}\n"
    )
    (folder / "site.creds").write_text(operator.creds())
    box.sh("mkdir /hub")
    for name in ("hub.key", "hub.crt", "hub.conf"):
        box.put(folder / name, f"/hub/{name}")
    box.put(folder / "site.creds", "/root/site.creds")
    box.put(find_binary(), "/usr/local/bin/nats-server")
    box.sh("cp /hub/hub.crt /usr/local/share/ca-certificates/ && update-ca-certificates >/dev/null")
    box.sh("systemd-run --quiet --unit=hub /usr/local/bin/nats-server -c /hub/hub.conf")


def install(box: Box, package: Path) -> None:
    """README, "For real": its four lines."""
    (lines,) = commands("README.md", "## For real")
    assert len(lines.splitlines()) == 4
    box.put(package, f"/root/{package.name}")
    box.sh(lines)


def test_the_same_commit_gives_the_same_package_with_nothing_of_the_builders_machine(
    package: Path, tmp_path: Path
) -> None:
    run("dpkg-deb", "--extract", str(package), str(tmp_path))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if str(ROOT).encode() in path.read_bytes()] == []
    assert max(path.stat().st_mtime for path in files) <= float(attempt("git", "-C", str(ROOT), *TIME).check().out)
    first = package.read_bytes()
    run("make", "-C", str(ROOT), "deb")
    assert package.read_bytes() == first


def test_a_bare_box_delivers_after_the_four_lines_of_the_readme(box: Box, package: Path) -> None:
    """A file of another user, at the link's other end, with the rights that the page promises, and a clean stop."""
    install(box, package)
    assert box.shows("ActiveState", "SubState", "Type") == {
        "ActiveState": "active",
        "SubState": "running",
        "Type": "notify",
    }
    modes = box.sh("stat -c '%a %U %G %n' /agentforge/replay /agentforge/replay/.syncdaemon")
    assert modes.splitlines() == [
        "3770 syncdaemon producers /agentforge/replay",
        "710 syncdaemon producers /agentforge/replay/.syncdaemon",
    ]
    process = box.process()
    uid = box.sh("id -u syncdaemon").strip()
    assert set(process["Uid"].split()) == {uid}
    assert {int(process[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {CAP_LEASE}
    assert (process["NoNewPrivs"], process["Seccomp"]) == ("1", "2")

    box.sh("useradd --groups producers camera; useradd --groups producers other")
    box.sh("umask 027; echo renamed >/agentforge/replay/.a; mv /agentforge/replay/.a /agentforge/replay/a", "camera")
    box.sh("echo put >/tmp/b; syncdaemon put /tmp/b", "camera")
    eventually(lambda: box.delivered().keys() == {"a", "b"}, 60, "both files have a receipt")
    box.sh("syncdaemon status && syncdaemon verify && syncdaemon verify --stream")
    doctor = box.try_sh("syncdaemon doctor")
    assert doctor.code == 0, doctor.out

    # What is still written to is waited for, although another user writes it and no event tells: see the capability.
    box.sh("(echo begun; sleep 5; echo done) >/agentforge/replay/slow 2>/dev/null &", "camera")
    eventually(lambda: "slow" in box.delivered(), 60, "the slow file has a receipt")
    whole = box.sh("printf 'begun\\ndone\\n' | sha256sum").split()[0]
    assert box.delivered()["slow"] == whole

    # Neither the daemon's own folder nor another producer's file is anybody's to move.
    assert box.try_sh("mv /agentforge/replay/.syncdaemon /agentforge/replay/x", "other").code != 0
    assert box.try_sh(f"cat {LEDGER}/*", "other").code != 0
    assert box.try_sh("cat /etc/syncdaemon/site.creds", "other").code != 0

    box.sh(f"systemctl stop {UNIT}")
    assert box.shows("Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}
    assert box.rows()[-1]["event"] == "close"


def test_a_daemon_that_hangs_is_replaced_and_one_that_starts_is_not_ready(box: Box, package: Path) -> None:
    install(box, package)
    assert box.shows("WatchdogUSec") == {"WatchdogUSec": "1min"}
    box.sh(f"mkdir -p /run/systemd/system/{UNIT}.d")
    box.sh(f"printf '[Service]\\nWatchdogSec=2\\n' >/run/systemd/system/{UNIT}.d/short.conf; systemctl daemon-reload")
    box.sh(f"systemctl restart {UNIT}; sleep 6")
    alive = box.shows("NRestarts", "MainPID")
    assert alive["NRestarts"] == "0", "the loop turned, and systemd did not hear it"
    box.sh(f"kill -STOP {alive['MainPID']}")
    eventually(lambda: box.shows("NRestarts") == {"NRestarts": "1"}, 30, "systemd starts another")
    eventually(lambda: box.shows("ActiveState") == {"ActiveState": "active"}, 30, "it runs")
    box.sh("echo after >/root/after; syncdaemon put /root/after")
    eventually(lambda: "after" in box.delivered(), 60, "and delivers")
    box.sh("syncdaemon verify")

    # A start that can't come to its end is never called one: `systemctl start` fails.
    box.sh(f"systemctl stop {UNIT}; echo SYNC_AFTER=keep >>/etc/syncdaemon/syncdaemon.env")
    assert box.try_sh(f"systemctl start {UNIT}").code != 0
    assert "SYNC_AFTER" in box.sh(f"journalctl --no-pager -u {UNIT} | tail -20")
    box.sh(f"sed -i /SYNC_AFTER/d /etc/syncdaemon/syncdaemon.env; sleep 7; systemctl is-active {UNIT}")


def test_systemd_finds_the_units_sound_and_their_exposure_low(box: Box, package: Path) -> None:
    """On a box that has nothing but what Debian has to have: each program that a unit names is there."""
    install(box, package)
    for unit in (UNIT, RECEIVING):
        box.sh(f"systemd-analyze verify --man=no {unit}")
        found = box.sh(
            f"systemd-analyze security --no-pager --threshold=20 {unit}"
        )  # its exit code holds the threshold
        score = re.search(r"Overall exposure level for \S+: ([\d.]+)", found)
        assert score
        assert float(score[1]) <= 2.0


def test_a_reload_takes_what_was_changed(box: Box, package: Path) -> None:
    """From the file of settings, without a new process."""
    install(box, package)
    first = box.shows("MainPID")
    box.sh(f"echo SYNC_BWLIMIT=1Mi >>/etc/syncdaemon/syncdaemon.env; systemctl reload {UNIT}")
    eventually(lambda: [row["call"] for row in box.rows() if row["event"] == "control"] == ["reload"], 30, "it reloads")
    assert json.loads(box.sh("syncdaemon status --json"))["bwlimit_bytes_per_second"] == 1 << 20
    assert box.shows("MainPID") == first


def test_the_other_end_writes_the_files_that_the_same_box_delivers(box: Box, package: Path) -> None:
    """docs/DEPLOYMENT.md, "The other end on Debian": a user of its own, no capability, and its files for its group."""
    install(box, package)
    box.sh("echo one >/root/one; syncdaemon put /root/one")
    box.sh("cp site.creds worker.creds")
    box.sh(re.findall(r"^#\s+(install .*)", box.sh("cat /etc/syncdaemon/receive.env"), re.MULTILINE)[0])
    login = "NATS_URL=tls://hub.example.net:4222 NATS_CREDS=/etc/syncdaemon/worker.creds"
    box.sh(f"printf '%s\\n' {login} >>/etc/syncdaemon/receive.env")
    (start,) = commands("docs/DEPLOYMENT.md", "### The other end on Debian")
    box.sh(start)
    eventually(lambda: box.try_sh(f"cat {RECEIVED}/harbour-3/one").out == "one\n", 60, "the file is at the other end")
    assert box.shows("ActiveState", "Type", unit=RECEIVING) == {"ActiveState": "active", "Type": "notify"}
    fetch = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8081/healthz').read().decode())"
    box.sh(f'python3 -c "{fetch}"')
    process = box.process(RECEIVING)
    assert set(process["Uid"].split()) == {box.sh("id -u syncdaemon-receive").strip()}
    assert {int(process[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
    assert (process["NoNewPrivs"], process["Seccomp"]) == ("1", "2")

    box.sh("useradd --groups syncdaemon-receive reader; useradd stranger")
    assert box.sh(f"cat {RECEIVED}/harbour-3/one", "reader") == "one\n"
    assert box.try_sh(f"cat {RECEIVED}/harbour-3/one", "stranger").code != 0
    for user in ("reader", "stranger"):
        assert box.try_sh("cat /etc/syncdaemon/worker.creds", user).code != 0

    # A worker that was killed is replaced, and goes on behind what it has.
    alive = box.shows("MainPID", unit=RECEIVING)["MainPID"]
    box.sh(f"kill -KILL {alive}; echo two >/root/two; syncdaemon put /root/two")
    eventually(lambda: box.try_sh(f"cat {RECEIVED}/harbour-3/two").out == "two\n", 60, "another one goes on")
    assert box.shows("NRestarts", unit=RECEIVING) == {"NRestarts": "1"}
    box.sh(f"systemctl stop {RECEIVING}")
    assert box.shows("Result", "ExecMainStatus", unit=RECEIVING) == {"Result": "success", "ExecMainStatus": "0"}
    assert box.sh(f"cd {RECEIVED}; find . -type f -not -path '*/.*' | sort").split() == [
        "./harbour-3/one",
        "./harbour-3/two",
    ]


def test_an_upgrade_goes_on_and_a_purge_deletes_no_evidence(box: Box, package: Path) -> None:
    install(box, package)
    box.sh("echo before >/root/before; syncdaemon put /root/before")
    eventually(lambda: "before" in box.delivered(), 60, "it is delivered")
    first = box.shows("MainPID")
    box.sh(f"dpkg --install /root/{package.name}")
    eventually(lambda: box.shows("ActiveState") == {"ActiveState": "active"}, 60, "it runs again")
    assert box.shows("MainPID") != first
    assert "SITE=harbour-3" in box.sh("cat /etc/syncdaemon/syncdaemon.env"), "the operator's settings are gone"
    assert [row["event"] for row in box.rows()].count("close") == 1
    box.sh("dpkg --purge syncdaemon")
    assert box.rows()[-1]["event"] == "close"
    assert box.try_sh(f"systemctl status {UNIT}").code == 4  # no such unit
    assert box.sh("ls -A /agentforge/replay").split() == [".syncdaemon"]


def test_the_commands_without_the_package_deliver_too(box: Box, package: Path, tmp_path: Path) -> None:
    """docs/DEPLOYMENT.md, "Without the package". The wheels that `make deb` has made stand in for the registry."""
    prepare, start = commands("docs/DEPLOYMENT.md", "### Without the package")
    build = ROOT / "build/deb"
    more = ["--quiet", "--no-deps", "--wheel-dir", str(tmp_path / "wheels")]
    run(str(build / "tools/bin/pip"), "wheel", *more, "--requirement", str(ROOT / "requirements-build.lock"))
    box.sh("mkdir -p /wheels /checkout/services")
    for folder in (build / "wheels", tmp_path / "wheels"):
        box.put(folder, "/wheels")
    for name in ("pyproject.toml", "README.md", "LICENSE", "services"):
        box.put(ROOT / name, f"/checkout/{name}")
    box.sh(f"export PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels; cd /checkout\n{prepare}")
    login = "install -o syncdaemon -m 0400 /root/site.creds /var/lib/syncdaemon/; export NATS_CREDS=site.creds"
    box.sh(f"{login}\n{start.rstrip()} >/root/log 2>&1 &")
    box.sh("useradd --groups producers camera")
    box.sh("echo plain >/agentforge/replay/.p; mv /agentforge/replay/.p /agentforge/replay/p", "camera")
    eventually(lambda: box.try_sh(f"grep -q published {LEDGER}/*.jsonl").code == 0, 60, "it is delivered")
    assert box.delivered().keys() == {"p"}
