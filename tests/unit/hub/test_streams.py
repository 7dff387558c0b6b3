"""The streams of a hub: what keeps one site from another's messages in them."""

from __future__ import annotations

from typing import Any

from syncdaemon.hub.accounts import Layout
from syncdaemon.hub.site_list import HubSite
from syncdaemon.hub.streams import Life, streams

LAYOUT = Layout.of("swarm_jobs", "edge.replay.{site}.{sha256}", "edge_replay_{site}")
DIRECT, LEAF = HubSite("a"), HubSite("c", leaf=True)


def made(*sites: HubSite, life: Life = Life()) -> dict[tuple[str, str], dict[str, Any]]:  # noqa: B008
    """By user and name."""
    return {(login.user, config["name"]): config for login, config in streams(sites, LAYOUT, life)}


def test_what_is_sourced_comes_before_what_sources_it() -> None:
    users = [login.user for login, _ in streams([DIRECT, LEAF], LAYOUT)]
    assert list(dict.fromkeys(users)) == ["in-c", "hub", "records"]


def test_a_source_from_a_site_writes_the_token_of_the_site_itself() -> None:
    (source,) = made(LEAF)["in-c", "swarm_jobs"]["sources"]
    assert source["subject_transforms"] == [{"src": "edge.replay.*.*", "dest": "edge.replay.c.{{wildcard(2)}}"}]
    (bucket,) = made(LEAF)["in-c", "OBJ_edge_replay_c"]["sources"]
    assert [one["dest"] for one in bucket["subject_transforms"]] == [
        "$O.edge_replay_c.C.{{wildcard(2)}}",
        "$O.edge_replay_c.M.{{wildcard(2)}}",
    ]


def test_a_source_of_the_hubs_own_takes_the_subjects_of_that_site_alone() -> None:
    found = made(DIRECT, LEAF)
    filters = {
        name: source["filter_subject"]
        for (user, name), config in found.items()
        if user in ("hub", "records")
        for source in config.get("sources", ())
    }
    assert filters == {
        "swarm_jobs": "edge.replay.c.>",
        "edge_checkpoints": "edge.checkpoint.c",
        "edge_ledger": "edge.ledger.c.>",
        "edge_fleet": "edge.status.c",
    }


def test_no_stream_with_sources_has_subjects_of_the_sites_that_it_sources() -> None:
    for config in made(DIRECT, LEAF).values():
        if config.get("sources"):
            assert not any("c" in subject.split(".") for subject in config.get("subjects", ()))


def test_roll_ups_are_allowed_in_buckets_of_one_site_alone() -> None:
    allowed = {key for key, config in made(DIRECT, LEAF).items() if config.get("allow_rollup_hdrs")}
    assert allowed == {("hub", "OBJ_edge_replay_a")}


def test_a_stream_with_sources_remembers_no_message_ids() -> None:
    for config in made(DIRECT, LEAF).values():
        if config.get("sources"):
            assert config.get("duplicate_window", 0) == 0


def test_without_sources_the_hubs_stream_refuses_a_second_message_of_a_subject() -> None:
    assert made(DIRECT)["hub", "swarm_jobs"]["discard_new_per_subject"] is True
    assert made(DIRECT, LEAF)["hub", "swarm_jobs"]["discard_new_per_subject"] is False


def test_the_anchor_stays() -> None:
    anchor = made(DIRECT)["records", "edge_cosigned"]
    assert anchor["deny_delete"]
    assert anchor["deny_purge"]
    assert (anchor["max_msgs_per_subject"], anchor["discard"]) == (1, "old")


def test_the_age_of_messages_is_limited_and_that_of_records_is_not() -> None:
    found = made(DIRECT, LEAF, life=Life(replicas=3, max_age=86_400))
    limited = {key for key, config in found.items() if config["max_age"] == 86_400_000_000_000}
    assert limited == {("in-c", "swarm_jobs"), ("hub", "swarm_jobs")}
    assert {config["num_replicas"] for config in found.values()} == {3}


def test_the_number_of_messages_is_limited_for_the_hub_and_once_more_for_all_landing_accounts_together() -> None:
    """Each digest of a site behind a leaf node lies in two streams of the hub's server, and takes memory in both."""
    other = HubSite("d", leaf=True)
    found = made(DIRECT, LEAF, other, life=Life(max_msgs=1_000))
    limits = {key: config["max_msgs"] for key, config in found.items() if config["max_msgs"] > 0}
    assert limits == {("hub", "swarm_jobs"): 1_000, ("in-c", "swarm_jobs"): 500, ("in-d", "swarm_jobs"): 500}
