"""The Merkle tree over a log's entries: hashes, roots and proofs as in RFC 6962 and RFC 9162. Pure.

A perfect subtree is named by its height and its number: the subtree `number` of height `height` holds the entries from
`number << height` on, `1 << height` of them. Proofs are made of the roots of such subtrees, which a `Subtree` gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

from syncdaemon.evidence.strict import BadEvidence

EMPTY_ROOT = sha256(b"").digest()
MOST_HASHES = 63  # of a proof: a tree has fewer than 2^63 entries

Subtree = Callable[[int, int], bytes]
"""The root of the perfect subtree of this height and number."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of an entry (RFC 6962, section 2.1)."""
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return sha256(b"\1" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over roots of perfect subtrees of one height, as many as a power of two."""
    while len(hashes) > 1:
        hashes = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]


def perfect_subtrees(first: int, end: int) -> Iterator[tuple[int, int]]:
    """Heights and numbers of the perfect subtrees that hold the entries from `first` up to `end`, the largest first.

    `first` is a multiple of the largest power of two that is not above `end - first`.
    """
    while first < end:
        height = (end - first).bit_length() - 1
        yield height, first >> height
        first += 1 << height


def compact_range(size: int, subtree: Subtree) -> list[bytes]:
    """The roots of the perfect subtrees of a tree, the largest first: all that is needed to grow it."""
    return [subtree(height, number) for height, number in perfect_subtrees(0, size)]


def root_of(compact: Sequence[bytes]) -> bytes:
    """The root of the tree of which this is the compact range."""
    if not compact:
        return EMPTY_ROOT
    root = compact[-1]
    for left in reversed(compact[:-1]):
        root = node_hash(left, root)
    return root


def root_at(size: int, subtree: Subtree) -> bytes:
    """The root of the tree with so many entries."""
    return root_of(compact_range(size, subtree))


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """The hashes that lead from the entry at `index` to the root of a tree of `size` entries.

    Raises ValueError where there is no such entry.
    """
    if not 0 <= index < size:
        raise ValueError(f"no entry {index} in a tree of {size}")
    first, end, hashes = 0, size, []
    while end - first > 1:
        middle = first + _half(end - first)
        if index < middle:
            hashes.append(_root_between(middle, end, subtree))
            end = middle
        else:
            hashes.append(_root_between(first, middle, subtree))
            first = middle
    return hashes[::-1]


def consistency_proof(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """The hashes that show that the tree of `new` entries begins with the one of `old` entries.

    Raises ValueError where `old` is over `new`.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {old} entries is no beginning of one of {new}")
    if old in (0, new):
        return []
    first, end, whole, hashes = 0, new, True, []
    while old != end:
        middle = first + _half(end - first)
        if old <= middle:
            hashes.append(_root_between(middle, end, subtree))
            end = middle
        else:
            hashes.append(_root_between(first, middle, subtree))
            first, whole = middle, False
    return ([] if whole else [_root_between(first, end, subtree)]) + hashes[::-1]


def _half(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _root_between(first: int, end: int, subtree: Subtree) -> bytes:
    return root_of([subtree(height, number) for height, number in perfect_subtrees(first, end)])


def check_inclusion(leaf: bytes, index: int, size: int, hashes: Sequence[bytes], root: bytes) -> None:
    """Raises BadEvidence where these hashes do not lead from the leaf at `index` to this root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        raise BadEvidence(f"the checkpoint has {size} entries, and none with index {index}")
    at, last, found = index, size - 1, leaf
    for other in _bounded(hashes):
        if last == 0:
            raise BadEvidence("the proof has too many hashes")
        if at & 1 or at == last:
            found = node_hash(other, found)
            while at and not at & 1:
                at >>= 1
                last >>= 1
        else:
            found = node_hash(found, other)
        at >>= 1
        last >>= 1
    if last:
        raise BadEvidence("the proof has too few hashes")
    if found != root:
        raise BadEvidence("the proof does not lead to the root of the checkpoint")


def check_consistency(old: int, old_root: bytes, new: int, new_root: bytes, hashes: Sequence[bytes]) -> None:
    """Raises BadEvidence where these hashes do not show that the newer tree begins with the older (RFC 9162, 2.1.4.2).

    The empty tree is the beginning of every tree, and its root is the hash of nothing.
    """
    if not 0 <= old <= new:
        raise BadEvidence(f"the older tree has {old} entries, the newer {new}")
    if (old == 0 and old_root != EMPTY_ROOT) or (new == 0 and new_root != EMPTY_ROOT):
        raise BadEvidence("a tree without entries does not have the root of none")
    if old in (0, new):
        if hashes:
            raise BadEvidence("there is nothing to prove, and the proof has hashes")
        if old == new and old_root != new_root:
            raise BadEvidence("the trees have the same size and other roots")
        return
    path = list(_bounded(hashes))
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise BadEvidence("the proof has too few hashes")
    at, last = old - 1, new - 1
    while at & 1:
        at >>= 1
        last >>= 1
    first = second = path[0]
    for other in path[1:]:
        if last == 0:
            raise BadEvidence("the proof has too many hashes")
        if at & 1 or at == last:
            first, second = node_hash(other, first), node_hash(other, second)
            while at and not at & 1:
                at >>= 1
                last >>= 1
        else:
            second = node_hash(second, other)
        at >>= 1
        last >>= 1
    if last:
        raise BadEvidence("the proof has too few hashes")
    if first != old_root or second != new_root:
        raise BadEvidence("the newer tree does not begin with the older")


def _bounded(hashes: Sequence[bytes]) -> Sequence[bytes]:
    if len(hashes) > MOST_HASHES:
        raise BadEvidence(f"the proof has over {MOST_HASHES} hashes")
    return hashes
