"""Profiles played by podman, as rendered, each in a network that several can share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from syncdaemon import __version__
from syncdaemon.dev.server import find_binary
from tests.deploy import secrets
from tests.deploy.containers import Engine, engine, pip_secrets
from tests.deploy.manifests import IMAGE, ROOT, Document, containers, documents
from tests.deploy.playable import playable
from tests.deploy.site import Site
from tests.support.daemon import eventually

OURS = f"localhost/{IMAGE}:{__version__}"
Change = Callable[[list[Document]], list[Document]]
"""What an overlay of an operator makes of the objects of a profile."""


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine that has our image, and the server's."""
    with engine(tmp_path_factory.mktemp("engine")) as made:
        given = pip_secrets(tmp_path_factory.mktemp("pip"))
        made.build(ROOT, OURS, "--build-arg", f"BASE={made.base()}", "--build-arg", "REVISION=tested", *given)
        _build_server(made, tmp_path_factory.mktemp("nats"))
        yield made


def _build_server(podman: Engine, folder: Path) -> None:
    server = next(it["image"] for _, it in containers("edge") if it["name"] == "nats")
    shutil.copy(find_binary(), folder / "nats-server")
    recipe = f"FROM {podman.base()}\nCOPY nats-server /usr/local/bin/nats-server\n"
    (folder / "Dockerfile").write_text(recipe)
    podman.build(folder, f"localhost/{server}")


def as_it_is(rendered: list[Document]) -> list[Document]:
    """No overlay."""
    return rendered


@contextmanager
def playing(
    podman: Engine,
    profile: str,
    ours: str,
    folder: Path,
    *,
    given: secrets.Secrets | None = None,
    change: Change = as_it_is,
    prefix: str = "",
) -> Iterator[Site]:
    """A profile as rendered, its pods playing, its jobs done. `prefix` goes before the names of pods."""
    held: secrets.Secrets = {}
    if given is not None:
        held = given
    elif profile != "edge":
        held = secrets.of(profile)
    parts = playable(change(documents(profile)), held, folder / "claims", prefix)
    found = Site(podman, ours, folder / "claims", held, prefix=prefix)
    names = [pod["metadata"]["name"] for pod in (*parts.before, *parts.pods, *parts.jobs)]
    try:
        for pod in parts.before:
            run_to_the_end(podman, folder, parts.referred, pod)
        _play(podman, folder, [*parts.referred, *parts.pods])
        for job in parts.jobs:
            run_to_the_end(podman, folder, parts.referred, job)
        yield found
    finally:
        print(found.logs())
        for name in names:
            podman.try_podman("pod", "rm", "--force", "--time", "0", name)


def run_to_the_end(podman: Engine, folder: Path, referred: list[Document], pod: Document) -> str:
    """Plays a pod that ends, and takes it away; what it said. A pod that fails is started again, if it says so."""
    _play(podman, folder, [*referred, pod])
    name = pod["metadata"]["name"]
    container = f"{name}-{pod['spec']['containers'][0]['name']}"
    done = ("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", container)

    def ended() -> bool:
        return podman.podman(*done).strip() == "exited 0"

    eventually(ended, 120, f"{container} has done its work")
    said = podman.try_podman("logs", container)
    podman.podman("pod", "rm", "--force", "--time", "0", name)
    return said.out + said.err


def _play(podman: Engine, folder: Path, parts: list[Document]) -> None:
    """Starts pods; what they refer to comes with them."""
    manifests = folder / "manifests.yaml"
    manifests.write_text(yaml.safe_dump_all(parts))
    podman.podman("kube", "play", str(manifests))
