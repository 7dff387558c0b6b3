"""One site of a hub attacks the others: nothing of theirs is read, deleted, squatted, acknowledged, evicted or forged.

Each attack is also run against one account that all share, where it succeeds: so the tests would see it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

from tests.support.attacks import (
    OF_A_SOURCE,
    Attack,
    Marks,
    OfTheHub,
    Scene,
    Shared,
    of_a_client,
    of_a_leaf,
    scene,
    until,
)
from tests.support.client import connect
from tests.support.hub import Hub
from tests.support.leaf import fake_leaf

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SITES = "a\nb\nc leaf\nd leaf\ne leaf\n"
QUIET = 1.0  # in seconds: after so long an attack has had its effect


@pytest.fixture(params=["accounts in a file", pytest.param("JWTs", marks=pytest.mark.lengthy)])
def hub(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[OfTheHub]:
    """Two sites that connect directly, two behind real leaf nodes, and e, whose leaf node is a fake one."""
    with ExitStack() as ending:
        found = Hub(tmp_path, SITES, jwt=request.param == "JWTs")
        ending.callback(found.stop)
        found.server.start()
        found.start_leaves("cd")
        yield OfTheHub(found)


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    """One account for everybody."""
    found = Shared(tmp_path / "shared")
    found.server.start()
    yield found
    found.server.stop()


Attacks = dict[str, Attack]


async def change(at: Scene, attacker: str, attack: Attack) -> list[str]:
    """What an attack changed for others."""
    before = await at.look(attacker)
    await attack(at)
    await asyncio.sleep(QUIET)
    after = await at.look(attacker)
    return [what for what in {**before, **after} if before.get(what) != after.get(what)]


def of_a(name: str) -> Attack:
    async def attack(at: Scene) -> None:
        await at.fire(of_a_client(at.marks)[name])

    return attack


def of_e(name: str) -> Attack:
    async def attack(at: Scene) -> None:
        await at.fire_from_leaf(of_a_leaf(at.marks)[name])

    return attack


ATTACKS: dict[str, Attacks] = {
    "a": {name: of_a(name) for name in of_a_client(Marks())},
    "e": {name: of_e(name) for name in of_a_leaf(Marks())} | OF_A_SOURCE,
}


@pytest.mark.parametrize("attacker", ["a", pytest.param("e", marks=pytest.mark.lengthy)])
def test_no_attack_has_an_effect_on_others(hub: OfTheHub, attacker: str) -> None:
    """Of a site that connects directly, and of one whose leaf node is a fake one."""

    async def attack_one_after_another() -> dict[str, list[str]]:
        async with scene(hub) as at:
            return {name: await change(at, attacker, attack) for name, attack in ATTACKS[attacker].items()}

    assert asyncio.run(attack_one_after_another()) == {name: [] for name in ATTACKS[attacker]}


def test_delivery_of_the_others_goes_on_after_all_attacks(hub: OfTheHub) -> None:
    """From a site that connects directly, and from those behind real leaf nodes."""

    async def attack_and_deliver() -> None:
        async with scene(hub) as at:
            for attacks in ATTACKS.values():
                for attack in attacks.values():
                    await attack(at)
            for site in "bcd":
                await publish(hub.hub, site, f"edge.replay.{site}.after", b"after")
            admin = await at.client("hub")
            for site in "bcd":
                await arrived(admin, f"edge.replay.{site}.after", b"after")

    asyncio.run(attack_and_deliver())


@pytest.mark.lengthy
def test_a_leaf_node_that_calls_itself_the_hub_commands_nothing(hub: OfTheHub) -> None:
    """What it says of itself gives it no right."""
    attacks = {name: of_e(name) for name in of_a_leaf(Marks())}

    async def attack() -> dict[str, list[str]]:
        async with scene(hub, is_hub=True, remote_account="HUB", domain="hub") as at:
            return {name: await change(at, "e", attack) for name, attack in attacks.items()}

    assert asyncio.run(attack()) == {name: [] for name in attacks}


@pytest.mark.parametrize("user", ["site-a", "worker", "auditor", "hub", "records", "in-c", ""])
def test_a_leaf_node_gets_in_nowhere_but_where_its_site_is(hub: OfTheHub, user: str) -> None:
    """A leaf could acknowledge the workers' messages by a reply, which no client can."""

    async def log_in() -> None:
        async with fake_leaf(hub.leaf_port) as leaf:
            leaf.login(**(hub.leaf_login(user, leaf.nonce) if user else {}))
            leaf.want("edge.replay.>")
            await until(leaf.hung_up.is_set)
            assert leaf.refused
            assert leaf.asked == []

    asyncio.run(log_in())


def test_a_message_id_that_a_hostile_site_used_before_holds_nothing_up(hub: OfTheHub) -> None:
    """Of a direct neighbour, and of one whose messages are sourced: there is none to whom a `duplicate` is said."""

    async def take_ids() -> None:
        async with scene(hub) as at:
            admin = await at.client("hub")
            for number, site in enumerate("bcd"):
                taken = f"NATS/1.0\r\nNats-Msg-Id: of-{site}\r\n\r\n".encode()
                at.source.deliver(f"edge.replay.e.{number}", b"garbage", taken)
                await arrived(admin, f"edge.replay.e.{number}", b"garbage")
            for site in "bcd":
                await publish(hub.hub, site, f"edge.replay.{site}.1", b"good", {"Nats-Msg-Id": f"of-{site}"})
            for site in "bcd":
                await arrived(admin, f"edge.replay.{site}.1", b"good")

    asyncio.run(take_ids())


