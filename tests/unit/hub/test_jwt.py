"""The accounts of a hub as JWTs, and the folder of their keys."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]
import pytest

from syncdaemon.base.errors import SettingsError
from syncdaemon.hub.accounts import Layout, shares
from syncdaemon.hub.jwt import Issued, Keys, all_accounts, issue, preload, users
from syncdaemon.hub.keys import open_keys, write_credentials
from syncdaemon.hub.limits import LIMITS
from syncdaemon.hub.site_list import HubSite
from syncdaemon.stream.info import captured

LAYOUT = Layout.of("swarm_jobs", "edge.replay.{site}.{sha256}", "edge_replay_{site}")
SITES = [HubSite("a"), HubSite("c", leaf=True)]


def made(folder: Path, sites: list[HubSite]) -> tuple[Issued, Keys]:
    """Keys, JWTs and credentials."""
    keys = open_keys(folder, sites, lambda line: None)
    issued = issue(sites, LAYOUT, LIMITS, keys)
    write_credentials(folder, issued)
    return issued, keys


def claims(jwt: str) -> dict[str, Any]:
    """What it says; the signature of its issuer is checked."""
    head, body, signature = jwt.split(".")
    told: dict[str, Any] = json.loads(_bytes(body))
    padded = told["iss"] + "=" * (-len(told["iss"]) % 8)
    raw = base64.b32decode(padded)[1:-2]
    nkeys.nacl.signing.VerifyKey(raw).verify(f"{head}.{body}".encode(), _bytes(signature))
    return told


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_the_operator_signs_accounts_and_an_account_its_users(tmp_path: Path) -> None:
    issued, keys = made(tmp_path / "k", SITES)
    for name, jwt in issued.accounts.items():
        told = claims(jwt)
        assert (told["iss"], told["sub"], told["name"]) == (keys.operator.public, keys.accounts[name].public, name)
    assert claims(issued.users["site-c"])["iss"] == keys.accounts["LEAF_C"].public
    assert claims(issued.users["in-c"])["iss"] == keys.accounts["IN_C"].public


def test_every_import_lies_within_an_export(tmp_path: Path) -> None:
    """And an import is in no JWT but that of the account that it is for."""
    issued, keys = made(tmp_path / "k", SITES)
    by_key = {key.public: name for name, key in keys.accounts.items()}
    for jwt in issued.accounts.values():
        for one in claims(jwt)["nats"]["imports"]:
            exports = claims(issued.accounts[by_key[one["account"]]])["nats"]["exports"]
            assert any(
                export["type"] == one["type"] and captured([export["subject"]], one["subject"]) for export in exports
            ), one
    subjects = {one["subject"] for one in claims(issued.accounts["SITE_A"])["nats"]["imports"]}
    assert subjects == {share.subject for share in shares(SITES, LAYOUT) if share.importer == "SITE_A"}


def test_no_jwt_is_longer_than_the_server_reads_even_with_1000_sites(tmp_path: Path) -> None:
    for leaf in (False, True):
        keys = open_keys(tmp_path / "k", SITES, lambda line: None)
        any_key = keys.accounts["HUB"]
        sites = [HubSite(f"a-long-name-of-a-site-{number}", leaf) for number in range(1_000)]
        accounts = dict.fromkeys(all_accounts(sites), any_key)
        issued = issue(sites, LAYOUT, LIMITS, Keys(any_key, accounts, dict.fromkeys(users(sites), any_key), 0))
        assert max(map(len, issued.accounts.values())) < 1 << 20


def test_a_second_call_prints_the_same_and_a_new_site_gets_its_own_keys(tmp_path: Path) -> None:
    folder = tmp_path / "k"
    issued, keys = made(folder, SITES)
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    again, _ = made(folder, SITES)
    assert again == issued
    later, more = made(folder, [*SITES, HubSite("n")])
    assert {path: path.read_bytes() for path in files} == files
    assert later.operator == issued.operator
    assert later.users["site-a"] == issued.users["site-a"]
    assert more.accounts["SITE_A"].public == keys.accounts["SITE_A"].public
    assert (folder / "creds" / "site-n.creds").exists()


def test_every_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    made(tmp_path / "k", SITES)
    for path in [tmp_path / "k", *(tmp_path / "k").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0


def test_a_folder_that_others_can_reach_is_refused(tmp_path: Path) -> None:
    (tmp_path / "k").mkdir()
    (tmp_path / "k").chmod(0o755)
    with pytest.raises(SettingsError, match="chmod 700"):
        made(tmp_path / "k", SITES)


def test_a_damaged_key_is_said_and_not_replaced(tmp_path: Path) -> None:
    made(tmp_path / "k", SITES)
    seed = tmp_path / "k" / "keys" / "HUB.nk"
    seed.write_text("SAAB\n")
    with pytest.raises(SettingsError, match="a key can't be read"):
        made(tmp_path / "k", SITES)
    assert seed.read_text() == "SAAB\n"


def test_limits_are_those_of_the_file(tmp_path: Path) -> None:
    issued, keys = made(tmp_path / "k", SITES)
    limits = {name: claims(jwt)["nats"]["limits"] for name, jwt in issued.accounts.items()}
    assert {name for name, found in limits.items() if found["leaf"]} == {"LEAF_C"}
    assert {name for name, found in limits.items() if found["disk_storage"]} == {"HUB", "RECORDS", "IN_C"}
    assert limits["IN_C"]["disk_storage"] == LIMITS.disk
    assert any("# SITE_A" in line for line in preload(issued, keys))
