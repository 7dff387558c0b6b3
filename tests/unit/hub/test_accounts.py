"""Who may use what of whom: held to the table in the design, for a direct site and for one behind a leaf node."""

from __future__ import annotations

import pytest

from syncdaemon.base.units import Wrong
from syncdaemon.hub.accounts import Layout, Share, accounts, shares
from syncdaemon.hub.site_list import HubSite

LAYOUT = Layout.of("swarm_jobs", "edge.replay.{site}.{sha256}", "edge_replay_{site}")
SITES = [HubSite("a"), HubSite("b"), HubSite("c", leaf=True), HubSite("d", leaf=True)]
FOUND = shares(SITES, LAYOUT)


def imported(account: str) -> set[tuple[str, str]]:
    """What this account imports, from which one."""
    return {(share.exporter, share.subject) for share in FOUND if share.importer == account}


def test_a_direct_site_imports_its_own_subjects_and_no_others() -> None:
    assert imported("SITE_A") == {
        ("NOBODY", "$JS.API.INFO"),
        ("HUB", "edge.replay.a.>"),
        ("HUB", "$JS.API.DIRECT.GET.swarm_jobs.edge.replay.a.>"),
        ("HUB", "$O.edge_replay_a.>"),
        *(("HUB", f"$JS.API.STREAM.{call}.OBJ_edge_replay_a") for call in ("INFO", "MSG.GET", "PURGE", "MSG.DELETE")),
        ("HUB", "$JS.API.DIRECT.GET.OBJ_edge_replay_a"),
        ("RECORDS", "edge.checkpoint.a"),
        ("RECORDS", "edge.status.a"),
        ("RECORDS", "edge.ledger.a.>"),
        ("RECORDS", "$JS.API.DIRECT.GET.edge_checkpoints.edge.checkpoint.a"),
        ("RECORDS", "$JS.API.DIRECT.GET.edge_ledger.edge.ledger.a.>"),
        ("RECORDS", "$JS.API.DIRECT.GET.edge_cosigned.edge.cosigned.a.*"),
    }


def test_a_site_behind_a_leaf_node_stores_nothing_outside_of_its_landing_account() -> None:
    """A leaf node may say under which subject its message is stored, and that is nobody's to check."""
    assert imported("LEAF_C") == {
        ("NOBODY", "$JS.API.INFO"),
        ("IN_C", "$JS.API.DIRECT.GET.swarm_jobs.edge.replay.c.>"),
        ("IN_C", "edge.checkpoint.c"),
        ("IN_C", "edge.status.c"),
        ("IN_C", "edge.ledger.c.>"),
        ("IN_C", "$JS.API.DIRECT.GET.edge_checkpoints.edge.checkpoint.c"),
        ("IN_C", "$JS.API.DIRECT.GET.edge_ledger.edge.ledger.c.>"),
        ("RECORDS", "$JS.API.DIRECT.GET.edge_cosigned.edge.cosigned.c.*"),
    }


def test_a_landing_account_takes_from_its_site_alone_and_gives_to_the_hub() -> None:
    assert {exporter for exporter, _ in imported("IN_C")} == {"LEAF_C"}
    assert {share.importer for share in FOUND if share.exporter == "IN_C"} == {"LEAF_C", "HUB", "RECORDS", "WORKER"}
    assert {share.importer for share in FOUND if share.exporter == "LEAF_C"} == {"IN_C"}


def test_no_subject_of_one_site_is_imported_by_another() -> None:
    for share in FOUND:
        for site in "abcd":
            others = {f"{kind}_{name.upper()}" for name in "abcd" if name != site for kind in ("SITE", "LEAF")}
            if (
                f".{site}." in share.subject
                or share.subject.endswith(f".{site}")
                or share.subject.endswith(f"edge_replay_{site}")
            ):
                assert share.importer not in others


def test_nobody_but_the_hubs_own_may_make_change_or_delete() -> None:
    """Nor see what streams others share. A consumer is made by who sources, in the account that it sources from."""
    for share in FOUND:
        call = share.subject.partition("API.")[2]
        assert not call.startswith(("STREAM.CREATE", "STREAM.UPDATE", "STREAM.DELETE", "CONSUMER.DELETE"))
        if call.startswith("CONSUMER.CREATE"):
            assert share.importer in {"HUB", "RECORDS", "IN_C", "IN_D"}
        if share.importer.startswith(("SITE_", "LEAF_")) and call.startswith("STREAM."):
            assert call.endswith(f".OBJ_edge_replay_{share.importer[-1].lower()}")


def test_the_worker_gets_several_answers_to_one_request() -> None:
    worker = {share.subject: share.many for share in FOUND if share.importer == "WORKER"}
    assert worker == {
        "$JS.API.INFO": False,
        "$JS.API.CONSUMER.MSG.NEXT.swarm_jobs.worker-staging": True,
        "$JS.API.CONSUMER.INFO.swarm_jobs.worker-staging": False,
        "$JS.ACK.swarm_jobs.worker-staging.>": False,
        **{f"$JS.API.DIRECT.GET.OBJ_edge_replay_{site}": True for site in "abcd"},
    }


def test_the_hub_reads_the_large_files_of_every_site() -> None:
    """Those of a site behind a leaf node lie in its landing account; without them `verify` says that they are lost."""
    assert {subject for _, subject in imported("HUB") if "DIRECT.GET" in subject} == {
        f"$JS.API.DIRECT.GET.OBJ_edge_replay_{site}" for site in "cd"
    }


def test_the_auditor_reads_the_records_and_writes_the_anchor_alone() -> None:
    assert imported("AUDITOR") == {
        ("NOBODY", "$JS.API.INFO"),
        ("RECORDS", "edge.cosigned.>"),
        ("RECORDS", "$JS.API.DIRECT.GET.edge_checkpoints"),
        ("RECORDS", "$JS.API.DIRECT.GET.edge_ledger"),
        ("HUB", "$JS.API.DIRECT.GET.swarm_jobs"),
    }


def test_a_site_that_becomes_a_direct_one_logs_in_to_another_account() -> None:
    """The server lets a leaf node stay in its account, and in a direct site's it would acknowledge for the workers."""
    assert not set(accounts([HubSite("a")])) & {"LEAF_A", "IN_A"}
    assert "SITE_A" not in accounts([HubSite("a", leaf=True)])


def test_every_account_that_shares_is_one_of_the_hub() -> None:
    named = {name for share in FOUND for name in (share.exporter, share.importer)}
    assert named == set(accounts(SITES))
    assert Share("HUB", "SITE_A", "edge.replay.a.>") in FOUND


@pytest.mark.parametrize(
    "subject", ["edge.replay.{sha256}", "edge.replay-{site}.{sha256}", "edge.{site}.{sha256}.x", "x"]
)
def test_a_subject_that_separates_no_sites_is_refused(subject: str) -> None:
    with pytest.raises(Wrong, match="does not separate sites"):
        Layout.of("swarm_jobs", subject, "edge_replay_{site}")


def test_a_bucket_that_all_share_is_refused() -> None:
    with pytest.raises(Wrong, match="a bucket belongs to one site"):
        Layout.of("swarm_jobs", "edge.replay.{site}.{sha256}", "edge_replay")
