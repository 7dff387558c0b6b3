"""A message is of the site that its subject and its source say, or of none."""

from __future__ import annotations

from hashlib import sha256

import pytest

from syncdaemon.receive.incoming import NO_SITE, Arrival, Freed, Rejected, Retry, Wanted
from syncdaemon.receive.origin import Judged, Origin, SiteToken
from syncdaemon.stream.buckets import ReadableBuckets

STANDARD = "edge.replay.{site}.{sha256}"
DIGEST = sha256(b"abc").hexdigest()


def judged(subject: str, *more: str, site: str = "a", template: str = STANDARD, number: int | None = None) -> Judged:
    """What becomes of a message of `site` on this subject, with `more` headers."""
    lines = [f"Edge-Site: {site}", "Edge-Path: x", f"Edge-Sha256: {DIGEST}", "Edge-Size: 3", *more]
    block = "\r\n".join(["NATS/1.0", *lines, "", ""]).encode()
    origin = Origin(SiteToken.of(template, number), ReadableBuckets.of((), "edge_replay_{site}"))
    return origin.judge(Arrival(subject.encode(), b"", b"abc", block))


def outcome(subject: str, *more: str, site: str = "a", template: str = STANDARD, number: int | None = None) -> str:
    """Its reason, or `taken`."""
    found = judged(subject, *more, site=site, template=template, number=number).wanted
    assert not isinstance(found, Freed)
    return "taken" if isinstance(found, Wanted) else found.reason


@pytest.mark.parametrize("subject", [f"edge.replay.a.{DIGEST}", "edge.replay.a", "edge.replay.a.b.c"])
def test_a_message_on_a_subject_of_its_site_is_taken(subject: str) -> None:
    assert outcome(subject) == "taken"


@pytest.mark.parametrize("subject", [f"edge.replay.evil.{DIGEST}", "edge.replay.evil", "edge.replay.evil.a.a"])
def test_one_that_names_another_site_is_rejected(subject: str) -> None:
    """And what is kept of it takes the room of the site that sent it."""
    found = judged(subject)
    assert isinstance(found.wanted, Rejected)
    assert (found.wanted.reason, found.site) == ("site_mismatch", "evil")
    assert "Edge-Site is a" in found.wanted.detail


def test_whatever_is_wrong_with_it_the_sender_answers_for_it() -> None:
    found = judged("edge.replay.evil.x", "Edge-Size: lies")
    assert isinstance(found.wanted, Rejected)
    assert (found.wanted.reason, found.site) == ("bad_header", "evil")
    assert judged("edge.replay.EVIL.x").site == NO_SITE


@pytest.mark.parametrize("subject", ["evidence", "edge.status.a.x", "edge.replay", "x.edge.replay.a.y"])
def test_one_on_a_subject_of_another_form_waits_for_the_operator(subject: str) -> None:
    """It may be a site's with a SYNC_SUBJECT of its own; it is neither lost nor filed."""
    found = judged(subject).wanted
    assert isinstance(found, Retry)
    assert found.reason == "subject_unknown"
    assert "--site-token" in found.detail


@pytest.mark.parametrize(
    ("template", "subject", "expected"),
    [
        ("x.{sha256}.{site}", "x.1.a", "taken"),
        ("x.{sha256}.{site}", "x.a.b", "site_mismatch"),
        ("x.site-{site}.{sha256}", "x.site-a.1", "taken"),
        ("x.site-{site}.{sha256}", "x.site-b.1", "site_mismatch"),
        ("x.site-{site}.{sha256}", "x.a.1", "subject_unknown"),
        ("{site}.x.{site}", "a.x.a", "taken"),
        ("{site}.x.{site}", "a.x.b", "subject_unknown"),
        ("{site}.x.{site}", "b.x.b", "site_mismatch"),
        ("x.{site}", "xx.a", "subject_unknown"),
        ("plain", "plain", "taken"),
    ],
)
def test_where_the_site_is_in_the_subject_is_what_the_setting_says(template: str, subject: str, expected: str) -> None:
    assert outcome(subject, template=template) == expected


@pytest.mark.parametrize(
    ("number", "subject", "expected"),
    [
        (1, "a.x.b", "taken"),
        (3, "x.y.a", "taken"),
        (3, "x.y.b", "site_mismatch"),
        (3, "x.a", "site_mismatch"),
        (2, f"edge.replay.a.{DIGEST}", "site_mismatch"),
        (0, "edge.replay.b.x", "taken"),
        (0, "whatever", "taken"),
    ],
)
def test_a_number_says_which_token_it_is(number: int, subject: str, expected: str) -> None:
    assert outcome(subject, number=number) == expected


def source(filters: str, written: str = ">", stream: str = "swarm_jobs:sek9c6Dc") -> str:
    """As nats-server 2.15.1 writes it."""
    return f"Nats-Stream-Source: {stream} 1 {filters} {written} edge.replay.a.0 CteNcd84"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (source("edge.replay.a.>"), "taken"),
        (source("edge.replay.b.>"), "source_mismatch"),
        (source("edge.replay.*.*", "edge.replay.a.{{wildcard(2)}}"), "taken"),
        (source("edge.replay.*.*", "edge.replay.b.{{wildcard(2)}}"), "source_mismatch"),
        (source("edge.replay.b.>", "edge.replay.a.{{wildcard(2)}}"), "taken"),
        (source("edge.replay.a.>", "edge.replay.b.{{wildcard(2)}}"), "source_mismatch"),
        (source("edge.replay.b.>\fedge.replay.a.>", ">\f>"), "taken"),
        (source("edge.replay.b.>\fedge.replay.c.>", ">\f>"), "source_mismatch"),
        (source("edge.replay.b.>\fedge.replay.*.*", ">\f>"), "taken"),
        (source(">"), "taken"),  # a hub that does not tell its sites apart
        (source("edge.replay.>"), "taken"),
        ("Nats-Stream-Source: swarm_jobs 7", "taken"),
    ],
)
def test_the_source_is_that_of_its_site(said: str, expected: str) -> None:
    assert outcome("edge.replay.a.x", said) == expected


def test_where_subject_and_source_differ_neither_of_the_two_sites_answers_for_it() -> None:
    """A leaf's server forges the one, a client of the hub the other: each could fill a neighbour's room."""
    assert judged("edge.replay.a.x", source("edge.replay.evil.>")).site == NO_SITE
    assert judged("edge.replay.a.x", source("edge.replay.a.>"), source("edge.replay.evil.>")).site == NO_SITE
    assert judged("edge.replay.a.x", source("edge.replay.a.>")).site == "a"
    assert judged("edge.replay.a.x", source(">")).site == "a"


def test_every_source_counts_and_not_the_last_alone() -> None:
    good, bad = source("edge.replay.a.>"), source("edge.replay.b.>")
    assert outcome("edge.replay.a.x", good, bad) == outcome("edge.replay.a.x", bad, good) == "source_mismatch"


def test_without_a_bound_site_the_source_says_nothing() -> None:
    assert outcome("edge.replay.b.x", source("edge.replay.b.>"), number=0) == "taken"


@pytest.mark.parametrize(
    ("bucket", "expected"),
    [
        ("edge_replay", "taken"),
        ("edge_replay_a", "taken"),
        ("edge_replay_b", "bucket_refused"),
        ("KV_config", "bucket_refused"),
    ],
)
def test_an_object_is_read_from_the_site_s_own_bucket(bucket: str, expected: str) -> None:
    for number in (None, 0):
        assert outcome("edge.replay.a.x", f"Edge-Object: {bucket}/{DIGEST}", number=number) == expected
