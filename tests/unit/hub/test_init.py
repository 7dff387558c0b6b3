"""What a second `hub init` changes in a stream that is there already."""

from __future__ import annotations

from syncdaemon.hub.init import _BY_LEAF, _BY_SITE, _changes


def test_a_landing_accounts_part_becomes_smaller_with_each_leaf_node() -> None:
    assert dict(_changes({"max_msgs": 1_000}, {"max_msgs": 500}, _BY_LEAF)) == {"max_msgs": 500}


def test_a_limit_of_the_operators_own_stays() -> None:
    """In the hub's stream always, and in a landing account's where the settings ask for none."""
    assert dict(_changes({"max_msgs": 1_000}, {"max_msgs": 500}, _BY_SITE)) == {}
    assert dict(_changes({"max_msgs": 1_000}, {"max_msgs": -1}, _BY_LEAF)) == {}
