"""No server of a profile dies of its memory, however many files come: its limits fit together by one rule."""

from __future__ import annotations

from typing import Any

import pytest

from syncdaemon.stream import room
from tests.deploy.manifests import PROFILES, ROOT
from tests.deploy.room import Room, room_of

pytestmark = pytest.mark.manifests

GIB = 1 << 30


@pytest.mark.parametrize("profile", PROFILES)
def test_the_limits_of_every_profile_fit_together(profile: str) -> None:
    assert list(room_of(profile).misfits()) == []


def test_a_site_carries_one_file_a_second_for_ever() -> None:
    """For seven days, which is how long its hub may stay away."""
    found = room_of("edge")
    assert found.age == 7 * 86_400
    assert found.for_ever >= 1.0


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"memory": 256 * room.MIB, "asked": 256 * room.MIB, "go": 200 * room.MIB}, "max_msgs"),
        ({"messages": 0}, "max_msgs"),
        ({"messages": 800_000}, "max_msgs"),
        ({"copies": 2}, "max_msgs"),
        ({"go": 800 * room.MIB}, "GOMEMLIMIT"),
        ({"go": 200 * room.MIB}, "GOMEMLIMIT"),
        ({"asked": 96 * room.MIB}, "memory"),
        ({"file_store": 8 * GIB}, "max_file_store"),
        ({"stream_bytes": 8 * GIB}, "max_bytes"),
        ({"age": 0.0}, "max_age"),
        ({"patience": 30}, "startupProbe"),
    ],
    ids=str,
)
def test_a_limit_that_does_not_fit_is_found(changed: dict[str, Any], wrong: str) -> None:
    """One limit of the profile at a time: what the profile had before was 256 Mi and no limit in messages."""
    found: Room = room_of("edge")._replace(**changed)
    assert [line.partition(":")[0] for line in found.misfits()] == [wrong]


def test_the_page_has_the_figures_of_the_profiles() -> None:
    page = (ROOT / "docs/SCALING.md").read_text(encoding="utf-8")
    for profile in ("edge", "staging"):
        found = room_of(profile)
        row = f"| `{profile}` | {found.memory >> 20} Mi | {found.go >> 20} MiB | {found.messages:,} |"
        assert row in page, row
