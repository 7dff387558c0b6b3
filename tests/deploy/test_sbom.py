"""The SBOM names all that the image contains, and the schema of CycloneDX is content with it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts import make_sbom
from syncdaemon import __version__
from tests.deploy.manifests import ROOT, deploy_module
from tests.deploy.test_lock import pinned

pytestmark = pytest.mark.manifests


def write(path: Path, *flags: str) -> bytes:
    """The document that `make sbom` writes."""
    deploy_module("cyclonedx")
    command = [sys.executable, "-m", "scripts.make_sbom", str(path), *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return path.read_bytes()


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write(tmp_path_factory.mktemp("sbom") / "dist/it.cdx.json")


@pytest.fixture
def document(text: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_schema_is_content_with_it(text: bytes) -> None:
    """The strict one, of the version that the document names."""
    validation = deploy_module("cyclonedx.validation.json")
    spec = deploy_module("cyclonedx.schema").SchemaVersion.from_version(json.loads(text)["specVersion"])
    assert validation.JsonStrictValidator(spec).validate_str(text.decode()) is None


def test_it_names_every_package_of_the_lock_with_all_its_hashes(document: dict[str, Any]) -> None:
    listed = {it["name"]: it for it in document["components"] if it["type"] == "library"}
    locked = pinned("requirements.lock")
    assert set(listed) == set(locked)
    for name, (version, hashes) in locked.items():
        assert listed[name]["purl"] == f"pkg:pypi/{name}@{version}"
        (source,) = listed[name]["externalReferences"]
        assert sorted(f"--hash=sha256:{it['content']}" for it in source["hashes"]) == sorted(hashes)


def test_it_names_the_project_its_version_and_its_licence(document: dict[str, Any]) -> None:
    project = document["metadata"]["component"]
    assert (project["name"], project["version"]) == ("syncdaemon", __version__)
    assert [it["license"]["id"] for it in project["licenses"]] == ["Apache-2.0"]


def test_it_names_the_base_image_of_the_dockerfile(document: dict[str, Any]) -> None:
    (base,) = (it for it in document["components"] if it["type"] == "container")
    assert f"\nARG BASE={base['name']}:{base['version']}\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_it_names_the_base_image_that_the_build_was_given(tmp_path: Path) -> None:
    digest = "0123456789abcdef" * 4
    image = f"registry.example.net:5000/python:3.11-slim@sha256:{digest}"
    found = json.loads(write(tmp_path / "it.cdx.json", "--base", image))
    (base,) = (it for it in found["components"] if it["type"] == "container")
    assert (base["name"], base["version"]) == ("registry.example.net:5000/python", "3.11-slim")
    assert base["hashes"] == [{"alg": "SHA-256", "content": digest}]


def test_the_project_depends_on_all_of_it(document: dict[str, Any]) -> None:
    project = document["metadata"]["component"]["bom-ref"]
    (needs,) = (it["dependsOn"] for it in document["dependencies"] if it["ref"] == project)
    assert sorted(needs) == sorted(it["bom-ref"] for it in document["components"])


def test_the_same_commit_gives_the_same_bytes(text: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a serial number nor a time, also where the machine's environment asks for one."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert write(tmp_path / "again.cdx.json") == text
    assert b"serialNumber" not in text
    assert b"timestamp" not in text


@pytest.mark.parametrize("image", ["python", "registry.example.net:5000/python"])
def test_a_base_image_without_a_version_is_refused(image: str) -> None:
    with pytest.raises(ValueError, match="neither a tag nor a digest"):
        make_sbom.container(image)


def test_a_document_that_is_not_valid_is_refused() -> None:
    deploy_module("cyclonedx")
    with pytest.raises(ValueError, match=r"no CycloneDX 1\.6"):
        make_sbom.check('{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"name": "it"}]}')


def test_an_image_is_never_built_without_it() -> None:
    """And both name the same base image."""
    recipes = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\nimage: sbom " in recipes
    assert "scripts.make_sbom $(SBOM) $(if $(BASE),--base $(BASE))" in recipes
    assert "$(if $(BASE),--build-arg BASE=$(BASE))" in recipes
