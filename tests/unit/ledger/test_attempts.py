"""Attempts of any number of messages: in rows that fit an entry bundle, and the same after each power cut."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from syncdaemon.evidence.tiles import MOST_ENTRY_BYTES
from syncdaemon.ledger import open_attempts, rows
from syncdaemon.ledger.rows import MOST_IDS, Entry, attempts
from tests.support.evidence import SITE, receipt, sealed, written


def ids(count: int, behind: str = "") -> list[str]:
    return [sha256(b"%d" % number).hexdigest() + behind for number in range(count)]


def open_after(folder: Path, entries: list[Entry]) -> set[str]:
    """The messages that are in doubt for a process that finds a ledger of these rows."""
    written(folder, entries)
    return set(open_attempts(folder, SITE))


@pytest.mark.parametrize("resolved", [False, True])
@pytest.mark.parametrize("count", [0, 1, MOST_IDS, MOST_IDS + 1, 2_000, 50_000])
def test_each_row_fits_an_entry_bundle(count: int, resolved: bool) -> None:
    """Also with the longest ids, which messages have that were sent afresh."""
    found = attempts(ids(count, ".0123abcd"), 2**63, 10**12, 10**12, resolved)
    assert all(len(line) <= MOST_ENTRY_BYTES for line in sealed(found))
    assert " ".join(str(fields["ids"]) for _, fields in found).split() == ids(count, ".0123abcd")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_small_attempt_is_the_row_that_it_was(count: int) -> None:
    assert attempts(ids(count), 7, 3, 9) == [rows.attempt(ids(count), 7, 3)]
    assert attempts(ids(count), 7, 3, 9, resolved=True) == [rows.attempt(ids(count), 7, 0, resolved=True)]


def test_a_large_attempt_is_open_until_its_receipts(tmp_path: Path) -> None:
    many = ids(2_000)
    before = [rows.link_up({}), *attempts(many, 1, 0, 2)]
    assert open_after(tmp_path / "a", before) == set(many)
    done = receipt(1, msg_id=many[1_999])
    assert open_after(tmp_path / "b", [*before, done]) == set(many[:1_999])


def test_what_was_resolved_is_open_alone(tmp_path: Path) -> None:
    """An attempt of 2,000 messages, of which 1,700 were found in the stream; then a later attempt of one."""
    many = ids(2_000)
    before = [rows.link_up({}), *attempts(many, 1, 0, 2)]
    resolved = attempts(many[:1_700], 1, 2, len(before) + 1, resolved=True)
    assert [fields.get("resolved", False) for _, fields in resolved] == [False, False, True]
    assert open_after(tmp_path / "a", [*before, *resolved]) == set(many[:1_700])
    later = rows.attempt(["a" * 64], 9, len(before) + 1)
    assert open_after(tmp_path / "b", [*before, *resolved, later]) == {*many[:1_700], "a" * 64}


@pytest.mark.parametrize("rows_left", [0, 1, 2])
def test_a_power_cut_between_its_rows_loses_no_attempt(tmp_path: Path, rows_left: int) -> None:
    """All that was open before is open still: what is sent a second time without a look would be stored twice."""
    many = ids(2_000)
    before = [rows.link_up({}), *attempts(many, 1, 0, 2)]
    resolved = attempts(many[:1_700], 1, 2, len(before) + 1, resolved=True)
    assert open_after(tmp_path, [*before, *resolved[:rows_left]]) == set(many)
