"""Changes that somebody makes to a ledger: each made to a whole one, with what has to find it.

An attacker who re-chains the rows behind a change leaves a ledger that holds together. Then only something outside of
it can tell: the stream, the last row that an earlier run printed, or a checkpoint that somebody else holds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import zstandard

from syncdaemon.ledger import chain
from syncdaemon.ledger.day_files import files
from tests.support.evidence import receipt

SITE = "edge-1"
DAYS = ("20260304", "20260305", "20260306")
VERIFY, STREAM, EXPECT = "verify", "stream", "expect"

Rows = list[dict[str, Any]]


class Mutation(NamedTuple):
    """One kind of change. `by`: what has to find it. `make` changes the ledger in the folder, and says if it could."""

    kind: str
    by: str
    make: Callable[[Path, Random], bool]


def entries() -> Rows:
    """The rows of three days, as a daemon writes them: their events and fields, times and day."""
    rows: Rows = []
    seq = 0

    def add(day: int, event: str, **fields: Any) -> None:
        date = DAYS[day]
        ts = f"{date[:4]}-{date[4:6]}-{date[6:]}T05:{len(rows) // 60 % 60:02}:{len(rows) % 60:02}.000089Z"
        rows.append({"day": day, "ts": ts, "site": SITE, "event": event, **fields})

    for day in range(len(DAYS)):
        add(day, "open", host="host", pid=7, version="0.1.0")
        add(day, "link", up=True, server_name="hub", server_id="N", version="2.15.1")
        for number in range(40):
            seq += 1
            content = b"%d" % seq
            _, fields = receipt(seq, content)
            add(day, "attempt", first_seq=seq, count=1, ids=fields["msg_id"], open_since=0)
            add(day, "published", **fields)
            if number % 10 == 0:
                add(day, "duplicate", **{**fields, "path": f"b/file-{seq}"})
        add(day, "refused", path="c", size=1, sha256="", mtime_ns=1, attempts=1, reason="unreadable", error='a "b"')
        add(day, "close", rows=5)
    return rows


def seal(folder: Path, rows: Rows) -> None:
    """Writes these rows as a ledger, chained anew."""
    head = chain.START
    days: dict[str, list[bytes]] = {day: [] for day in DAYS}
    for row in rows:
        fields = {name: value for name, value in row.items() if name not in ("day", "ts", "site", "event")}
        line, head = chain.seal(head, row["site"], row["ts"], row["event"], fields)
        days[DAYS[row["day"]]].append(line)
    for day, lines in days.items():
        (folder / f"evidence-{SITE}-{day}.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))


def _lines(folder: Path) -> tuple[list[Path], list[list[bytes]]]:
    paths = files(folder, SITE)
    return paths, [path.read_bytes().splitlines(keepends=True) for path in paths]


def _on_lines(change: Callable[[list[bytes], int, Random], None], *, last: bool = False) -> Callable[..., bool]:
    """Changes a line of a file, and chains nothing anew: any but the last one of the ledger, or that."""

    def make(folder: Path, random: Random) -> bool:
        paths, parts = _lines(folder)
        which = len(parts) - 1 if last else random.randrange(len(parts))
        lines = parts[which]
        at = len(lines) - 1 if last else random.randrange(len(lines) - 1)
        before = list(lines)
        change(lines, at, random)
        paths[which].write_bytes(b"".join(lines))
        return lines != before

    return make


def _flip(lines: list[bytes], at: int, random: Random) -> None:
    line = bytearray(lines[at])
    line[random.randrange(len(line))] ^= 1 << random.randrange(8)
    lines[at] = bytes(line)


def _flip_prev(lines: list[bytes], at: int, random: Random) -> None:
    place = lines[at].index(b'"prev":"') + 8 + random.randrange(64)
    new = random.choice([digit for digit in b"0123456789abcdef" if digit != lines[at][place]])
    lines[at] = lines[at][:place] + bytes([new]) + lines[at][place + 1 :]


def _remove(lines: list[bytes], at: int, random: Random) -> None:
    del lines[at]


def _double(lines: list[bytes], at: int, random: Random) -> None:
    lines.insert(at, lines[at])


def _swap(lines: list[bytes], at: int, random: Random) -> None:
    lines[at], lines[at + 1] = lines[at + 1], lines[at]


def _move(lines: list[bytes], at: int, random: Random) -> None:
    line = lines.pop(at)
    lines.insert((at + random.randrange(1, len(lines))) % len(lines), line)


def _respell(lines: list[bytes], at: int, random: Random) -> None:
    row = json.loads(lines[at])
    spelled = (
        json.dumps(row).encode() + b"\n",
        lines[at].replace(b'"v":1', b'"v":1.0'),
        lines[at][:-2] + b',"v":1}\n',
        lines[at][:-1] + b"\r\n",
        b"\xef\xbb\xbf" + lines[at],
        lines[at] + b"\n",
        b"\0" * 7 + lines[at],
        lines[at].replace(b"e", b"\\u0065", 1),
        lines[at][:-1] + b" \n",
        b"\xff" + lines[at][1:],
    )
    lines[at] = random.choice(spelled)


def _huge(lines: list[bytes], at: int, random: Random) -> None:
    row = json.loads(lines[at])
    name = random.choice([name for name, value in row.items() if type(value) is int])
    row[name] = 10 ** random.choice((20, 60, 4_000, 6_000))
    text = json.dumps({**row, name: 0}, sort_keys=True, separators=(",", ":"))
    digits = "1" + "0" * random.choice((20, 60, 4_000, 6_000))
    lines[at] = text.replace(f'"{name}":0', f'"{name}":{digits}').encode() + b"\n"


def _rechained(change: Callable[[Rows, Random], None]) -> Callable[..., bool]:
    """Changes rows, and chains all anew."""

    def make(folder: Path, random: Random) -> bool:
        rows, before = entries(), entries()
        change(rows, random)
        for path in files(folder, SITE):
            path.unlink()
        seal(folder, rows)
        return rows != before

    return make


def _any(rows: Rows, random: Random, *events: str) -> int:
    return random.choice([at for at, row in enumerate(rows) if row["event"] in events])


_OTHERS: dict[str, Any] = {
    "sha256": "cd" * 32,
    "msg_id": "cd" * 32,
    "stream_seq": 999,
    "subject": f"edge.replay.{SITE}.{'cd' * 32}",
    "stream": "another",
    "path": "z/other",
    "size": 12_345,
    "mtime_ns": 1_600_000_000_000_000_000,
    "site": "edge-2",
}


def _set(name: str, value: Any) -> Callable[..., bool]:
    def change(rows: Rows, random: Random) -> None:
        rows[_any(rows, random, "published")][name] = value

    return _rechained(change)


def _drop(*events: str) -> Callable[..., bool]:
    def change(rows: Rows, random: Random) -> None:
        del rows[_any(rows, random, *events)]

    return _rechained(change)


def _drop_published(*, doubled: bool) -> Callable[..., bool]:
    """Removes a receipt: one whose message a `duplicate` row names too, or one that stands alone."""

    def change(rows: Rows, random: Random) -> None:
        again = {row["stream_seq"] for row in rows if row["event"] == "duplicate"}
        some = [row for row in rows if row["event"] == "published" and (row["stream_seq"] in again) is doubled]
        rows.remove(random.choice(some))

    return _rechained(change)


def _without_field(rows: Rows, random: Random) -> None:
    row = rows[_any(rows, random, "published", "duplicate", "attempt", "refused", "open", "close")]
    del row[random.choice([name for name in row if name not in ("day", "ts", "site", "event", "server_name")])]


def _wrong_kind(rows: Rows, random: Random) -> None:
    row = rows[_any(rows, random, "published", "duplicate", "attempt")]
    name = random.choice([name for name in row if name not in ("day", "ts", "site", "event")])
    row[name] = True if type(row[name]) is str else "7"


def _invent(rows: Rows, random: Random) -> None:
    at = _any(rows, random, "published")
    _, fields = receipt(random.randrange(1_000, 9_999), b"invented")
    rows.insert(at, {**rows[at], **fields})


def _drop_rest(rows: Rows, random: Random) -> None:
    at = _any(rows, random, "published")
    rows[at:] = [row for row in rows[at:] if row["event"] != "published"]


def _invent_duplicate(rows: Rows, random: Random) -> None:
    at = _any(rows, random, "published")
    rows.insert(at + 1, {**rows[at], "event": "duplicate", "path": "invented"})


def _all_times(rows: Rows, random: Random) -> None:
    second = random.randrange(10, 60)
    for row in rows:
        row["ts"] = f"{row['ts'][:17]}{second}{row['ts'][19:]}"


def _later_day(rows: Rows, random: Random) -> None:
    row = rows[_any(rows, random, "published")]
    row["ts"] = f"2026-03-{random.randrange(10, 29)}{row['ts'][10:]}"


def _of_other_site(rows: Rows, random: Random) -> None:
    at = _any(rows, random, "published")
    for row in rows[at : at + random.randrange(1, 9)]:
        row["site"] = "edge-2"


def _cut_rows(folder: Path, random: Random) -> bool:
    paths, parts = _lines(folder)
    paths[-1].write_bytes(b"".join(parts[-1][: -random.randrange(1, 60)]))
    return True


def _cut_within(folder: Path, random: Random) -> bool:
    path = files(folder, SITE)[-1]
    data = path.read_bytes()
    cut = data[: -random.randrange(2, 5_000)]
    path.write_bytes(cut)
    return not cut.endswith(b"\n")


def _emptied(folder: Path, random: Random) -> bool:
    files(folder, SITE)[-1].write_bytes(b"")
    return True


def _gone(which: int) -> Callable[..., bool]:
    def make(folder: Path, random: Random) -> bool:
        files(folder, SITE)[which].unlink()
        return True

    return make


def _renamed(folder: Path, random: Random) -> bool:
    """The order is kept."""
    which = random.choice((0, 2))
    path = files(folder, SITE)[which]
    shift = random.randrange(1, 20)
    path.rename(path.with_name(f"evidence-{SITE}-{(20260200 if which == 0 else 20260306) + shift}.jsonl"))
    return True


def _swapped(folder: Path, random: Random) -> bool:
    one, other = random.sample(files(folder, SITE), 2)
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    return True


def _doubled_day(folder: Path, random: Random) -> bool:
    path = random.choice(files(folder, SITE))
    path.with_name(f"evidence-{SITE}-202603{random.randrange(10, 29)}.jsonl").write_bytes(path.read_bytes())
    return True


def _odd_file(make_it: Callable[[Path], None]) -> Callable[..., bool]:
    def make(folder: Path, random: Random) -> bool:
        path = random.choice(files(folder, SITE))
        path.unlink()
        make_it(path)
        return True

    return make


def _packed(change: Callable[[bytes, Random], bytes]) -> Callable[..., bool]:
    """A day is compressed, and then changed."""

    def make(folder: Path, random: Random) -> bool:
        path = random.choice(files(folder, SITE))
        data = path.read_bytes()
        packed = change(zstandard.ZstdCompressor(write_checksum=True).compress(data), random)
        path.with_name(path.name + ".zst").write_bytes(packed)
        path.unlink()
        try:
            return zstandard.ZstdDecompressor().decompressobj().decompress(packed) != data
        except zstandard.ZstdError:
            return True

    return make


def _flip_byte(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def _other_ledger(folder: Path, random: Random) -> bool:
    """A whole ledger of another site, under the names of this one's files."""
    rows = entries()
    for row in rows:
        row["site"] = "edge-2"
    seal(folder, rows)
    return True


