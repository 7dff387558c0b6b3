"""The tree's roots and proofs, held against RFC 6962's own words and against a judge that is not ours."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.evidence.strict import BadEvidence
from syncdaemon.evidence.tiles import Edge, Tile, TileTree, bundle, bundle_path
from syncdaemon.evidence.tree import (
    EMPTY_ROOT,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_at,
    root_of,
)
from tests.support import judges
from tests.support.evidence import root_as_defined

ENTRIES = [b"entry %d" % number for number in range(1200)]


def grown(count: int) -> tuple[Edge, TileTree]:
    """A tree of so many entries, and the same read back from its tiles."""
    edge = Edge()
    tiles: dict[Tile, bytes] = {}
    for at in range(0, count, 100):
        tiles.update(edge.add(ENTRIES[at : min(at + 100, count)]))
    tiles.update(edge.unfinished())
    return edge, TileTree(count, tiles.__getitem__)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 777, 1200])
def test_the_root_is_that_of_the_rfc(count: int) -> None:
    edge, tree = grown(count)
    assert edge.root == root_as_defined(ENTRIES[:count]) == root_at(count, tree.subtree)
    assert root_of(edge.compact_range()) == edge.root
    assert len(edge.compact_range()) == count.bit_count()


def test_a_tree_of_three_levels_of_tiles() -> None:
    """65,536 entries fill a tile of level 1, and its root goes to level 2."""
    edge = Edge()
    full = edge.add([b"x"] * (65536 + 3))
    assert {tile for tile, _ in full if tile.level} == {Tile(1, 0)}
    assert [tile for tile, _ in edge.unfinished()] == [Tile(0, 256, 3), Tile(2, 0, 1)]
    tree = TileTree(edge.size, {**dict(full), **dict(edge.unfinished())}.__getitem__)
    for index in (0, 65535, 65536, 65538):
        proof = inclusion_proof(index, edge.size, tree.subtree)
        check_inclusion(leaf_hash(b"x"), index, edge.size, proof, edge.root)


@given(st.data())
def test_a_proof_of_inclusion_holds_for_its_entry_alone(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 600))
    index = data.draw(st.integers(0, size - 1))
    root = root_as_defined(ENTRIES[:size])
    proof = inclusion_proof(index, size, grown(size)[1].subtree)
    check_inclusion(leaf_hash(ENTRIES[index]), index, size, proof, root)
    judges.includes(index, size, leaf_hash(ENTRIES[index]), proof, root)
    for wrong in (
        (leaf_hash(ENTRIES[index + 1]), index, size, proof, root),
        (leaf_hash(ENTRIES[index]), index + 1, size, proof, root),
        (leaf_hash(ENTRIES[index]), index, size, [*proof, root], root),
        (leaf_hash(ENTRIES[index]), index, size, proof[:-1], b"\0" * 32),
        (leaf_hash(ENTRIES[index]), -1, size, proof, root),
        (leaf_hash(ENTRIES[index]), size, size, proof, root),
    ):
        with pytest.raises(BadEvidence):
            check_inclusion(*wrong)


@given(st.data())
def test_a_proof_of_consistency_holds_for_these_two_trees_alone(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 600))
    old = data.draw(st.integers(0, new))
    first, second = (root_as_defined(ENTRIES[:size]) for size in (old, new))
    proof = consistency_proof(old, new, grown(new)[1].subtree)
    check_consistency(old, first, new, second, proof)
    if old:  # the judge takes no empty tree
        judges.consistent(old, new, proof, first, second)
    other = root_as_defined([b"forged", *ENTRIES[1:old]])
    for wrong in (
        (old, b"\1" * 32, new, second, proof),
        (old, other if old else b"\0" * 32, new, second, proof),
        (old, first, new, b"\2" * 32, [*proof, second]),
        (new + 1, second, new, second, proof),
        (-1, first, new, second, proof),
    ):
        with pytest.raises(BadEvidence):
            check_consistency(*wrong)


@pytest.mark.parametrize(
    ("old", "old_root", "new", "new_root", "proof"),
    [
        (12, b"a" * 32, 4, b"a" * 32, [b"a" * 32]),
        (0, b"a" * 32, 4, b"b" * 32, []),
        (0, EMPTY_ROOT, 0, b"b" * 32, []),
        (0, b"b" * 32, 0, b"b" * 32, []),
        (4, b"a" * 32, 4, b"b" * 32, []),
        (4, b"a" * 32, 4, b"a" * 32, [b"a" * 32]),
        (2, b"a" * 32, 4, b"b" * 32, []),
        (1, b"a" * 32, 1 << 62, b"b" * 32, [b"a" * 32] * 64),
    ],
    ids=[
        *("backwards", "no entries, a root", "grown from nothing to nothing", "both without entries, a root"),
        *("same size, other root", "same size, hashes", "no hashes", "too many hashes"),
    ],
)
def test_what_is_no_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: list[bytes]) -> None:
    with pytest.raises(BadEvidence):
        check_consistency(old, old_root, new, new_root, proof)


def test_the_paths_of_tiles() -> None:
    assert Tile(0, 1234067).path == "tile/0/x001/x234/067"
    assert Tile(3, 5, 7).path == "tile/3/005.p/7"
    assert bundle_path(1000) == "tile/entries/x001/000"
    assert bundle_path(0, 255) == "tile/entries/000.p/255"


def test_an_entry_bundle_has_lengths() -> None:
    assert bundle([b"ab", b""]) == b"\0\2ab\0\0"
    with pytest.raises(ValueError, match="too long"):
        bundle([b"x" * 65536])


def test_a_tile_that_was_cut_is_no_tile() -> None:
    edge, _ = grown(300)
    with pytest.raises(ValueError, match=r"tile/0/001\.p/44 has 31 bytes"):
        Edge.at(300, lambda tile: b"x" * 31)
    with pytest.raises(ValueError, match="has 0 bytes"):
        root_at(edge.size, TileTree(edge.size, lambda tile: b"").subtree)


def test_an_edge_goes_on_from_its_tiles() -> None:
    for first, then in pairwise([0, 1, 255, 256, 300, 777, 1200]):
        edge, _ = grown(first)
        again = Edge.at(first, dict(edge.unfinished()).__getitem__)
        assert again.root == edge.root
        again.add(ENTRIES[first:then])
        assert again.root == root_as_defined(ENTRIES[:then])
