"""Makes all files of a release in dist/, and says whether they may be published. `make release` calls it.

    python -m scripts.make_release [--final] [--without image] [--engine podman]

The wheel and the SBOM are always there. The Debian package is, where the Makefile has a target `deb`, and the image's
archive, where there is an engine. SHA256SUMS comes last, and names the files of this version only. The same commit
gives the same wheel, byte for byte.

Without `--final` it is a rehearsal: what speaks against publishing is said, and the files are made. With it, nothing is
made while something speaks against it. Exit codes: 0 done, 1 something speaks against it, or a part could not be made.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.make_sbom import version

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
SUMS = "SHA256SUMS"
_SECTION = re.compile(r"^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


class PartError(Exception):
    """A part could not be made; the text says which and why."""


def main(arguments: list[str]) -> int:
    """Makes the files; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--final", action="store_true", help="refuse where something speaks against publishing")
    parser.add_argument("--without", action="append", default=[], choices=["image", "deb"], help="leave this part out")
    parser.add_argument("--engine", default="podman", help="what builds and saves the image")
    parser.add_argument("--image", default="", help="the image's name and tag; without this, as `make image` says")
    told = parser.parse_args(arguments)
    number = version()
    against = list(speaks_against(number))
    for reason in against:
        print(f"release: not to be published: {reason}", file=sys.stderr)
    if against and told.final:
        return 1
    DIST.mkdir(exist_ok=True)
    remove_old(number)
    image = told.image or f"agentforge/syncdaemon:{number}"
    failed = list(make_parts(number, set(told.without), told.engine, image))
    for reason in failed:
        print(f"release: {reason}", file=sys.stderr)
    made = write_sums(number)
    print("\n".join(f"dist/{name}" for name in (*made, SUMS)))
    return 1 if failed else 0


def speaks_against(number: str) -> Iterator[str]:
    """What has to be done before these files may be published."""
    sections = changelog((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    if number not in sections:
        yield f"CHANGELOG.md has no section [{number}] with a date"
    if sections.get("Unreleased"):
        yield "CHANGELOG.md has changes under [Unreleased]"
    if git("status", "--porcelain"):
        yield "the work tree has changes that are not committed"
    if f"v{number}" not in git("tag", "--points-at", "HEAD").split():
        yield f"this commit has no tag v{number}"


def changelog(text: str) -> dict[str, str]:
    """What the page says of each version that has a date, and of `Unreleased`; the newest first."""
    found = {name: (date, body.strip()) for name, date, body in _SECTION.findall(text)}
    return {name: body for name, (date, body) in found.items() if date or name == "Unreleased"}


def git(*words: str) -> str:
    """What git prints; nothing where this is no checkout."""
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def make_parts(number: str, without: set[str], engine: str, image: str) -> Iterator[str]:
    """Makes every part that can be made here; why one could not be."""
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    parts: dict[str, Callable[[], None]] = {"wheel": lambda: make_wheel(number), "sbom": lambda: run("make", "sbom")}
    if "deb" in targets:
        parts["deb"] = lambda: run("make", "deb")
    if shutil.which(engine):
        parts["image"] = lambda: make_image(number, engine, image)
    elif "image" not in without:
        print(f"release: no image: there is no {engine} here", file=sys.stderr)
    for name, make in parts.items():
        if name not in without:
            try:
                make()
            except PartError as error:
                yield f"no {name}: {error}"


def run(*command: str, **variables: str) -> None:
    """Raises PartError where the command fails. What it prints goes to standard error."""
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, stdout=sys.stderr, check=False)
    if done.returncode:
        raise PartError(f"`{' '.join(command)}` ended with {done.returncode}")


def make_wheel(number: str) -> None:
    """The time in it is that of the commit, so that two builds of one commit are the same."""
    moment = git("log", "-1", "--format=%ct") or "0"
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(DIST)]
    run(*build, SOURCE_DATE_EPOCH=moment)
    if not (DIST / f"syncdaemon-{number}-py3-none-any.whl").exists():
        raise PartError(f"the build made no wheel of version {number}")


def make_image(number: str, engine: str, image: str) -> None:
    """Builds it, and saves it as an archive that podman and docker can load."""
    run("make", "image", f"ENGINE={engine}", f"IMAGE={image}")
    archive = DIST / f"syncdaemon-{number}-image.tar"
    temporary = archive.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    run(engine, "save", "--output", str(temporary), image)
    temporary.replace(archive)


def remove_old(number: str) -> None:
    """The files of an earlier build of this version: nothing old may get a checksum."""
    for path in (*of_version(number), DIST / SUMS):
        path.unlink(missing_ok=True)


def of_version(number: str) -> list[Path]:
    """The files of this version: `syncdaemon-0.1.0-…`, `syncdaemon_0.1.0-1_amd64.deb`; in the order of their names."""
    mine = re.compile(rf"syncdaemon[-_]{re.escape(number)}([-_].*|\.cdx\.json)")
    return sorted(path for path in DIST.iterdir() if path.is_file() and mine.fullmatch(path.name))


def write_sums(number: str) -> list[str]:
    """As `sha256sum --check` reads them; the names in it."""
    lines = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in of_version(number)}
    temporary = DIST / f".{SUMS}.tmp"
    temporary.write_text("".join(f"{digest}  {name}\n" for name, digest in lines.items()), encoding="utf-8")
    temporary.replace(DIST / SUMS)
    return list(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
