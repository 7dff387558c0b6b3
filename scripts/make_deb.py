"""Makes the Debian package of this version in dist/, for the machine's architecture and its version of Python.

    python -m scripts.make_deb

The package holds the wheels that requirements.lock names, checked by their hashes, and ours, unpacked below
/usr/lib/syncdaemon; and what is in packaging/. Nothing of it comes from Debian but Python itself. So the package is for
the releases of Debian that have the Python that made it: 3.11 is Debian 12. The same commit gives the same package,
byte for byte.
Exit codes: 0 done, 1 a step failed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from scripts.make_sbom import version

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "deb"
PACKAGING = ROOT / "packaging"
CODE = "usr/lib/syncdaemon"
CONFFILES = ("/etc/syncdaemon/syncdaemon.env", "/etc/syncdaemon/receive.env")
_MAIN = "from syncdaemon.__main__ import main\n\nmain()\n"

# What of packaging/ goes where, and with which mode.
PLACES: dict[str, tuple[str, int]] = {
    "syncdaemon": ("usr/bin/syncdaemon", 0o755),
    "syncdaemon.env": ("etc/syncdaemon/syncdaemon.env", 0o644),
    "receive.env": ("etc/syncdaemon/receive.env", 0o644),
    "syncdaemon-receive.service": ("lib/systemd/system/syncdaemon-receive.service", 0o644),
    "syncdaemon.service": ("lib/systemd/system/syncdaemon.service", 0o644),
    "sysusers.conf": ("usr/lib/sysusers.d/syncdaemon.conf", 0o644),
    "tmpfiles.conf": ("usr/lib/tmpfiles.d/syncdaemon.conf", 0o644),
}


def main() -> int:
    """Makes the package and prints its name; the exit code."""
    try:
        print(make(BUILD).relative_to(ROOT))
    except subprocess.CalledProcessError as error:
        print(f"deb: `{' '.join(map(str, error.cmd))}` ended with {error.returncode}", file=sys.stderr)
        return 1
    return 0


def make(build: Path) -> Path:
    """The package's file in dist/."""
    shutil.rmtree(build, ignore_errors=True)
    stage = build / "stage"
    stage.mkdir(parents=True)
    os.umask(0o022)
    unpack(wheels(build), stage)
    place(stage)
    describe(stage)
    architecture = said("dpkg", "--print-architecture")
    made = ROOT / "dist" / f"syncdaemon_{version()}_{architecture}.deb"
    made.parent.mkdir(exist_ok=True)
    temporary = build / made.name
    pack = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(stage), str(temporary)]
    run(*pack, SOURCE_DATE_EPOCH=said("git", "log", "-1", "--format=%ct"))
    temporary.replace(made)
    return made


def wheels(build: Path) -> Path:
    """The folder of all wheels: those of the lock, and ours. nkeys comes as source only."""
    tools, folder = build / "tools", build / "wheels"
    run(sys.executable, "-m", "venv", str(tools))
    pip, hashes = str(tools / "bin/pip"), ["--no-deps", "--require-hashes", "--only-binary=:all:"]
    run(pip, "install", "--quiet", *hashes, "--requirement", "requirements-build.lock")
    make_wheels = [pip, "wheel", "--quiet", "--no-build-isolation", "--wheel-dir", str(folder)]
    run(*make_wheels, *hashes, "--no-binary=nkeys", "--requirement", "requirements.lock")
    run(*make_wheels, "--no-deps", "--no-index", ".")
    return folder


def unpack(folder: Path, stage: Path) -> None:
    """Installs the wheels into the stage, with bytecode that Python takes without a look at the source's time."""
    target, pip = stage / CODE, str(folder.parent / "tools/bin/pip")
    install = [pip, "install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--target", str(target)]
    run(*install, *map(str, sorted(folder.glob("*.whl"))))
    shutil.rmtree(target / "bin", ignore_errors=True)
    for path in target.glob("*.dist-info/direct_url.json"):
        path.unlink()  # it names the folder of the wheel on this machine, and RECORD has its checksum
        record = path.with_name("RECORD")
        kept = [line for line in record.read_text(encoding="utf-8").splitlines(keepends=True) if path.name not in line]
        record.write_text("".join(kept), encoding="utf-8")
    (target / "__main__.py").write_text(_MAIN, encoding="utf-8")
    compiling = ["compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", str(stage), "-p", "/", str(target)]
    run(sys.executable, "-m", *compiling)


def place(stage: Path) -> None:
    """Puts what is in packaging/ and the documents where they belong."""
    for name, (where, mode) in PLACES.items():
        put(PACKAGING / name, stage / where, mode)
    documents = stage / "usr/share/doc/syncdaemon"
    put(ROOT / "LICENSE", documents / "copyright", 0o644)
    docs = (*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/pictures").glob("*.svg")))
    for page in (ROOT / "CHANGELOG.md", ROOT / "README.md", *docs):
        put(page, documents / page.relative_to(ROOT), 0o644)


def describe(stage: Path) -> None:
    """What dpkg reads: the description, the files of settings, and the scripts."""
    minor = sys.version_info[1]
    kib = sum(path.stat().st_size for path in stage.rglob("*") if path.is_file()) // 1024
    control = (PACKAGING / "debian/control").read_text(encoding="utf-8")
    folder = stage / "DEBIAN"
    folder.mkdir()
    filled = control.format(
        version=version(),
        architecture=said("dpkg", "--print-architecture"),
        python=f"3.{minor}",
        next_python=f"3.{minor + 1}",
        kib=kib,
    )
    (folder / "control").write_text(filled, encoding="utf-8")
    (folder / "conffiles").write_text("".join(f"{path}\n" for path in CONFFILES), encoding="utf-8")
    for script in ("postinst", "prerm", "postrm"):
        put(PACKAGING / "debian" / script, folder / script, 0o755)


def put(source: Path, target: Path, mode: int) -> None:
    """Copies one file, and makes its folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def run(*command: str, **variables: str) -> None:
    """Raises CalledProcessError where it fails. What it prints goes to standard error."""
    subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, stdout=sys.stderr, check=True)


def said(*command: str) -> str:
    """What it prints. Raises CalledProcessError where it fails."""
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