def _forged_end(folder: Path, random: Random) -> bool:
    rows = entries()
    _, fields = receipt(random.randrange(1_000, 9_999), b"invented")
    rows.append({**rows[-1], "event": "published", **fields})
    del rows[-1]["rows"]
    seal(folder, rows)
    return True


def _forged_link(folder: Path, random: Random) -> bool:
    rows = entries()
    last = {name: rows[-1][name] for name in ("day", "ts", "site")}
    seal(folder, [*rows, *[{**last, "event": "link", "up": False, "reason": "x"}] * random.randrange(1, 5)])
    return True


def kinds() -> Iterator[Mutation]:
    """All of them."""
    yield Mutation("a bit flipped in a row", VERIFY, _on_lines(_flip))
    yield Mutation("a bit flipped in the very last row", EXPECT, _on_lines(_flip, last=True))
    yield Mutation("a digit of `prev` changed", VERIFY, _on_lines(_flip_prev))
    yield Mutation("a digit of `prev` changed in the very last row", VERIFY, _on_lines(_flip_prev, last=True))
    for words, change in (("removed", _remove), ("doubled", _double), ("swapped with the next", _swap)):
        yield Mutation(f"a row {words}", VERIFY, _on_lines(change))
    yield Mutation("a row moved", VERIFY, _on_lines(_move))
    yield Mutation("another spelling of a row", VERIFY, _on_lines(_respell))
    yield Mutation("another spelling of the very last row", VERIFY, _on_lines(_respell, last=True))
    yield Mutation("a huge integer", VERIFY, _on_lines(_huge))
    yield Mutation("a huge integer in the very last row", VERIFY, _on_lines(_huge, last=True))
    for name, value in _OTHERS.items():
        yield Mutation(f"re-chained: {name} changed", VERIFY if name == "site" else STREAM, _set(name, value))
    yield Mutation("re-chained: attempts changed", EXPECT, _set("attempts", 77))
    yield Mutation("re-chained: a published row removed", STREAM, _drop_published(doubled=False))
    yield Mutation("re-chained: a published row removed, a duplicate follows", EXPECT, _drop_published(doubled=True))
    yield Mutation("re-chained: another row removed", EXPECT, _drop("duplicate", "open", "link", "close", "refused"))
    yield Mutation("re-chained: all published rows dropped from one on", STREAM, _rechained(_drop_rest))
    yield Mutation("re-chained: a delivery invented", STREAM, _rechained(_invent))
    yield Mutation("re-chained: a duplicate invented", EXPECT, _rechained(_invent_duplicate))
    yield Mutation("re-chained: all times changed", EXPECT, _rechained(_all_times))
    yield Mutation("re-chained: a time after the file's day", EXPECT, _rechained(_later_day))
    yield Mutation("re-chained: rows of another site", VERIFY, _rechained(_of_other_site))
    yield Mutation("re-chained: a field missing", VERIFY, _rechained(_without_field))
    yield Mutation("re-chained: a field of the wrong kind", VERIFY, _rechained(_wrong_kind))
    yield Mutation("rows cut off the end", EXPECT, _cut_rows)
    yield Mutation("cut within a row", VERIFY, _cut_within)
    yield Mutation("the last file emptied", EXPECT, _emptied)
    yield Mutation("the last file gone", EXPECT, _gone(-1))
    yield Mutation("the first file gone", VERIFY, _gone(0))
    yield Mutation("a file in the middle gone", VERIFY, _gone(1))
    yield Mutation("a file renamed, the order kept", "", _renamed)
    yield Mutation("two files swapped", VERIFY, _swapped)
    yield Mutation("a file doubled under another day", VERIFY, _doubled_day)
    yield Mutation("a pipe in the place of a file", VERIFY, _odd_file(os.mkfifo))
    yield Mutation("a folder in the place of a file", VERIFY, _odd_file(Path.mkdir))
    yield Mutation("a dangling link in the place of a file", VERIFY, _odd_file(lambda path: path.symlink_to("nowhere")))
    yield Mutation("a compressed day cut", VERIFY, _packed(lambda data, random: data[: random.randrange(len(data))]))
    yield Mutation("a byte of a compressed day changed", VERIFY, _packed(_flip_byte))
    yield Mutation("the ledger exchanged for another site's", VERIFY, _other_ledger)
    yield Mutation("a delivery forged at the end", STREAM, _forged_end)
    yield Mutation("a link row forged at the end", "", _forged_link)
