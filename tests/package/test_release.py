"""A release: one version everywhere, files that can be checked, and nothing published that is not ready."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts import make_release
from syncdaemon import __version__
from tests.support.runbook import ROOT

MINOR = ".".join(__version__.split(".")[:2])
TAGGED = [
    *sorted((ROOT / "k8s").rglob("*.yaml")),
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("README.md", "Dockerfile", "scripts/make_sbom.py")),
]


@pytest.mark.parametrize("path", TAGGED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_page_and_manifest_names_this_version(path: Path) -> None:
    """Tags of our image, files in dist/, and the version that the image is built with."""
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"agentforge/syncdaemon:(\d[\w.]*\w)|syncdaemon-(\d+\.\d+\.\d+)|ARG VERSION=(\S+)", text)
    assert {number for one in named for number in one if number} <= {__version__}


def test_the_manifests_and_the_image_do_name_it() -> None:
    """Or the test above looks at nothing."""
    found = [path for path in TAGGED if f":{__version__}" in path.read_text(encoding="utf-8")]
    assert {path.parent.name for path in found} >= {"syncdaemon", "nats-worker"}
    assert f"ARG VERSION={__version__}" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_changelog_agrees() -> None:
    """While something is unreleased, the version is one that was never released; after that it is the newest."""
    sections = make_release.changelog((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert next(iter(sections)) == "Unreleased"
    released = [name for name in sections if name != "Unreleased"]
    if sections["Unreleased"]:
        assert __version__ not in released, "raise __version__ with the first change after a release"
    else:
        assert released[0] == __version__


def test_the_page_on_security_says_that_this_version_gets_fixes() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| {re.escape(MINOR)}\.x \| yes", page, re.MULTILINE)


def test_a_section_counts_when_it_has_a_date() -> None:
    text = "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2027-01-31\n\n- b\n\n## [0.1.0]\n\n- a\n"
    assert make_release.changelog(text) == {"Unreleased": "", "0.2.0": "- b"}


@pytest.fixture
def dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dist/ of this test, with what earlier builds have left behind."""
    monkeypatch.setattr(make_release, "DIST", tmp_path)
    for number in ("0.0.9", __version__, f"{__version__}1", f"{__version__}.post1"):
        (tmp_path / f"syncdaemon-{number}-old.whl").write_bytes(b"old")
    return tmp_path


def test_checksums_name_the_files_of_this_version_only(dist: Path) -> None:
    """`0.1.01` begins like `0.1.0` and is another one. The tool that people check with agrees."""
    make_release.remove_old(__version__)
    (dist / f"syncdaemon_{__version__}-1_amd64.deb").write_bytes(b"package")
    make_release.make_wheel(__version__)
    made = make_release.write_sums(__version__)
    assert made == [f"syncdaemon-{__version__}-py3-none-any.whl", f"syncdaemon_{__version__}-1_amd64.deb"]
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=dist, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (dist / "syncdaemon-0.0.9-old.whl").exists()


def test_one_commit_gives_one_wheel(dist: Path) -> None:
    """And the wheel says the version."""
    wheel = dist / f"syncdaemon-{__version__}-py3-none-any.whl"
    digests = set()
    for _ in range(2):
        make_release.remove_old(__version__)
        make_release.make_wheel(__version__)
        digests.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert len(digests) == 1
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"syncdaemon-{__version__}.dist-info/METADATA").decode()
    assert f"\nVersion: {__version__}\n" in metadata


def test_a_final_release_is_refused_while_it_is_not_ready(
    dist: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is made."""
    monkeypatch.setattr(make_release, "git", lambda *words: " M README.md" if words[0] == "status" else "")
    assert make_release.main(["--final", "--without", "image", "--without", "deb"]) == 1
    said = capsys.readouterr().err
    assert "not committed" in said
    assert f"no tag v{__version__}" in said
    assert not (dist / "SHA256SUMS").exists()


def test_a_part_that_fails_is_said_and_the_rest_is_made(
    dist: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code tells too."""

    def run(*command: str, **_: str) -> None:
        if command[:2] == ("make", "image"):
            raise make_release.PartError("`make image` ended with 2")
        if "hatchling" in command:
            (dist / f"syncdaemon-{__version__}-py3-none-any.whl").write_bytes(b"wheel")

    monkeypatch.setattr(make_release, "run", run)
    assert make_release.main(["--engine", sys.executable, "--without", "deb"]) == 1
    said = capsys.readouterr()
    assert "no image: `make image` ended with 2" in said.err
    assert f"dist/syncdaemon-{__version__}-py3-none-any.whl" in said.out
