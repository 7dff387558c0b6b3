"""What is printed for a nats-server."""

from __future__ import annotations

import re

from syncdaemon.hub.accounts import Layout, shares
from syncdaemon.hub.conf import hub_conf
from syncdaemon.hub.limits import LIMITS, batches
from syncdaemon.hub.roles import role_conf
from syncdaemon.hub.site_list import HubSite

LAYOUT = Layout.of("swarm_jobs", "edge.replay.{site}.{sha256}", "edge_replay_{site}")
SITES = [HubSite("a"), HubSite("c", leaf=True)]


def account(name: str) -> str:
    """The lines of this account."""
    text = hub_conf(SITES, LAYOUT)
    return text.partition(f'  "{name}" {{\n')[2].partition("\n  }\n")[0]


def test_a_site_that_connects_directly_may_have_no_leaf_node() -> None:
    for name in ("SITE_A", "WORKER", "AUDITOR", "HUB", "RECORDS", "IN_C"):
        assert "max_leafnodes: 0" in account(name)
    assert "max_leafnodes: 2" in account("LEAF_C")


def test_the_accounts_of_parties_have_no_jetstream() -> None:
    having = {name for name in ("HUB", "RECORDS", "IN_C", "SITE_A", "LEAF_C", "WORKER") if "jetstream" in account(name)}
    assert having == {"HUB", "RECORDS", "IN_C"}


def test_a_landing_account_has_a_disk_of_its_own() -> None:
    assert f"jetstream: {{max_file: {LIMITS.disk}, max_mem: 0}}" in account("IN_C")
    assert "max_file: 5, " in hub_conf(SITES, LAYOUT, LIMITS._replace(disk=5))


def test_every_export_names_who_may_import_it() -> None:
    exports = [line for line in hub_conf(SITES, LAYOUT).splitlines() if re.match(r'\s+\{(service|stream): "', line)]
    assert all("accounts: [" in line for line in exports)
    assert len(exports) == len({(s.exporter, s.subject) for s in shares(SITES, LAYOUT) if s.exporter != "NOBODY"})


def test_no_secret_is_printed() -> None:
    assert "password: $HUB_PASSWORD" in hub_conf(SITES, LAYOUT)
    assert not re.search(r'password: "', hub_conf(SITES, LAYOUT))


def test_no_site_can_hold_all_batches() -> None:
    assert "max_inflight_per_stream: 50, max_inflight_total: 1000" in batches(4)
    assert "max_inflight_per_stream: 2000, max_inflight_total: 4000" in batches(1_000)


def test_the_rights_of_a_site_are_what_its_account_imports() -> None:
    text = role_conf("site", "a", LAYOUT)
    allowed = re.findall(r'^    "(.*)"$', text, re.MULTILINE)
    assert allowed == [share.subject for share in shares([HubSite("a")], LAYOUT) if share.importer == "SITE_A"]


def test_the_leaf_node_of_a_site_keeps_its_stream_and_bucket_to_itself() -> None:
    text = role_conf("leaf", "c", LAYOUT)
    assert 'domain: "c"' in text
    assert 'deny_exports: ["edge.replay.>", "$O.>"]' in text
