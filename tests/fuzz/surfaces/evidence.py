"""Notes, proofs, policies and trees of strangers: what is altered is refused, and what we take, Go takes too.

Go's judge is asked where it was built (`python -m tests.support.judges`); without it, our own answers are checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from random import Random

from syncdaemon.evidence.ed25519 import public_of
from syncdaemon.evidence.notes import COSIGNER_KEY, LOG_KEY, Checkpoint, VerifierKey, open_checkpoint
from syncdaemon.evidence.origins import LogOrigin, Pin, log_id
from syncdaemon.evidence.policy import Policy
from syncdaemon.evidence.proofs import Proof, verify_proof
from syncdaemon.evidence.strict import BadEvidence
from syncdaemon.evidence.tiles import Edge, TileTree
from syncdaemon.evidence.tree import (
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_at,
)
from tests.fuzz import mutate
from tests.fuzz.surface import Case, Surface
from tests.support import judges
from tests.support.evidence import BASE, KEY, SITE, entries, sealed

DIGEST = sha256(b"content").hexdigest()
WITNESS_SEED = b"w" * 32
WITNESS = VerifierKey("witness.example.org/w1", COSIGNER_KEY, public_of(WITNESS_SEED))
_POLICY = f"# whose word counts\nwitness W {WITNESS.vkey} https://w\ngroup G 1 W\nquorum G\n".encode()
_MOST_ENTRIES = 300


def tree_of(rows: list[bytes]) -> tuple[Edge, TileTree]:
    """The tree of these entries, at its edge and in tiles."""
    edge = Edge()
    tiles = dict(edge.add(rows))
    tiles.update(edge.unfinished())
    return edge, TileTree(len(rows), tiles.__getitem__)


_ROWS = sealed(entries(_MOST_ENTRIES))
_EDGE, _TREE = tree_of(_ROWS)
_subtree = cache(_TREE.subtree)
_ORIGIN = str(LogOrigin(BASE, SITE, log_id(_ROWS[0])))
_CHECKPOINT = Checkpoint(_ORIGIN, _EDGE.size, _EDGE.root)
_NOTE = _CHECKPOINT.note().signed(_ORIGIN, KEY.seed).cosigned_by(WITNESS.name, WITNESS_SEED, 1_767_323_045)
KEY_OF_LOG = VerifierKey(_ORIGIN, LOG_KEY, KEY.public)
PROOF = Proof(_ROWS[6], 6, tuple(inclusion_proof(6, _EDGE.size, _TREE.subtree)), bytes(_NOTE))


@contextmanager
def _judge() -> Iterator[judges.GoJudge | None]:
    if (program := judges.built()) is None:
        yield None
        return
    judge = judges.GoJudge(program)
    try:
        yield judge
    finally:
        judge.close()


@contextmanager
def notes() -> Iterator[Case]:
    """A note that was altered is refused, or what was altered is no part of what our key signed."""
    with _judge() as go:

        def case(random: Random) -> None:
            data = mutate.data(random, bytes(_NOTE))
            try:
                checkpoint, note = open_checkpoint(data, [KEY_OF_LOG])
                time = note.cosigned(WITNESS)
            except BadEvidence as error:
                str(error).encode()
                assert data != bytes(_NOTE)
                return
            assert checkpoint == _CHECKPOINT
            assert bytes(note) == data
            assert time in (None, 1_767_323_045)
            if go is not None:
                assert go.ask("note", note=data.decode(), vkey=KEY_OF_LOG.vkey)["OK"]
                if time is not None:
                    found = go.ask("cosignature", note=data.decode(), name=WITNESS.name, public=WITNESS.public)
                    assert (found["OK"], found["Time"]) == (True, time)

        yield case


@contextmanager
def proofs() -> Iterator[Case]:
    """A proof that was altered is refused, or it proves the same row."""
    policy = Policy.parse(_POLICY)
    pin = Pin(KEY.public, f"{BASE}/{SITE}")
    with _judge() as go:

        def case(random: Random) -> None:
            data = mutate.data(random, bytes(PROOF))
            try:
                proved = verify_proof(data, random.choice((pin, KEY_OF_LOG)), DIGEST, 7, random.choice((None, policy)))
            except BadEvidence as error:
                str(error).encode()
                return
            assert proved.row["n"] == 7
            assert proved.checkpoint == _CHECKPOINT
            proved.sentence.encode()
            if go is not None:
                found = go.ask("proof", proof=data, vkey=KEY_OF_LOG.vkey)
                assert (found["OK"], found["Text"].encode()) == (True, _ROWS[6])

        yield case


@contextmanager
def policies() -> Iterator[Case]:
    """A policy is refused with a reason, or its quorum never counts whom it does not name."""

    def case(random: Random) -> None:
        try:
            policy = Policy.parse(mutate.data(random, _POLICY))
        except BadEvidence as error:
            str(error).encode(errors="surrogateescape")
            return
        assert policy.asks_nobody or not policy.holds(set())
        assert policy.holds({witness.name for witness in policy.witnesses})

    yield case


@contextmanager
def trees() -> Iterator[Case]:
    """Inclusion and consistency, with hashes that are right, or not: we say what Go says."""
    with _judge() as go:

        def case(random: Random) -> None:
            size = random.randrange(1, _MOST_ENTRIES + 1)
            old, index = random.randrange(1, size + 1), random.randrange(size)
            root, old_root = root_at(size, _subtree), root_at(old, _subtree)
            leaf = leaf_hash(_ROWS[index])
            hashes = _hashes(random, inclusion_proof(index, size, _subtree), leaf)
            index, size = (_near(random, number) for number in (index, size))
            good = _holds(lambda: check_inclusion(leaf, index, size, hashes, root))
            asked = {"index": index, "size": size, "hashes": hashes, "root": root}
            assert go is None or go.accepts("inclusion", leaf=leaf, **asked) == good, (asked, good)
            hashes = _hashes(random, consistency_proof(old, min(max(size, old), _MOST_ENTRIES), _subtree), leaf)
            old = max(1, _near(random, old))
            good = _holds(lambda: check_consistency(old, old_root, size, root, hashes))
            asked = {"old": old, "size": size, "hashes": hashes, "root": root}
            assert go is None or go.accepts("consistency", oldroot=old_root, **asked) == good, (asked, good)

        yield case


def _holds(check: object) -> bool:
    assert callable(check)
    try:
        check()
    except BadEvidence:
        return False
    return True


def _near(random: Random, number: int) -> int:
    """The number, or another one. Go's tlog 0.7 never ends for sizes over 2^62."""
    return random.choice((number,) * 6 + (number + 1, number - 1, 0, 2 * number, 1 << 62))


def _hashes(random: Random, hashes: list[bytes], other: bytes) -> list[bytes]:
    """The hashes, or one of them changed, missing, or there twice."""
    at = random.randrange(len(hashes) + 1)
    match random.randrange(8):
        case 0:
            return [*hashes[:at], *hashes[at + 1 :]]
        case 1:
            return [*hashes[:at], other, *hashes[at:]]
        case 2:
            return [*hashes[:at], other, *hashes[at + 1 :]]
        case 3:
            return hashes[::-1]
        case _:
            return hashes


SURFACES = (
    Surface("notes", "signed checkpoints, changed", notes),
    Surface("proofs", "proofs of receipts, changed", proofs),
    Surface("policies", "policies, changed", policies),
    Surface("trees", "proofs of inclusion and consistency, right and wrong", trees),
)
