"""One site of a hub attacks the others: nothing of theirs is read, deleted, squatted, acknowledged, evicted or forged.

Each attack is also run against one account that all share, where it succeeds: so the tests would see it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.attacks import OF_A_SOURCE, Attack, Marks, OfTheHub, Scene, Shared, of_a_client, of_a_leaf, scene
from tests.support.hub import Hub

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SITES = "a\nb\nc leaf\nd leaf\ne leaf\n"
QUIET = 1.0  # in seconds: after so long an attack has had its effect


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[OfTheHub]:
    """Two sites that connect directly, two behind real leaf nodes, and e, whose leaf node is a fake one."""
    with ExitStack() as ending:
        found = Hub(tmp_path, SITES)
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


@pytest.mark.parametrize("attacker", ATTACKS)
def test_no_attack_has_an_effect_on_others(hub: OfTheHub, attacker: str) -> None:
    """Of a site that connects directly, and of one whose leaf node is a fake one."""

    async def attack_one_after_another() -> dict[str, list[str]]:
        async with scene(hub) as at:
            return {name: await change(at, attacker, attack) for name, attack in ATTACKS[attacker].items()}

    assert asyncio.run(attack_one_after_another()) == {name: [] for name in ATTACKS[attacker]}


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
