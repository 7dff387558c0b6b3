"""What the process remembers of uploads that go on by turns. All of it can be lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from syncdaemon.base.model import Stamp
from syncdaemon.publish.objects.source import Marks

UploadKey = tuple[str, str]


@dataclass
class UploadState:
    """What the process remembers of an upload between two attempts. All of it can be lost. `size`: of a chunk.

    `key`: the bucket, and the id that the upload's chunks share: two buckets can each have a part of one file.

    `own`: this process sent every chunk that the bucket has of it.
    """

    key: UploadKey
    size: int
    stamp: Stamp
    marks: Marks = field(default_factory=dict)
    generation: int = 0
    own: bool = False
    strays: list[int] = field(default_factory=list)  # sequences of chunks after a gap, to be taken out


class UploadStates:
    """The states of the uploads that go on by turns: of the newest `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[UploadKey, UploadState] = {}  # the newest last

    def __iter__(self) -> Iterator[UploadState]:
        return iter(self._kept.values())

    def take(self, key: UploadKey, size: int, stamp: Stamp) -> UploadState:
        """What we remember of this upload, as far as it belongs to this version of the file."""
        kept = self._kept.pop(key, None) or UploadState(key, size, stamp)
        self._kept[key] = kept
        while len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]
        if kept.stamp != stamp:
            kept.stamp = stamp
            kept.marks = {}  # an abandoned read may still write to the old ones
        return kept