@pytest.mark.lengthy
def test_the_leaf_node_of_a_site_that_becomes_a_direct_one_acknowledges_nothing(hub: OfTheHub) -> None:
    """Its connection outlives the reload of the server, and a direct site may use the account of the workers' stream.

    No import rewrites a reply that begins with `$JS.ACK`, and only what clients send is checked for it.
    """

    async def stay_and_acknowledge() -> None:
        async with scene(hub) as at:
            before = await at.pending()
            hub.hub.list(SITES.replace("e leaf", "e"))
            await asyncio.to_thread(hub.hub.reload)
            await asyncio.to_thread(hub.hub.init)
            assert not at.leaf.hung_up.is_set()
            await at.fire_from_leaf(of_a_leaf(at.marks)["acknowledged by a reply"])
            await asyncio.sleep(QUIET)
            assert await at.pending() == before == 2

    asyncio.run(stay_and_acknowledge())


@pytest.mark.lengthy
def test_no_attack_of_a_site_that_moved_to_the_hub_has_an_effect(hub: OfTheHub) -> None:
    """From its old leaf node, whose connection outlives the reload, and from a client with its new login."""
    attacks = {name: of_e(name) for name in of_a_leaf(Marks())} | OF_A_SOURCE

    def directly(name: str) -> Attack:
        async def attack(at: Scene) -> None:
            await at.fire(of_a_leaf(at.marks)[name], "site-e")

        return attack

    async def move_and_attack() -> dict[str, list[str]]:
        async with scene(hub) as at:
            hub.hub.list(SITES.replace("e leaf", "e"))
            await asyncio.to_thread(hub.hub.reload)
            await asyncio.to_thread(hub.hub.init)
            assert not at.leaf.hung_up.is_set()
            found = {name: await change(at, "e", attack) for name, attack in attacks.items()}
            return found | {f"directly: {name}": await change(at, "e", directly(name)) for name in of_a_leaf(Marks())}

    assert {name: changes for name, changes in asyncio.run(move_and_attack()).items() if changes} == {}


@pytest.mark.lengthy
@pytest.mark.parametrize("hub", ["JWTs"], indirect=True)
def test_no_attack_of_a_site_that_was_removed_has_an_effect(hub: OfTheHub) -> None:
    """Over connections that it had before, of a client and of a leaf node; and it can't log in again."""

    def where_connected(attack: Attack) -> Attack:
        async def attack_if_connected(at: Scene) -> None:
            with suppress(nats.errors.ConnectionClosedError):
                await attack(at)

        return attack_if_connected

    async def remove_and_attack() -> dict[str, list[str]]:
        async with scene(hub) as at:
            await at.client("site-a")
            hub.hub.list(SITES.replace("a\n", "").replace("e leaf\n", ""))
            await asyncio.to_thread(hub.hub.reload)
            await asyncio.to_thread(hub.hub.init)
            found: dict[str, list[str]] = {}
            for attacker, attacks in ATTACKS.items():
                for name, attack in attacks.items():
                    found[f"{attacker}: {name}"] = await change(at, attacker, where_connected(attack))
            await refused_again(hub)
            return found

    assert {name: changes for name, changes in asyncio.run(remove_and_attack()).items() if changes} == {}


async def refused_again(hub: OfTheHub) -> None:
    """The logins of the sites that were removed, a and e, are taken no more."""
    with pytest.raises(nats.errors.Error):
        await hub.connect("site-a")
    async with fake_leaf(hub.leaf_port) as leaf:
        leaf.login(**hub.leaf_login("site-e", leaf.nonce))
        await until(leaf.hung_up.is_set)
        assert leaf.refused


async def publish(hub: Hub, site: str, subject: str, body: bytes, headers: dict[str, str] | None = None) -> None:
    """At the hub, or at the leaf node of the site."""
    leaf = hub.leaves.get(site)
    client = await (connect(leaf.url) if leaf else hub.connect(f"site-{site}"))
    await client.request(subject, body, 10, headers=headers)
    await client.close()


async def arrived(admin: Client, subject: str, body: bytes) -> None:
    """The hub's stream has it, within the time that a source may take to start."""
    for _ in range(450):
        answer = await admin.request(f"$JS.API.DIRECT.GET.swarm_jobs.{subject}", b"", 10)
        if answer.data == body:
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"{subject} never came")


@pytest.mark.lengthy
@pytest.mark.parametrize("attacker", ATTACKS)
def test_each_attack_is_a_real_one(shared: Shared, attacker: str) -> None:
    """In one account, with user permissions as narrow as it can give, each has its effect."""

    async def attack_each_time_anew() -> list[str]:
        vain = []
        for name, attack in ATTACKS[attacker].items():
            async with scene(shared) as at:
                if not await change(at, attacker, attack):
                    vain.append(name)
        return vain

    assert asyncio.run(attack_each_time_anew()) == []
