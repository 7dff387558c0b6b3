"""What the log says while the bucket takes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from structlog.testing import capture_logs

from syncdaemon.base.model import Content
from syncdaemon.publish.objects import Objects, ObjectsSettings
from syncdaemon.publish.objects.bucket_watch import BucketWatch
from syncdaemon.publish.objects.halt import Halt
from syncdaemon.stream.object_format import BucketNames


class Deaf:
    """Counts nothing."""

    def answered(self, latencies: Sequence[float], size: int) -> None: ...
    def failed(self, reason: str, count: int) -> None: ...


def no_file(_: Content) -> int:
    """There are no files."""
    raise FileNotFoundError


def suspected() -> None:
    """Nothing is held."""


@pytest.fixture
def objects() -> Iterator[Objects]:
    """Without a session: only its pauses matter."""
    settings = ObjectsSettings("edge-1", create=True, replicas=1, bucket=BucketNames("b"))
    found = Objects(settings, Deaf(), no_file, BucketWatch(suspected).met)
    yield found
    found.close()


def test_a_pause_is_said_once_and_another_reason_at_once(objects: Objects) -> None:
    """Also a reason that was said before the last one: the log shows when the bucket's trouble became another one."""
    with capture_logs() as log:
        for reason in ["full", "full", "denied", "full", "full"]:
            objects._pause(Halt(reason, "as it is", 1.0))
    assert [line["reason"] for line in log] == ["full", "denied", "full"]
    assert objects.paused == "full: as it is"
