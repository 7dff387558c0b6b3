"""Writes the SBOM of the image in CycloneDX: what the lock names, with hashes, the project itself, and the base image.

    python -m scripts.make_sbom dist/syncdaemon-0.1.0.cdx.json [--base IMAGE]

`cyclonedx-py` of the extra `sbom` reads the lock. This script adds what that tool cannot know: the version, which
pyproject.toml leaves to the build; the base image, which the Dockerfile names; and that the project needs all of the
others. The same commit gives the same bytes: the document has neither a serial number nor a time.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SPEC = "1.6"

Document = dict[str, Any]


def main(arguments: list[str]) -> None:
    """Raises ValueError where the document is not what the schema of CycloneDX demands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--base", help="the base image that the build was given; without this, the Dockerfile's")
    told = parser.parse_args(arguments)
    document = complete(listed(), version(), told.base or named_base())
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    check(text)
    told.output.parent.mkdir(parents=True, exist_ok=True)
    temporary = told.output.with_name(f".{told.output.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(told.output)
    print(f"{told.output}: {len(document['components'])} components")


def listed() -> Document:
    """What `cyclonedx-py` makes of the lock."""
    command = [str(Path(sys.executable).with_name("cyclonedx-py")), "requirements", "requirements.lock"]
    command += ["--pyproject", "pyproject.toml", "--output-reproducible", "--spec-version", SPEC]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}  # it misses the dependencies, which come with `complete`
    environment.pop("SOURCE_DATE_EPOCH", None)  # else it writes this time
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    found: Document = json.loads(done.stdout)
    return found


def version() -> str:
    """The project's own, from where the build takes it."""
    text = (ROOT / "services/syncdaemon/__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    if found is None:
        raise ValueError("services/syncdaemon/__init__.py names no version")
    return found[1]


def named_base() -> str:
    """The base image of the Dockerfile."""
    found = re.search(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError("the Dockerfile names no base image")
    return found[1]


def complete(document: Document, own_version: str, base: str) -> Document:
    """The document with the project's version, the base image, and what depends on what."""
    project = document["metadata"]["component"]
    project["version"] = own_version
    project["bom-ref"] = project["purl"] = f"pkg:pypi/{project['name']}@{own_version}"
    for component in document["components"]:
        component["bom-ref"] = component["purl"]
        del component["description"]  # the line of the lock, which the hashes repeat
    document["components"].append(container(base))
    needed = sorted(component["bom-ref"] for component in document["components"])
    document["dependencies"] = [{"ref": project["bom-ref"], "dependsOn": needed}, *({"ref": ref} for ref in needed)]
    return document


def container(image: str) -> Document:
    """An image as a component: `name:tag`, `name@digest` or both."""
    rest, _, digest = image.partition("@")
    name, _, tag = rest.rpartition(":") if ":" in rest.rpartition("/")[2] else (rest, "", "")
    tag = tag or digest
    if not tag:
        raise ValueError(f"the base image {image} has neither a tag nor a digest")
    found: Document = {"type": "container", "name": name, "version": tag, "bom-ref": f"image:{image}"}
    if digest.startswith("sha256:"):
        found["hashes"] = [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}]
    return found


def check(text: str) -> None:
    """By the schema of CycloneDX. Raises ValueError where something is wrong."""
    validation = importlib.import_module("cyclonedx.validation.json")
    schema = importlib.import_module("cyclonedx.schema")
    wrong = validation.JsonStrictValidator(schema.SchemaVersion.from_version(SPEC)).validate_str(text)
    if wrong:
        raise ValueError(f"this is no CycloneDX {SPEC}: {wrong}")


if __name__ == "__main__":
    main(sys.argv[1:])
