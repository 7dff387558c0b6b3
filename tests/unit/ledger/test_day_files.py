"""The ledger's day files: plain or compressed, they hold the same rows, and what is no file is said in a line."""

from __future__ import annotations

import os
import socket
from datetime import date
from pathlib import Path

import pytest
import zstandard

from syncdaemon.base.errors import LedgerDamaged
from syncdaemon.check.day import check_day
from syncdaemon.ledger import Ledger, rows
from syncdaemon.ledger.day_files import day_path, files, is_empty, is_packed, open_day, plain, sites
from syncdaemon.ledger.files import end, last_lines, torn_end
from syncdaemon.ledger.seek import line_at, spot_of

SITE = "edge-1"
LINES = [b"%d" % number * 40 + b"\n" for number in range(20_000)]


def packed(data: bytes, path: Path) -> Path:
    """Writes the compressed form beside a day's name, and takes the plain one away."""
    target = path.with_name(path.name + ".zst")
    target.write_bytes(zstandard.ZstdCompressor(write_checksum=True).compress(data))
    path.unlink(missing_ok=True)
    return target


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """The name of a day's plain file."""
    return day_path(tmp_path, SITE, date(2026, 3, 4))


def content(path: Path) -> bytes:
    """All that a day holds."""
    with open_day(path) as file:
        return b"".join(file)


def test_a_day_holds_the_same_in_both_forms(day: Path) -> None:
    """Also where it was compressed in several frames, with one to be skipped behind them."""
    data = b"".join(LINES)
    day.write_bytes(data)
    assert content(day) == data
    other = packed(data, day)
    assert content(other) == data
    pack = zstandard.ZstdCompressor().compress
    other.write_bytes(pack(data[:1000]) + pack(data[1000:]) + b"\x5e\x2a\x4d\x18\x04\x00\x00\x00abcd")
    assert content(other) == data


def test_a_day_that_changes_its_form_is_found_by_its_old_name(day: Path) -> None:
    """Whoever listed the files before the compression reads on."""
    other = packed(b"".join(LINES), day)
    assert content(day) == content(other)
    day.write_bytes(b"".join(LINES))
    other.unlink()
    assert content(other) == content(day)


def test_a_day_counts_once(day: Path) -> None:
    """A compression that was cut off leaves both forms; names that are no day's are left alone."""
    packed(b"x\n", day)
    day.write_bytes(b"x\n")
    for name in (
        "evidence-edge-1-20260305.jsonl.zst",
        "evidence-edge-1-2026030.jsonl",
        "evidence-edge-2-20260304.jsonl",
    ):
        (day.parent / name).write_bytes(b"x\n")
    assert [path.name for path in files(day.parent, SITE)] == [day.name, "evidence-edge-1-20260305.jsonl.zst"]
    assert sites(day.parent) == ["edge-1", "edge-2"]
    assert files(day.parent / "not there", SITE) == []


def test_a_compressed_day_is_read_from_any_byte(day: Path) -> None:
    data = b"".join(LINES)
    other = packed(data, day)
    with open_day(other, 123_456) as file:
        assert file.read(100) == data[123_456:123_556]
    assert is_packed(other)
    assert plain(other) == day


@pytest.mark.parametrize("kept", [0, 1, 100, -1, -5])
def test_a_cut_day_is_no_shorter_day(day: Path, kept: int) -> None:
    """A frame that does not end is damage: what was in it before the cut could pass for all of it."""
    other = packed(b"".join(LINES), day)
    whole = other.read_bytes()
    other.write_bytes(whole[:kept])
    with pytest.raises(LedgerDamaged, match="can't be unpacked"):
        content(other)


def test_a_flipped_bit_and_what_is_no_frame_are_damage(day: Path) -> None:
    other = packed(b"".join(LINES), day)
    whole = bytearray(other.read_bytes())
    whole[-9] ^= 1
    other.write_bytes(bytes(whole))
    with pytest.raises(LedgerDamaged, match="can't be unpacked"):
        content(other)
    other.write_bytes(b"no frame at all")
    with pytest.raises(LedgerDamaged, match="can't be unpacked"):
        content(other)


def test_what_is_no_file_is_refused_in_one_line_and_not_waited_for(day: Path, tmp_path: Path) -> None:
    """A pipe with such a name held up `verify` for ever, and a symlink could lead anywhere."""
    os.mkfifo(day)
    with pytest.raises(LedgerDamaged, match=r"is a pipe \(FIFO\), not a file of the ledger"):
        open_day(day)
    day.unlink()
    day.mkdir()
    with pytest.raises(LedgerDamaged, match="is a folder, not a file"):
        is_empty(day)
    day.rmdir()
    day.symlink_to(tmp_path / "nowhere")
    with pytest.raises(LedgerDamaged, match="is a symlink, not a file"):
        open_day(day)
    day.unlink()
    with pytest.raises(LedgerDamaged, match="is not there any more"):
        open_day(day)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(day))
        with pytest.raises(LedgerDamaged, match="is a socket, not a file"):
            open_day(day)


def test_nothing_of_a_long_torn_end_is_read_twice(day: Path) -> None:
    """Its time grew with the square of its length: 64 MB of NULs took 17 s."""
    day.write_bytes(b"whole\n" + bytes(64 << 20))
    assert len(torn_end(day)) == 64 << 20
    day.write_bytes(b"whole\n")
    assert torn_end(day) == b""
    day.write_bytes(b"torn")
    assert torn_end(day) == b"torn"


async def test_every_reader_reads_compressed_days(tmp_path: Path) -> None:
    """And the writer goes on after them, on the next day where today is closed already."""
    ledger = Ledger(tmp_path, SITE)
    ledger.open()
    await ledger.append([rows.opened("host", number, "1") for number in range(300)])
    head = ledger.head
    await ledger.close()
    (day,) = files(tmp_path, SITE)
    line = line_at(spot_of(tmp_path, SITE, 200) or pytest.fail("no row 200"))
    lines = last_lines(day, 7)
    other = packed(day.read_bytes(), day)

    assert check_day(other, SITE).events.total() == 300
    assert end(other) == head
    assert last_lines(other, 7) == lines
    assert line_at(spot_of(tmp_path, SITE, 200) or pytest.fail("no row 200")) == line
    ledger = Ledger(tmp_path, SITE)
    ledger.open()
    assert ledger.head == head
    await ledger.append([rows.closed(1)])
    await ledger.close()
    after = files(tmp_path, SITE)
    assert after[0] == other
    assert check_day(after[1], SITE, head).events.total() == 1
