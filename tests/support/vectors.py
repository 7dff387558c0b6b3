"""Makes docs/vectors/: what a program in any language needs to test its own check of our proofs.

`python -m tests.support.vectors` writes it anew. Everything in it is made of fixed keys, so it is always the same.
"""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from syncdaemon.evidence.ed25519 import public_of
from syncdaemon.evidence.keyfile import CheckpointKey
from syncdaemon.evidence.notes import COSIGNER_KEY, LOG_KEY, Checkpoint, SignedNote, VerifierKey
from syncdaemon.evidence.origins import LogOrigin, Pin, log_id
from syncdaemon.evidence.proofs import Proof
from syncdaemon.evidence.tiles import Edge, TileTree
from syncdaemon.evidence.tree import consistency_proof, inclusion_proof
from syncdaemon.ledger.rows import Entry, opened
from tests.support.evidence import BASE, SITE, receipt, sealed

FOLDER = Path(__file__).parents[2] / "docs" / "vectors"
CONTENT = b"frame 0001\n"
KEY = CheckpointKey(sha256(b"the key of the test vectors: not a secret").digest())
WITNESSES = [sha256(b"the witness %d of the test vectors: not a secret" % number).digest() for number in (1, 2)]
TIME = 1_767_323_100


def rows() -> list[bytes]:
    """A log of 700 rows; row 301 is the receipt of the file."""
    found: list[Entry] = [opened("host", 1, "0.1.0")]
    found += [receipt(number, b"content %d" % number, path=f"cam/frame-{number:04d}.bin") for number in range(2, 701)]
    found[300] = receipt(301, CONTENT, path="cam/frame-0001.bin")
    return sealed(found)


def tree_of(lines: list[bytes]) -> tuple[Edge, TileTree]:
    edge = Edge()
    tiles = dict(edge.add(lines))
    tiles.update(edge.unfinished())
    return edge, TileTree(len(lines), tiles.__getitem__)


def text(values: list[bytes]) -> list[str]:
    return [base64.b64encode(value).decode() for value in values]


def small_trees() -> list[dict[str, Any]]:
    """Roots and proofs of trees with few entries."""
    entries = [b"entry %d" % number for number in range(9)]
    found = []
    for size in range(len(entries)):
        edge, tree = tree_of(entries[:size])
        found.append(
            {
                "entries": [entry.decode() for entry in entries[:size]],
                "root": text([edge.root])[0],
                "inclusion": [text(inclusion_proof(index, size, tree.subtree)) for index in range(size)],
                "consistency": [text(consistency_proof(old, size, tree.subtree)) for old in range(1, size + 1)],
            }
        )
    return found


def build() -> dict[str, bytes]:
    """All files of the folder, by name."""
    lines = rows()
    edge, tree = tree_of(lines)
    origin = str(LogOrigin(BASE, SITE, log_id(lines[0])))
    note = Checkpoint(origin, edge.size, edge.root).note().signed(origin, KEY.seed)
    names = [f"witness.example.org/w{number}" for number in (1, 2)]
    keys = [VerifierKey(name, COSIGNER_KEY, public_of(seed)) for name, seed in zip(names, WITNESSES, strict=True)]
    cosigned = note
    for name, seed in zip(names, WITNESSES, strict=True):
        cosigned = cosigned.cosigned_by(name, seed, TIME)
    index = 300
    hashes = tuple(inclusion_proof(index, edge.size, tree.subtree))
    policy = "".join(f"witness W{number} {key.vkey}\n" for number, key in enumerate(keys, 1))
    policy += "group both all W1 W2\nquorum both\n"
    pin = Pin(KEY.public, f"{BASE}/{SITE}")

    def proof(of: SignedNote, at: int = index, row: bytes = lines[index]) -> bytes:
        return bytes(Proof(row, at, hashes, bytes(of)))

    one = note.cosigned_by(names[0], WITNESSES[0], TIME)
    other_site = str(LogOrigin(BASE, "edge-2", log_id(lines[0])))
    cases = {
        "witnessed": (proof(cosigned), policy, "witnessed"),
        "signed": (proof(note), "", "unwitnessed"),
        "quorum-none": (proof(cosigned), "quorum none\n", "unwitnessed"),
        "one-witness-of-two": (proof(one), policy, "refused"),
        "another-index": (proof(note, at=299), "", "refused"),
        "row-altered": (proof(note, row=lines[index].replace(b'"attempts":1', b'"attempts":2')), "", "refused"),
        "row-respelled": (proof(note, row=lines[index].replace(b'"attempts":1', b'"attempts": 1')), "", "refused"),
        "index-with-zero": (proof(note).replace(b"\nindex 300\n", b"\nindex 0300\n"), "", "refused"),
        "size-altered": (proof(note).replace(b"\n700\n", b"\n701\n"), "", "refused"),
        "hash-missing": (bytes(Proof(lines[index], index, hashes[1:], bytes(note))), "", "refused"),
        "another-site": (
            proof(Checkpoint(other_site, edge.size, edge.root).note().signed(other_site, KEY.seed)),
            "",
            "refused",
        ),
        "another-key": (
            proof(Checkpoint(origin, edge.size, edge.root).note().signed(origin, b"x" * 32)),
            "",
            "refused",
        ),
        "carriage-returns": (proof(note).replace(b"\n", b"\r\n"), "", "refused"),
    }
    listed = [
        {"name": name, "proof": data.decode(), "policy": policy_text, "result": result}
        for name, (data, policy_text, result) in cases.items()
    ]
    whole = {
        "pin": str(pin),
        "vkey": VerifierKey(origin, LOG_KEY, KEY.public).vkey,
        "file": {"sha256": sha256(CONTENT).hexdigest(), "size": len(CONTENT)},
        "cases": listed,
        "trees": small_trees(),
    }
    return {
        "frame-0001.bin": CONTENT,
        "frame-0001.tlog-proof": proof(cosigned),
        "policy": policy.encode(),
        "pin": f"{pin}\n".encode(),
        "vectors.json": json.dumps(whole, indent=1).encode() + b"\n",
    }


def main() -> None:
    """Writes the folder anew."""
    FOLDER.mkdir(exist_ok=True)
    for name, content in build().items():
        (FOLDER / name).write_bytes(content)


if __name__ == "__main__":
    main()
