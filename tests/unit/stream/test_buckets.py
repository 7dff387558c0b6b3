"""Which buckets are read for which site."""

from __future__ import annotations

import pytest

from syncdaemon.stream.buckets import ReadableBuckets
from syncdaemon.stream.object_format import ObjectPlace


def refusal(bucket: str, site: str, *patterns: str, own: str = "edge_replay_{site}") -> str:
    return ReadableBuckets.of(patterns, own).refusal(ObjectPlace(bucket, "x"), site)


@pytest.mark.parametrize(
    ("bucket", "patterns"),
    [
        ("edge_replay", ()),
        ("edge_replay_a-1", ()),
        ("edge_replay_a_1", ()),  # no site's: a label has no underscore
        ("evidence", ("edge_replay", "evidence")),
        ("evidence_b", ("evidence_*",)),
        ("evidence_a-1", ("evidence_{site}",)),
        ("a-1_of_a-1", ("{site}_of_{site}",)),
        ("x-y-a-1", ("x-{site}", "x-y-{site}")),
        ("anything", ("*",)),
    ],
)
def test_a_bucket_that_was_given_is_read(bucket: str, patterns: tuple[str, ...]) -> None:
    assert refusal(bucket, "a-1", *patterns) == ""


@pytest.mark.parametrize(
    ("bucket", "patterns", "said"),
    [
        ("edge_replay_b", (), "belongs to the site b"),
        ("edge_replay_b", ("*",), "belongs to the site b"),
        ("edge_replay_b", ("edge_replay_b",), "belongs to the site b"),
        ("edge_replay_a-12", (), "belongs to the site a-12"),
        ("evidence_b", ("evidence_{site}",), "belongs to the site b"),
        ("a-1_of_b", ("{site}_of_{site}",), "is none of"),
        ("secrets", (), "is none of edge_replay, edge_replay_*"),
        ("my_edge_replay", (), "is none of"),
        ("edge_replay", ("evidence",), "is none of evidence"),
    ],
)
def test_no_other_bucket_is_read(bucket: str, patterns: tuple[str, ...], said: str) -> None:
    assert said in refusal(bucket, "a-1", *patterns)


@pytest.mark.parametrize("pattern", ["", "a b", "a.b", "[ab]", "{sites}", "a/b", "x" * 252])
def test_what_is_no_pattern_is_said(pattern: str) -> None:
    with pytest.raises(ValueError, match="is no bucket"):
        ReadableBuckets.of([pattern], "edge_replay_{site}")
