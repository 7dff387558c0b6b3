"""Go's sumdb/note and sumdb/tlog read what we write, we read what they write, and both refuse the same."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from syncdaemon.evidence.ed25519 import public_of
from syncdaemon.evidence.notes import COSIGNER_KEY, LOG_KEY, VerifierKey, open_checkpoint
from syncdaemon.evidence.proofs import verify_proof
from syncdaemon.evidence.tiles import TileTree
from syncdaemon.evidence.tree import (
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_at,
)
from syncdaemon.ledger import Ledger
from syncdaemon.ledger.checkpoints import Signer
from syncdaemon.ledger.export import export
from syncdaemon.ledger.proving import prove_row
from syncdaemon.ledger.tile_store import tree_folder
from tests.fuzz.surface import Surface
from tests.fuzz.surfaces import evidence
from tests.support import judges
from tests.support.evidence import BASE, KEY, SITE, entries, lines_of, root_as_defined

pytestmark = [pytest.mark.integration, pytest.mark.lengthy, pytest.mark.timeout(400)]

WITNESS_SEED = b"w" * 32
WITNESS = VerifierKey("witness.example.org/w1", COSIGNER_KEY, public_of(WITNESS_SEED))


@pytest.fixture(scope="module")
def go() -> Iterator[judges.GoJudge]:
    """The judge, for all tests here."""
    judge = judges.GoJudge(judges.build())
    yield judge
    judge.close()


async def signed(folder: Path, count: int) -> VerifierKey:
    """A ledger of so many rows, with a checkpoint at its end and one in the middle; the key of its log."""
    ledger = Ledger(folder, SITE, with_tree=True)
    ledger.open()
    for half in (entries(count // 2), entries(count - count // 2)):
        await ledger.append(half)
        note = await ledger.sign_checkpoint(Signer(folder, SITE, BASE, KEY), None)
    await ledger.close()
    return VerifierKey(note.text.split("\n")[0], LOG_KEY, KEY.public)


@pytest.mark.parametrize("count", [2, 257, 700, 3_000])
async def test_go_reads_our_log(tmp_path: Path, go: judges.GoJudge, count: int) -> None:
    """Checkpoint, proofs, and the tiles: those beside the ledger, and those of the export."""
    key = await signed(tmp_path / "ledger", count)
    lines = lines_of(tmp_path / "ledger")
    root = root_as_defined(lines)
    export(tmp_path / "ledger", SITE, tmp_path / "log")
    note = (tmp_path / "log" / "checkpoint").read_text()
    assert go.ask("note", note=note, vkey=key.vkey)["Text"].split("\n")[:2] == [key.name, str(count)]
    assert not go.accepts("note", note=note.replace(f"\n{count}\n", f"\n{count + 1}\n"), vkey=key.vkey)
    for folder in (tmp_path / "log", tree_folder(tmp_path / "ledger", SITE)):
        for index in {0, count // 3, count - 1}:
            leaf = leaf_hash(lines[index])
            question = {"dir": str(folder), "size": count, "index": index, "old": count // 2, "leaf": leaf}
            assert go.accepts("tiles", root=root, **question), go.ask("tiles", root=root, **question)
            assert not go.accepts("tiles", root=leaf, **question)


async def test_go_finds_our_proofs_good(tmp_path: Path, go: judges.GoJudge) -> None:
    key = await signed(tmp_path, 700)
    lines = lines_of(tmp_path)
    for n in (2, 256, 257, 350, 352, 700):
        if b'"event":"open"' in lines[n - 1]:
            continue
        proof = prove_row(tmp_path, SITE, n)
        answer = go.ask("proof", proof=bytes(proof), vkey=key.vkey)
        assert (answer["OK"], answer["Text"].encode()) == (True, lines[n - 1])
        assert not go.accepts("proof", proof=bytes(proof._replace(entry_index=n)), vkey=key.vkey)


async def test_go_reads_our_cosignature(tmp_path: Path, go: judges.GoJudge) -> None:
    """Written anew for it in twenty lines, by the specification."""
    key = await signed(tmp_path, 10)
    note = open_checkpoint(prove_row(tmp_path, SITE, 2).note, [key])[1].cosigned_by(WITNESS.name, WITNESS_SEED, 1234)
    question = {"name": WITNESS.name, "public": WITNESS.public}
    assert go.ask("cosignature", note=bytes(note).decode(), **question) == {"OK": True, "Time": 1234}
    assert not go.accepts("cosignature", note=bytes(note).decode().replace(SITE, "edge-2"), **question)


@pytest.mark.parametrize("count", [1, 256, 300, 1_000])
def test_we_read_a_log_of_gos(tmp_path: Path, go: judges.GoJudge, count: int) -> None:
    """Its note, its proof, and its tiles."""
    rows = [b"entry %d" % number for number in range(count)]
    name = "log.example.org/of/go"
    made = go.ask("make", entries=rows, index=count - 1, dir=str(tmp_path), seed=b"s" * 32, name=name)
    key = VerifierKey.parse(made["Vkey"], LOG_KEY)
    assert key == VerifierKey(name, LOG_KEY, public_of(b"s" * 32))
    checkpoint, note = open_checkpoint(made["Note"].encode(), [key])
    assert (checkpoint.size, checkpoint.root) == (count, root_as_defined(rows))
    assert bytes(note) == made["Note"].encode()
    assert bytes(checkpoint.note().signed(name, b"s" * 32)) == bytes(note)
    hashes = [base64.b64decode(value) for value in made.get("Hashes", [])]
    check_inclusion(leaf_hash(rows[-1]), count - 1, count, hashes, checkpoint.root)
    tree = TileTree(count, lambda tile: (tmp_path / tile.path).read_bytes())
    assert root_at(count, tree.subtree) == checkpoint.root
    assert inclusion_proof(count - 1, count, tree.subtree) == hashes


def test_go_finds_trees_consistent_as_we_do(go: judges.GoJudge) -> None:
    rows = [b"entry %d" % number for number in range(600)]
    edge, tree = evidence.tree_of(rows)
    for old in (1, 2, 255, 256, 300, 599, 600):
        hashes = consistency_proof(old, 600, tree.subtree)
        question = {"size": 600, "old": old, "hashes": hashes, "root": edge.root}
        assert go.accepts("consistency", oldroot=root_as_defined(rows[:old]), **question)
        assert not go.accepts("consistency", oldroot=leaf_hash(b"other"), **question)


@pytest.mark.parametrize("surface", evidence.SURFACES, ids=lambda surface: surface.name)
def test_a_fuzz_against_it(go: judges.GoJudge, surface: Surface) -> None:
    """For some thousand cases; the judge is built now, so the surface asks it. `make fuzz` runs many more."""
    with surface.ready() as case:
        for number in range(3_000):
            case(Random(number))


def test_a_rewritten_log_is_refused_by_both(go: judges.GoJudge) -> None:
    proof = evidence.PROOF
    forged = proof._replace(row=proof.row.replace(b'"stream_seq":7', b'"stream_seq":8'))
    assert not go.accepts("proof", proof=bytes(forged), vkey=evidence.KEY_OF_LOG.vkey)
    assert go.accepts("proof", proof=bytes(proof), vkey=evidence.KEY_OF_LOG.vkey)
    assert verify_proof(bytes(proof), evidence.KEY_OF_LOG, evidence.DIGEST, 7).row["n"] == 7
