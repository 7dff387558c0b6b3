"""Images built and containers run for real, by buildah, podman and runc, apart from everything else on this machine.

Images, volumes and pods are in a storage of their own, under the user's cache: the base that takes a minute to make
is kept there, the rest goes with the tests. One run at a time has it. The pods of a site share a network namespace of
their own, so the fixed ports of the manifests are never in anybody's way.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.commands import Done, attempt, run
from tests.deploy.manifests import ROOT, missing
from tests.deploy.network import Network

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "syncdaemon/containers"
STAND_IN_BASE = "localhost/syncdaemon-base:bookworm"
BOX = "localhost/syncdaemon-box:bookworm"
TOOLS = ("podman", "buildah", "runc", "debootstrap", "ip", "nsenter")


class Engine:
    """podman and buildah on our storage. `folder` takes what they need to be told."""

    def __init__(self, folder: Path, network: Network, hosts: str = "") -> None:
        """`hosts`: lines of /etc/hosts in all containers, beside the names of the Services."""
        self.network = network
        self._storage = ["--root", str(CACHE / "storage"), "--runroot", "/run/syncdaemon-containers"]
        self._runtime = ["--runtime", str(Path(__file__).with_name("runc_without_rlimits"))]
        (folder / "hosts").write_text(f"127.0.0.1 localhost nats\n{hosts}")
        settings = folder / "containers.conf"
        settings.write_text(
            f'[containers]\nbase_hosts_file = "{folder}/hosts"\n'
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        )
        self._environment = {**os.environ, "CONTAINERS_CONF": str(settings)}

    def podman(self, *arguments: str) -> str:
        """Its output. Containers are started in our network."""
        return self.try_podman(*arguments).check().out

    def try_podman(self, *arguments: str) -> Done:
        """Its output, errors and exit code."""
        enter = ["nsenter", f"--net={self.network.path}"]
        return attempt(*enter, "podman", *self._storage, *self._runtime, *arguments, environment=self._environment)

    def build(self, context: Path, tag: str, *arguments: str) -> None:
        """Builds an image from a Dockerfile. The containers of the build share this machine's network."""
        flags = ["--isolation", "chroot", "--format", "docker", "--pull-never", "--tag", tag]
        command = ["buildah", *self._storage, "bud", *flags, *arguments, str(context)]
        attempt(*command, environment=self._environment).check()

    def clean(self) -> None:
        """Removes every pod, container and volume, and images that have no name any more."""
        self.podman("pod", "rm", "--force", "--all", "--time", "0")
        self.podman("rm", "--force", "--all", "--time", "0")
        self.podman("volume", "rm", "--force", "--all")
        self.podman("image", "prune", "--force")

    def base(self) -> str:
        """The base that the Dockerfile names; where no registry can be reached, Debian's Python made by debootstrap."""
        named = re.search(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
        assert named
        for image in (named[1], STAND_IN_BASE):
            if self.try_podman("image", "exists", image).code == 0:
                return image
        if self.try_podman("pull", "--quiet", named[1]).code == 0:
            return named[1]
        self._debootstrap(STAND_IN_BASE, "ca-certificates", "python3", "python3-venv")
        return STAND_IN_BASE

    def box(self) -> str:
        """A Debian 12 as an installation leaves it: with systemd and Python, and with nothing of ours."""
        if self.try_podman("image", "exists", BOX).code != 0:
            standard = ("ca-certificates", "dbus", "python3", "python3-venv", "systemd", "systemd-sysv")
            self._debootstrap(BOX, *standard)
        return BOX

    def _debootstrap(self, tag: str, *packages: str) -> None:
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            run("debootstrap", "--variant=minbase", f"--include={','.join(packages)}", "bookworm", f"{folder}/root")
            run("tar", "-C", f"{folder}/root", "-cf", f"{folder}/root.tar", ".")
            self.podman("import", f"{folder}/root.tar", tag)

    def size(self, image: str) -> int:
        """Bytes of an image, unpacked."""
        return int(self.podman("image", "inspect", "--format", "{{.Size}}", image))

    def pid(self, container: str) -> int:
        """The process of a running container, as this machine sees it."""
        return int(self.podman("inspect", "--format", "{{.State.Pid}}", container))

    def volume(self, name: str) -> Path:
        """Where a volume's files are."""
        return Path(self.podman("volume", "inspect", "--format", "{{.Mountpoint}}", name).strip())


@contextmanager
def beside(hub: Engine, number: int, folder: Path) -> Iterator[Engine]:
    """An engine of the same storage, in a network of its own from which `hub.example.net` can be reached."""
    network = Network(f"{hub.network.name}-{number}")
    network.make()
    try:
        address = network.join(hub.network, number)
        yield Engine(folder, network, f"{address} hub.example.net\n")
    finally:
        network.remove()


@contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """An engine with nothing running; what was started is gone afterwards."""
    if os.geteuid():
        missing("root", "the image is built and run with chroot, overlay mounts and network namespaces")
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        missing(", ".join(absent), "make test-container-deps")
    CACHE.mkdir(parents=True, exist_ok=True)
    network = Network(f"syncdaemon-{os.getpid()}")
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        network.make()
        try:
            made = Engine(folder, network)
            made.clean()  # what a run left that was killed
            yield made
            made.clean()
        finally:
            network.remove()


def pip_secrets(folder: Path) -> list[str]:
    """Flags that hand a build what pip is told on this machine: its index, and whom it trusts; mostly nothing."""
    listed = attempt("pip", "config", "list").out + "".join(
        f":env:.{name.removeprefix('PIP_').lower().replace('_', '-')}='{value}'\n"
        for name, value in os.environ.items()
        if name.startswith("PIP_")
    )
    told = dict(re.findall(r"^\S*\.(cert|index-url|trusted-host)='(.*)'$", listed, re.MULTILINE))
    flags = []
    if "cert" in told:
        flags += ["--secret", f"id=ca.pem,src={told['cert']}"]
        told["cert"] = "/run/secrets/ca.pem"
    if told:
        config = folder / "pip.conf"
        config.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in told.items()))
        flags += ["--secret", f"id=pip.conf,src={config}"]
    return flags
