"""What the image is built from: every package in one version, each file of it by its hash, and from no named host."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = {"requirements.lock": PROJECT["project"]["dependencies"]}
LOCKS["requirements-build.lock"] = PROJECT["build-system"]["requires"]


def pinned(lock: str) -> dict[str, tuple[str, list[str]]]:
    """Each package's version and hashes."""
    found: dict[str, tuple[str, list[str]]] = {}
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.lstrip().startswith("#"):
            name, version, rest = re.match(r"([a-z0-9.-]+)==(\S+)(.*)", line).groups()  # type: ignore[union-attr]
            found[name] = (version, re.findall(r"--hash=sha256:[0-9a-f]{64}", rest))
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_has_what_the_project_asks_for(lock: str) -> None:
    found = pinned(lock)
    for text in LOCKS[lock]:
        wanted = Requirement(text)
        version, _ = found[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(version), f"{wanted} is not {version}: make lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_has_its_hashes_and_no_address(lock: str) -> None:
    assert all(hashes for _, hashes in pinned(lock).values())
    assert "://" not in (ROOT / lock).read_text(encoding="utf-8")


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_is_for_the_python_of_the_image(lock: str) -> None:
    base = re.search(r"^ARG BASE=python:(\d+\.\d+)-", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert base
    assert f"with Python {base[1]}\n" in (ROOT / lock).read_text(encoding="utf-8"), f"make lock PYTHON=python{base[1]}"
