"""The life of a ledger's closed days, against a hub in memory that can be full, lie, be silent or refuse."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from syncdaemon.base.errors import LanePaused, LedgerDamaged, LinkDown
from syncdaemon.check.ledger import audit
from syncdaemon.daemon.ledger_life import HeldRows, LedgerLife, LifeSettings
from syncdaemon.ledger import Ledger
from syncdaemon.ledger import closed_days as closed_days_module
from syncdaemon.ledger.closed_days import read_gone
from syncdaemon.stream.day_store import DayStore, NoDayStore
from tests.support.ledger_days import DAYS, write_days

SITE = "test-site"
KEEP = 2
PROVED = LifeSettings(KEEP, "edge_ledger", None, unproved=False)
UNPROVED = PROVED._replace(unproved=True)
PATIENT = UNPROVED._replace(keep=3)  # of five days, none is overdue


class FakeHub(DayStore):
    """Keeps what it is given. `lies`: reads other bytes back; `dies_at`: the link goes at that call."""

    def __new__(cls) -> FakeHub:
        return super().__new__(cls, None, "edge_ledger", None)  # type: ignore[arg-type]

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.calls = 0
        self.dies_at = 0
        self.lies = self.full = self.barred = self.absent = self.forgets = False

    def _call(self) -> None:
        self.calls += 1
        if self.calls == self.dies_at:
            raise LinkDown("cut")
        if self.barred:
            raise PermissionError("Permissions Violation for Publish")

    async def prepare(self, config: object) -> None:
        if self.absent:
            raise NoDayStore("there is no stream edge_ledger")

    async def put(self, subject: str, data: bytes) -> None:
        self._call()
        if self.full:
            raise LanePaused("maximum bytes exceeded")
        self.kept.setdefault(subject, data)

    async def get(self, subject: str) -> bytes | None:
        self._call()
        if self.forgets:
            return None
        found = self.kept.get(subject)
        return found[:-1] + b"\0" if self.lies and found else found


@pytest.fixture
async def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ledger]:
    """Four closed days, and one that is open."""
    monkeypatch.setattr(closed_days_module, "PART_BYTES", 500)  # so that each day has some parts
    write_days(tmp_path, SITE)
    found = Ledger(tmp_path, SITE)
    found.open()
    await found.append([("link", {"up": True})])  # today's file is a new one
    yield found
    await found.close()


def days_here(folder: Path) -> list[str]:
    """The days with a file, and its form."""
    return sorted(name[19:] for name in os.listdir(folder) if name.startswith("evidence-"))


def everybody() -> HeldRows:
    """A checkpoint over all rows is held by somebody else."""
    return HeldRows(1 << 60, 1 << 60)


async def test_closed_days_are_compressed_and_all_stay_where_nothing_else_is_asked(
    ledger: Ledger, tmp_path: Path
) -> None:
    hub = FakeHub()
    await LedgerLife(ledger, PROVED._replace(keep=0)).do(hub)
    assert [name for name in days_here(tmp_path) if not name.endswith(".zst")] == [ledger.file[19:]]
    assert len(days_here(tmp_path)) == len(DAYS) + 1
    assert hub.kept == {}
    assert audit(tmp_path, SITE).rows == ledger.head.n


async def test_what_is_shipped_and_proved_is_taken_away_and_the_ledger_begins_at_the_frontier(
    ledger: Ledger, tmp_path: Path
) -> None:
    hub = FakeHub()
    assert await LedgerLife(ledger, PROVED, everybody).do(hub)
    assert days_here(tmp_path)[:-1] == ["20260104.jsonl.zst", "20260105.jsonl.zst"]
    found = audit(tmp_path, SITE)
    assert found.frontier.startswith("rows 1 to 120 were shipped to the hub")
    shipped = read_gone(tmp_path, SITE).shipped
    assert [shipped[day].span[:2] for day in sorted(shipped)] == [(1, 40), (41, 80), (81, 120), (121, 160), (161, 200)]
    assert all(one.parts > 1 for one in shipped.values())


async def test_nothing_goes_without_a_checkpoint_that_somebody_else_holds(ledger: Ledger, tmp_path: Path) -> None:
    held = HeldRows(0, 0)
    life = LedgerLife(ledger, PROVED, lambda: held)
    await life.do(FakeHub())
    assert len(days_here(tmp_path)) == 6
    assert "nobody else holds a checkpoint" in life.problem
    rows = read_gone(tmp_path, SITE).shipped
    held = HeldRows(rows["20260101"].n, 0)
    await life.do(None)
    assert days_here(tmp_path)[0] == "20260102.jsonl.zst"


async def test_without_a_key_an_anchor_stands_for_a_day_that_was_shipped(ledger: Ledger, tmp_path: Path) -> None:
    await LedgerLife(ledger, UNPROVED).do(FakeHub())
    assert days_here(tmp_path)[:-1] == ["20260104.jsonl.zst", "20260105.jsonl.zst"]
    assert sorted(read_gone(tmp_path, SITE).anchored) == ["20260101", "20260102", "20260103"]
    audit(tmp_path, SITE)


async def test_no_day_goes_before_a_hub_was_asked_to_take_it(ledger: Ledger, tmp_path: Path) -> None:
    """However many there are, as after an update: the link may come up a second later."""
    life = LedgerLife(ledger, UNPROVED)
    await life.do(None)
    assert len(days_here(tmp_path)) == 6
    hub = FakeHub()
    assert await life.do(hub)
    assert len(read_gone(tmp_path, SITE).shipped) == len(DAYS)


@pytest.mark.parametrize("what", ["barred", "absent"])
async def test_a_hub_that_takes_no_days_at_all_holds_up_nothing_that_is_unproved(
    ledger: Ledger, tmp_path: Path, what: str
) -> None:
    hub = FakeHub()
    setattr(hub, what, True)
    life = LedgerLife(ledger, UNPROVED)
    assert not await life.do(hub)
    assert days_here(tmp_path)[:-1] == ["20260104.jsonl.zst", "20260105.jsonl.zst"]
    assert read_gone(tmp_path, SITE).shipped == {}
    assert "unproved" in audit(tmp_path, SITE).frontier
    proved = LedgerLife(ledger, PROVED._replace(keep=1), everybody)
    assert not await proved.do(hub)
    assert len(days_here(tmp_path)) == 3


@pytest.mark.parametrize("what", ["lies", "full", "forgets"])
@pytest.mark.parametrize("settings", [PROVED, PATIENT])
async def test_a_hub_that_is_full_or_lies_gets_no_day_away_from_here(
    ledger: Ledger, tmp_path: Path, what: str, settings: LifeSettings
) -> None:
    hub = FakeHub()
    setattr(hub, what, True)
    life = LedgerLife(ledger, settings, everybody)
    assert not await life.do(hub)
    assert life.problem
    assert len(days_here(tmp_path)) == 6
    assert read_gone(tmp_path, SITE).shipped == {}
    setattr(hub, what, False)
    assert await life.do(hub)
    assert len(days_here(tmp_path)) == settings.keep + 1


@pytest.mark.parametrize("what", ["lies", "full", "forgets"])
async def test_an_unproved_day_waits_for_its_shipping_twice_as_long_and_no_longer(
    ledger: Ledger, tmp_path: Path, what: str
) -> None:
    """So the disk is bounded whatever the hub does."""
    hub = FakeHub()
    setattr(hub, what, True)
    assert not await LedgerLife(ledger, UNPROVED).do(hub)
    assert days_here(tmp_path)[0] == "20260102.jsonl.zst"
    assert list(read_gone(tmp_path, SITE).anchored) == ["20260101"]
    assert "unproved" in audit(tmp_path, SITE).frontier


async def test_a_link_that_dies_at_any_call_loses_nothing_and_sends_nothing_twice(
    ledger: Ledger, tmp_path: Path
) -> None:
    hub = FakeHub()
    life = LedgerLife(ledger, PROVED, everybody)
    for _ in range(200):
        hub.dies_at = hub.calls + 3
        if await LedgerLife(ledger, PROVED, everybody).do(hub):
            break
    else:
        hub.dies_at = 0
        await life.do(hub)
    assert len(days_here(tmp_path)) == KEEP + 1
    audit(tmp_path, SITE)
    for day, one in read_gone(tmp_path, SITE).shipped.items():
        parts = [data for subject, data in hub.kept.items() if f".{day}." in subject]
        assert len(parts) == one.parts
        assert sum(map(len, parts)) == one.size


async def test_a_day_that_is_not_what_was_shipped_stays(ledger: Ledger, tmp_path: Path) -> None:
    held = HeldRows(0, 0)
    life = LedgerLife(ledger, PROVED, lambda: held)
    await life.do(FakeHub())
    day = tmp_path / f"evidence-{SITE}-20260101.jsonl.zst"
    day.write_bytes(day.read_bytes() + b"\0")
    held = everybody()
    await life.do(None)
    assert "is not what was shipped" in life.problem
    assert len(days_here(tmp_path)) == 6


async def test_a_damaged_day_is_neither_shipped_nor_taken_away(ledger: Ledger, tmp_path: Path) -> None:
    day = tmp_path / f"evidence-{SITE}-20260101.jsonl"
    day.write_bytes(day.read_bytes().replace(b"file-7", b"file-8"))
    for settings in (PROVED, UNPROVED):
        life = LedgerLife(ledger, settings, everybody)
        hub = FakeHub()
        await life.do(hub)
        assert "20260101.jsonl" in life.problem
        assert hub.kept == {}
        assert len(days_here(tmp_path)) == 6


@pytest.mark.parametrize("gone", [1, 2, 3])
async def test_days_that_are_missing_without_a_row_are_damage(ledger: Ledger, tmp_path: Path, gone: int) -> None:
    for day in DAYS[:gone]:
        (tmp_path / f"evidence-{SITE}-{day.replace('-', '')}.jsonl").unlink()
    with pytest.raises(LedgerDamaged, match=f"rows 1 to {40 * gone} are not here"):
        audit(tmp_path, SITE)
    audit(tmp_path, SITE, allow_missing_start=True)


async def test_a_day_that_is_missing_in_the_middle_is_damage(ledger: Ledger, tmp_path: Path) -> None:
    await LedgerLife(ledger, PROVED).do(FakeHub())
    (tmp_path / f"evidence-{SITE}-20260103.jsonl.zst").unlink()
    with pytest.raises(LedgerDamaged, match="row number 121, expected 81"):
        audit(tmp_path, SITE)
