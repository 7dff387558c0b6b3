"""docs/EVIDENCE.md: its examples run as they stand there, and its test vectors are what the code makes and says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from syncdaemon.evidence.notes import LOG_KEY, VerifierKey
from syncdaemon.evidence.origins import Pin
from syncdaemon.evidence.policy import Policy
from syncdaemon.evidence.proofs import verify_proof
from syncdaemon.evidence.strict import BadEvidence, base64_bytes
from syncdaemon.evidence.tree import check_consistency, check_inclusion, leaf_hash
from tests.support import vectors

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "EVIDENCE.md").read_text(encoding="utf-8")
WHOLE: dict[str, Any] = json.loads((vectors.FOLDER / "vectors.json").read_bytes())


@pytest.mark.integration
@pytest.mark.parametrize("block", re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL))
def test_an_example_runs_as_it_stands_there(block: str) -> None:
    """Also where settings of a daemon are set, and wrong."""
    script = "".join(f"{line[2:]}\n" for line in block.splitlines() if line.startswith("$ "))
    expected = "".join(f"{line}\n" for line in block.splitlines() if not line.startswith("$ "))
    path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
    environment = {"PATH": path, "SYNC_CHECKPOINT_KEY": "/nowhere", "SYNC_NO_SUCH_SETTING": "1", "SITE": "!"}
    ended = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert ended.stdout == expected


def test_the_vectors_are_what_the_code_makes() -> None:
    """`python -m tests.support.vectors` writes them anew."""
    built = vectors.build()
    assert {path.name: path.read_bytes() for path in vectors.FOLDER.iterdir()} == built


@pytest.mark.parametrize("case", WHOLE["cases"], ids=lambda case: case["name"])
@pytest.mark.parametrize("by", ["pin", "vkey"])
def test_each_proof_has_the_result_that_is_written_there(case: dict[str, str], by: str) -> None:
    trusted = Pin.parse(WHOLE["pin"]) if by == "pin" else VerifierKey.parse(WHOLE["vkey"], LOG_KEY)
    policy = Policy.parse(case["policy"].encode()) if case["policy"] else None
    file = WHOLE["file"]
    if case["result"] == "refused":
        with pytest.raises(BadEvidence):
            verify_proof(case["proof"].encode(), trusted, file["sha256"], file["size"], policy)
    else:
        proved = verify_proof(case["proof"].encode(), trusted, file["sha256"], file["size"], policy)
        assert proved.witnessed == (case["result"] == "witnessed")


@pytest.mark.parametrize("tree", WHOLE["trees"], ids=lambda tree: f"{len(tree['entries'])} entries")
def test_the_small_trees(tree: dict[str, Any]) -> None:
    size, root = len(tree["entries"]), base64_bytes(tree["root"], "root")
    for index, hashes in enumerate(tree["inclusion"]):
        proof = [base64_bytes(value, "hash") for value in hashes]
        check_inclusion(leaf_hash(tree["entries"][index].encode()), index, size, proof, root)
    for old, hashes in enumerate(tree["consistency"], 1):
        old_root = base64_bytes(WHOLE["trees"][old]["root"], "root")
        check_consistency(old, old_root, size, root, [base64_bytes(value, "hash") for value in hashes])
