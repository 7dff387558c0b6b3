"""Section: what the Merkle tree beside the ledger costs, and how long a proof takes.

The same rows are written without and with the tree, by the daemon's own writer in groups of 200, each in turn. Then the
tree is made of the rows that are there, as for an older ledger, and single rows are proved.
"""

from __future__ import annotations

import hashlib
import shutil
import statistics
import time
from pathlib import Path

from benchmarks.ledger import receipt
from benchmarks.measure import BenchmarkFailed
from benchmarks.plan import Plan
from benchmarks.process import SITE, place, say
from benchmarks.report import table
from syncdaemon.evidence.keyfile import CheckpointKey
from syncdaemon.evidence.origins import Pin
from syncdaemon.evidence.proofs import verify_proof
from syncdaemon.ledger.checkpoints import Signer, sign_checkpoint
from syncdaemon.ledger.proving import prove_row
from syncdaemon.ledger.rows import PUBLISHED, Entry
from syncdaemon.ledger.tile_store import tree_folder
from syncdaemon.ledger.tree import RowTree
from syncdaemon.ledger.writer import Writer

_GROUP = 200
_BASE = "edge.example.com/evidence"
_KEY = CheckpointKey(b"b" * 32)
_PROOFS = 200


def _entry(n: int) -> Entry:
    return PUBLISHED, receipt(n, f"{'folder/' * 12}file-{n:012}", len(b"%d" % n))  # a path of 100 bytes


def _write(folder: Path, count: int, with_tree: bool) -> float:
    """Writes a ledger of so many rows; microseconds of CPU for each."""
    tree = RowTree(folder, SITE)
    tree.load()
    writer = Writer(folder, SITE, tree.grow if with_tree else None)
    writer.load()
    spent = 0.0
    for first in range(1, count + 1, _GROUP):
        group = [_entry(n) for n in range(first, min(first + _GROUP, count + 1))]
        began = time.process_time()
        writer.write(group)
        if tree.has_to_flush:
            tree.flush()
        spent += time.process_time() - began
    began = time.process_time()
    tree.flush()
    spent += time.process_time() - began
    writer.close()
    if tree.size != count * with_tree:
        raise BenchmarkFailed(f"the tree has {tree.size} rows, the ledger {count}: {tree.problem}")
    return spent / count * 1e6


def _make(folder: Path) -> tuple[RowTree, float, float]:
    """Makes the tree of the rows that are there; also microseconds of CPU for each row, and the longest step in ms."""
    shutil.rmtree(tree_folder(folder, SITE))
    writer = Writer(folder, SITE)
    writer.load()
    tree = RowTree(folder, SITE)
    tree.load()
    more, longest = True, 0.0
    began = time.process_time()
    while more:
        step = time.perf_counter()
        more = tree.catch_up(writer.head)
        longest = max(longest, time.perf_counter() - step)
        if tree.has_to_flush:
            tree.flush()
    spent = time.process_time() - began
    sign_checkpoint(tree, writer.head, Signer(folder, SITE, _BASE, _KEY), None)
    return tree, spent / tree.size * 1e6, longest * 1e3


def _prove(folder: Path, count: int) -> tuple[float, float, int]:
    """Proves rows all over the ledger: milliseconds for a proof, for its check, and the bytes of the largest."""
    pin, made, checked, largest = Pin(_KEY.public, f"{_BASE}/{SITE}"), [], [], 0
    for n in range(1, count + 1, max(1, count // _PROOFS)):
        digest = hashlib.sha256(b"%d" % n).hexdigest()
        began = time.perf_counter()
        data = bytes(prove_row(folder, SITE, n))
        middle = time.perf_counter()
        verify_proof(data, pin, digest, len(b"%d" % n))
        made.append((middle - began) * 1e3)
        checked.append((time.perf_counter() - middle) * 1e3)
        largest = max(largest, len(data))
    return statistics.median(made), statistics.median(checked), largest


def section(plan: Plan) -> str:
    """The section in Markdown."""
    count, cost = plan.ledger_rows, []
    with place() as folder:
        for turn in range(plan.repeats):
            without, with_tree = folder / f"without-{turn}", folder / f"with-{turn}"
            without.mkdir()
            with_tree.mkdir()
            cost.append((_write(without, count, False), _write(with_tree, count, True)))
            say(f"tree: {cost[-1][0]:.1f} µs a row without, {cost[-1][1]:.1f} µs with")
        size = sum(path.stat().st_size for path in tree_folder(with_tree, SITE).rglob("*") if path.is_file())
        _, catch_up, longest = _make(with_tree)
        proof, check, largest = _prove(with_tree, count)
    without_tree, with_it = (statistics.median(column) for column in zip(*cost, strict=True))
    rows = [
        ["CPU of the writer a row, without", f"{without_tree:.1f} µs"],
        ["with the tree", f"{with_it:.1f} µs"],
        ["the tree alone", f"{with_it - without_tree:.1f} µs"],
        ["disk a row", f"{size / count:.1f} B"],
        ["made for an older ledger, CPU a row", f"{catch_up:.1f} µs"],
        ["its longest step", f"{longest:.0f} ms"],
        ["a proof (median)", f"{proof:.2f} ms"],
        ["its check (median)", f"{check:.2f} ms"],
        ["the largest proof, path of 100 bytes", f"{largest:,} B"],
    ]
    return "\n\n".join(
        [
            "## Tree",
            f"The Merkle tree beside a ledger of {count:,} rows. Goal: at most 4 µs of CPU and 33 B a row.",
            table(["what", "cost"], rows),
        ]
    )
