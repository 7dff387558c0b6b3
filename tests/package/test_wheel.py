"""What ships: the code and its types, never evidence."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEDGER = "services/syncdaemon/logs/evidence-here-20240101.jsonl"


@pytest.fixture(scope="module")
def bare_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as a container build copies it: without any .gitignore, and with a ledger in use."""
    copy = tmp_path_factory.mktemp("copy")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    ignored = shutil.ignore_patterns("__pycache__", "logs")
    shutil.copytree(ROOT / "services", copy / "services", ignore=ignored)
    (copy / LEDGER).parent.mkdir()
    (copy / LEDGER).write_text("{}\n")
    return copy


def build(copy: Path, kind: str, into: Path) -> Path:
    code = f"import sys, hatchling.build; print(hatchling.build.build_{kind}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(into)], cwd=copy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return into / done.stdout.split()[-1]


def test_the_wheel_holds_the_typed_package_and_nothing_else(bare_copy: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(build(bare_copy, "wheel", tmp_path)) as wheel:
        inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
        scripts = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
        assert "syncdaemon = syncdaemon.__main__:main" in wheel.read(scripts).decode()

    package = bare_copy / "services"
    modules = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
    assert inside == modules | {"syncdaemon/py.typed"}


def test_the_source_archive_holds_no_ledger(bare_copy: Path, tmp_path: Path) -> None:
    with tarfile.open(build(bare_copy, "sdist", tmp_path)) as archive:
        inside = [member.name.partition("/")[2] for member in archive.getmembers()]
    assert "services/syncdaemon/py.typed" in inside
    assert [name for name in inside if "logs" in name] == []
