"""How a file is cut for an object, and where an upload resumes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from syncdaemon.stream.object_format import STEM, Chunk, stem_of

SIZES = tuple(1 << power for power in range(17, 9, -1))
"""The sizes that files are cut into, 128 KiB (ADR-20's default) to 1 KiB. They are few, so that we find an upload that
began with another size."""

HEADERS = 400
"""Bytes: more than the header block of any chunk."""

RESUME_SECONDS = 14 * 86_400.0
ABANDONED_SECONDS = 2 * RESUME_SECONDS
"""An upload whose last chunk is older than the first, by the server's clock, is not resumed. When it is older than the
second, any daemon removes it. The time between the two is longer than any request is under way, so no daemon removes
what another one resumes."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def size_within(room: int, wanted: int = SIZES[0]) -> int | None:
    """The largest chunk, at most `wanted`, that fits into `room` bytes with its headers; None where none does."""
    return next((size for size in SIZES if size <= wanted and size + HEADERS <= room), None)


class Found(NamedTuple):
    """What the stream holds of an upload: how many chunks, and of the last its sequence, its id and its age."""

    chunks: int
    seq: int = 0
    last_id: str = ""
    age: float = 0.0


class GoOn(NamedTuple):
    """The upload resumes with chunk `number`, after the one at `seq`. `so_far`: half the digest up to there."""

    number: int
    seq: int
    generation: int
    so_far: str


def decide(found: Found, nuid: str, total: int) -> GoOn | str:
    """Where an upload of `total` chunks resumes, or why what is there can't be trusted.

    Chunks are sent in order over one connection, so the last one vouches for those before it, as long as none is
    missing: its number for their number, its digest for their bytes.
    """
    if not found.chunks:
        return GoOn(0, 0, 0, "")
    last = Chunk.from_id(found.last_id)
    if last is None or last.nuid != nuid:
        return f"its last chunk is not ours: {found.last_id!r}"
    if last.number != found.chunks - 1:
        return f"{found.chunks} chunks, and the last is number {last.number + 1}"
    if last.number >= total:
        return f"{found.chunks} chunks of {total}"
    if found.age > RESUME_SECONDS:
        return f"its last chunk is {found.age / 86_400:.0f} days old"
    return GoOn(found.chunks, found.seq, last.generation, last.so_far)


def unaccounted(nuids: Iterable[str], names: Iterable[str]) -> set[str]:
    """Which of these uploads do not belong to an object of these names, as far as we can see from the names.

    A single upload of an object's content is taken for the object's own. Of several, only the meta says which one is.
    """
    uploads: dict[str, list[str]] = {}
    for nuid in nuids:
        uploads.setdefault(nuid[:STEM], []).append(nuid)
    for name in filter(_SHA256.fullmatch, names):
        stems = [stem for size in SIZES if (stem := stem_of(name, size)) in uploads]
        if sum(len(uploads[stem]) for stem in stems) == 1:
            del uploads[stems[0]]
    return {nuid for several in uploads.values() for nuid in several}
