"""In which streams a reader may leave tombstones: where they can do no harm to anybody."""

from __future__ import annotations

from typing import Any

import pytest

from syncdaemon.receive.freeing import unfit
from syncdaemon.receive.origin import SiteToken

STANDARD = "edge.replay.{site}.{sha256}"
GOOD: dict[str, Any] = {"subjects": ["edge.replay.a.*"], "allow_rollup_hdrs": True, "max_msgs_per_subject": 1}


@pytest.mark.parametrize(
    "subjects", [["edge.replay.a.*"], ["edge.replay.a.>"], ["edge.replay.a.x", "edge.replay.a.y.>"]]
)
def test_a_stream_of_one_site_is_fit(subjects: list[str]) -> None:
    assert unfit(GOOD | {"subjects": subjects}, SiteToken.of(STANDARD, None)) == ""


@pytest.mark.parametrize(
    "subjects",
    [
        ["edge.replay.*.*"],
        ["edge.replay.>"],
        ["edge.>"],
        [">"],
        ["edge.*.a.*"],
        ["*.replay.a.*"],
        ["other.replay.a.*"],
        ["edge.replay.a.*", "edge.replay.b.*"],
        ["edge.replay.a.*", "another"],
        ["edge.replay.A.*"],
    ],
)
def test_one_that_may_be_of_several_is_not(subjects: list[str]) -> None:
    """Whoever may publish in it could empty it with one header."""
    assert "not of one site" in unfit(GOOD | {"subjects": subjects}, SiteToken.of(STANDARD, None))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"subjects": []}, "captures no subject"),
        ({"subjects": None}, "captures no subject"),
        ({"sources": [{"name": "edge"}]}, "from other streams"),
        ({"mirror": {"name": "edge"}}, "from other streams"),
        ({"subject_transform": {"src": "a", "dest": "b"}}, "subject_transform"),
        ({"retention": "workqueue"}, "by itself"),
        ({"retention": "interest"}, "by itself"),
        ({"allow_rollup_hdrs": False}, "no roll-ups"),
        ({"max_msgs_per_subject": -1}, "more than one message"),
    ],
)
def test_what_else_is_in_the_way(changes: dict[str, Any], said: str) -> None:
    assert said in unfit(GOOD | changes, SiteToken.of(STANDARD, None))


def test_where_no_subject_tells_the_site_nothing_is_freed() -> None:
    """Neither without the site in SYNC_SUBJECT, nor with --site-token 0."""
    for template, number in (("edge.replay.{sha256}", None), (STANDARD, 0)):
        assert "--site-token" in unfit(GOOD, SiteToken.of(template, number))
    assert unfit(GOOD, SiteToken.of("edge.replay.{sha256}", 3)) == ""
