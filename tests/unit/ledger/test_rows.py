"""The rows of the ledger: what makers write has the schema, and what has not is named or passed, but never raised."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from syncdaemon.base.errors import LedgerDamaged
from syncdaemon.base.model import Content, Held, Receipt, Refusal, Stamp
from syncdaemon.check.ledger import audit
from syncdaemon.daemon import recover
from syncdaemon.ledger import Entry, Ledger, chain, files, open_attempts, rows, sites
from syncdaemon.ledger.receipts import receipts_of
from syncdaemon.ledger.rows import SCHEMA, FieldKind

SITE = "edge-1"
DIGEST = "ab" * 32
OLD = Path(__file__).parent / "written_by_0_1_0"
CONTENT = Content(b"a b", "a%20b", Stamp(1, 2, 3, 4, 5), b"abc", DIGEST, 1)
RECEIPT = Receipt(CONTENT, DIGEST, "edge.replay.edge-1", "swarm_jobs", 7, duplicate=False)
PACKED = RECEIPT._replace(content=CONTENT._replace(packed=True), object="edge_replay/x")
(_, PUBLISHED_ROW) = rows.receipt_row(RECEIPT)

MADE: list[Entry] = [
    rows.opened("harbour", 4711, "0.1.0"),
    rows.attempt(["a", "b"], 7, 3),
    rows.attempt(["a"], 7, 0, resolved=True),
    *rows.rows([RECEIPT, PACKED, PACKED._replace(duplicate=True)], [Refusal(CONTENT, "too_large", "3 bytes")]),
    rows.requeued(b"a b", b"a b", 3, DIGEST, "too_large"),
    rows.requeued(b"a b", b"a b~2", 3, DIGEST, "too_large"),
    rows.held_lost(PUBLISHED_ROW),
    rows.held_lost(rows.without_receipt(Held(b"", b"", 7, DIGEST))),
    rows.link_up({"server_name": "hub", "server_id": "N1", "version": "2.12.1"}),
    rows.link_down("Connection reset by peer"),
    rows.recovered(b'{"n":'),
    rows.control("pause", "large", "", 10001),
    rows.closed(8),
]

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.integers(10**25), st.floats(), st.text(max_size=5))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=3,
)
texts = st.text(st.characters(), max_size=5)  # those that no encoding has as well
flat = st.one_of(texts, st.booleans(), st.integers(), st.just(10**30))
names = st.sampled_from(sorted({name for schema in SCHEMA.values() for name in schema.fields} - {"prev"}))
events = st.one_of(st.sampled_from(sorted(SCHEMA)), st.sampled_from(["anchor", "", "\ud800", '"event":"published"']))


def good(event: str) -> dict[str, Any]:
    """A row with every field that this event may have."""
    row: dict[str, Any] = {"event": event}
    for made, fields in MADE:
        row |= fields if made == event else {}
    return row


def lines_of(entries: Iterable[dict[str, Any]], first_ts: str = "2026-03-04T05:06:07.000089Z") -> Iterator[bytes]:
    """A sound chain of these rows, whatever is in them: only whoever can write the ledger can make it."""
    prev = "0" * 64
    for n, fields in enumerate(entries, 1):
        row = {"v": 1, "n": n, "prev": prev, "ts": first_ts, "site": SITE, **fields}
        line = json.dumps(row, sort_keys=True, separators=(",", ":")).encode()
        prev = sha256(line).hexdigest()
        yield line + b"\n"


def write(folder: Path, entries: Iterable[dict[str, Any]], days: int = 1) -> list[Path]:
    """A ledger of these rows, spread over so many days."""
    folder.mkdir(exist_ok=True)
    lines = list(lines_of(entries))
    share = max(1, len(lines) // days)
    for day in range(days):
        part = lines[day * share :] if day == days - 1 else lines[day * share : (day + 1) * share]
        (folder / f"evidence-{SITE}-2026030{day + 1}.jsonl").write_bytes(b"".join(part))
    return files(folder, SITE)


async def verified(folder: Path) -> None:
    """What `verify` reads of it. Raises LedgerDamaged."""
    audit(folder, SITE)


def no_file(path: bytes) -> Stamp:
    """Of none of the rows the file is still there."""
    raise FileNotFoundError(path)


async def opened(folder: Path) -> None:
    """What a start and a look after a loss read of this ledger. Raises LedgerDamaged."""
    ledger = Ledger(folder, SITE)
    try:
        newest = ledger.open()
        recover.recent(newest, "swarm_jobs")
        list(recover.unretired(newest, no_file))
        open_attempts(folder, SITE)
        receipts_of(folder, SITE, {(7, DIGEST, 4): 100})
    finally:
        await ledger.close()


# Makers and schema.


def test_every_event_has_a_maker_that_writes_all_its_fields() -> None:
    """And no other field: what a row may hold is read in one place."""
    written: dict[str, set[str]] = {}
    for event, fields in MADE:
        written.setdefault(event, set()).update(fields)
    assert written == {event: set(schema.fields) for event, schema in SCHEMA.items()}


@pytest.mark.parametrize(("event", "fields"), MADE)
def test_what_is_made_has_its_schema(event: str, fields: dict[str, Any]) -> None:
    """With its required fields alone as well."""
    line, _ = chain.seal(chain.START, SITE, "2026-03-04T05:06:07.000089Z", event, fields)
    row, _ = chain.check(chain.START, line)
    assert rows.fault(row) == ""
    assert rows.fault({name: row[name] for name in ("event", *SCHEMA[event].required)}) == ""


def test_receipts_are_what_the_stream_holds() -> None:
    """A `held_lost` row speaks of one, and is none."""
    receipts = {event for event in SCHEMA if rows.is_receipt({"event": event})}
    assert receipts == rows.RECEIPTS == {"published", "duplicate"}
    assert receipts | {"held_lost"} == rows.ABOUT_RECEIPTS
    assert not rows.is_receipt({"event": "anchor"})


def test_a_receipt_counts_until_its_message_was_lost() -> None:
    """A later one of the same message counts again; one of another message is not touched."""
    first, other, later = ({**good("published"), "n": n, "stream_seq": seq} for n, seq in ((1, 7), (2, 8), (4, 7)))
    lost = {**good("held_lost"), "n": 3}
    assert rows.valid_receipts([first, other, lost]) == [other]
    assert rows.valid_receipts([first, other, lost, later]) == [other, later]
    assert rows.valid_receipts([lost, first, {"event": "open"}]) == [first]


@given(st.sampled_from([rows.TEXT, rows.FLAG, rows.NUMBER, rows.SEQUENCE]), values)
def test_a_kind_is_exact(kind: FieldKind, value: Any) -> None:
    """True is no number, 1.0 is none, and nothing that is nested is anything."""
    expected = {
        rows.TEXT: isinstance(value, str),
        rows.FLAG: isinstance(value, bool),
        rows.NUMBER: isinstance(value, int) and not isinstance(value, bool),
        rows.SEQUENCE: isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64,
    }
    assert kind.fits(value) is expected[kind]


@given(st.sampled_from(sorted(SCHEMA)), names, values)
@example("published", "stream_seq", True)
@example("published", "stream_seq", 2**64)
@example("published", "stream_seq", -1)
@example("published", "size", float("nan"))
@example("published", "mtime_ns", 10**30)  # some file systems keep such dates
@example("published", "object", None)
@example("attempt", "resolved", 1)
def test_a_field_of_a_wrong_kind_is_a_fault_and_a_field_of_others_is_none(event: str, name: str, value: Any) -> None:
    """Optional fields are looked at where they are there."""
    kind = SCHEMA[event].fields.get(name)
    fault = rows.fault({**good(event), name: value})
    if kind is None or kind.fits(value):
        assert fault == ""
    else:
        assert fault == f"field {name!r} of the {event} row is not {kind.words}"


@pytest.mark.parametrize(("event", "name"), [(event, name) for event in SCHEMA for name in SCHEMA[event].fields])
def test_only_a_required_field_has_to_be_there(event: str, name: str) -> None:
    """Its absence is said in a sentence."""
    row = good(event)
    del row[name]
    required = name in SCHEMA[event].required
    assert rows.fault(row) == (f"the {event} row has no field {name!r}" if required else "")


# `verify`.


def test_a_ledger_as_version_0_1_0_wrote_it_still_verifies() -> None:
    """Every kind of row that it had, written by that version: two days, and the repair of a torn end between them."""
    found = audit(OLD, SITE)
    assert sites(OLD) == [SITE]
    assert found.events.keys() == SCHEMA.keys() - {"control"}  # which it did not have
    assert (found.rows, found.unknown) == (20, {})
    assert found.digest == "4e2af88bf9e1e7d91d9a88f0d1c377d47566076252b6d2bec2f5f4c8c8d6a18d"


async def test_a_ledger_as_version_0_1_0_wrote_it_is_gone_on_with(tmp_path: Path) -> None:
    """What it says about receipts is understood."""
    for path in files(OLD, SITE):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    ledger = Ledger(tmp_path, SITE)
    newest = ledger.open()
    await ledger.append([rows.closed(1)])
    await ledger.close()
    assert [row["n"] for row in rows.valid_receipts(newest.rows)] == [5, 6, 7, 19]
    assert newest.whole
    assert open_attempts(tmp_path, SITE) == {}
    assert audit(tmp_path, SITE).rows == 21


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": ...}, "the published row has no field 'size'"),
        ({"size": "3"}, "field 'size' of the published row is not a whole number"),
        ({"size": True}, "field 'size' of the published row is not a whole number"),
        ({"stream_seq": -1}, "field 'stream_seq' of the published row is not a whole number from 0 to 2^64 - 1"),
        ({"stream_seq": 10**400}, "field 'stream_seq' of the published row is not a whole number from 0 to 2^64 - 1"),
        ({"path": 7}, "field 'path' of the published row is not a text"),
        ({"object": False}, "field 'object' of the published row is not a text"),
        ({"size": 3.0}, "a value is neither integer nor string, true nor false"),
        ({"size": float("nan")}, "a value is neither integer nor string, true nor false"),
        ({"size": None}, "a value is neither integer nor string, true nor false"),
        ({"more": {"event": "published"}}, "a value is neither integer nor string, true nor false"),
        ({"size": ..., "more": [1]}, "a value is neither integer nor string, true nor false"),
    ],
)
def test_verify_names_file_and_line_of_a_row_without_its_fields(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    """Though the chain holds: in one sentence, before anything else reads the row."""
    bad = {name: value for name, value in {**good("published"), **change}.items() if value is not ...}
    (path,) = write(tmp_path, [good("open"), good("published"), bad, good("close")])
    with pytest.raises(LedgerDamaged) as damage:
        audit(tmp_path, SITE)
    assert str(damage.value) == f"{path} line 3: {said}"


def test_verify_reports_an_unknown_event_and_goes_on(tmp_path: Path) -> None:
    """With file and line of its first row. Unknown fields pass."""
    later = {"event": "anchor", "path": 7, "day": "20260304"}
    old, new = write(tmp_path, [good("open"), later, {**good("published"), "meta": "x"}, later], days=2)
    found = audit(tmp_path, SITE)
    assert (found.files, found.rows, found.events["anchor"]) == (2, 4, 2)
    assert list(found.unknown_events()) == [f"{old} line 2: unknown event 'anchor'; rows of it: 2"]

    broken = {**good("published"), "size": "3"}
    old, new = write(tmp_path, [good("open"), later, broken, later], days=2)
    with pytest.raises(LedgerDamaged, match=f"{new} line 1: field 'size'"):
        audit(tmp_path, SITE)


# Starts.


async def test_a_start_passes_events_and_fields_that_it_does_not_know(tmp_path: Path) -> None:
    """As after a step back to this version; also where such a row is the last one."""
    later = {"event": "anchor", "path": 7, "stream_seq": True}
    write(tmp_path, [good("open"), later, {**good("published"), "meta": "x"}, {**good("attempt"), "lane": 2}, later])
    await opened(tmp_path)
    ledger = Ledger(tmp_path, SITE)
    assert [row["meta"] for row in ledger.open().rows] == ["x"]
    assert ledger.next_row == 6
    await ledger.close()


@pytest.mark.parametrize("days", [1, 2, 5])
@pytest.mark.parametrize("event", ["published", "duplicate", "held_lost"])
async def test_a_start_names_file_and_line_of_a_damaged_receipt(tmp_path: Path, days: int, event: str) -> None:
    """In the newest file and in those before it, among the rows that it needs."""
    bad = {**good(event), "stream_seq": "7"}
    paths = write(tmp_path, [bad, good("link"), good("published"), good("link"), good("close")], days)
    with pytest.raises(LedgerDamaged, match=f"^{paths[0]} line 1: field 'stream_seq' of the {event} row is not"):
        await opened(tmp_path)


async def test_a_start_names_file_and_line_of_a_damaged_attempt(tmp_path: Path) -> None:
    """Also in an old file, as far back as one is open."""
    old = {name: value for name, value in good("attempt").items() if name not in ("ids", "resolved")}
    new = {**good("attempt"), "open_since": 2}
    del new["resolved"]
    paths = write(tmp_path, [good("open"), old, good("link"), new], days=2)
    with pytest.raises(LedgerDamaged, match=f"^{paths[0]} line 2: the attempt row has no field 'ids'"):
        open_attempts(tmp_path, SITE)


async def test_a_row_in_an_old_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    """The chain of an old file is not followed at a start."""
    old, _ = write(tmp_path, [good("open"), good("published"), good("link"), good("close")], days=2)
    old.write_bytes(old.read_bytes().replace(b'"size":3', b'"size":'))
    with pytest.raises(LedgerDamaged, match=f"^{old} line 2: not JSON"):
        await opened(tmp_path)


@pytest.mark.parametrize("path", ["%00", "\ud800", "a\x00b", "x" * 5000])
async def test_a_path_that_no_file_can_have_stops_no_start(tmp_path: Path, path: str) -> None:
    """There is no such file in the replay directory."""
    write(tmp_path, [{**good("published"), "path": path}])
    await opened(tmp_path)


async def test_whether_the_tail_is_the_whole_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over several files; of a ledger that is longer, and of one whose old files were moved away, it is not."""
    monkeypatch.setattr("syncdaemon.ledger.writer.RECENT_ROWS", 6)
    for count, whole in ((6, True), (7, False)):
        folder = tmp_path / str(count)
        paths = write(folder, [{**good("published"), "stream_seq": seq} for seq in range(count)], days=3)
        ledger = Ledger(folder, SITE)
        newest = ledger.open()
        await ledger.close()
        assert newest.whole is whole
        assert [row["stream_seq"] for row in newest.rows] == list(range(count - 6, count))
    paths[0].unlink()
    ledger = Ledger(folder, SITE)
    assert not ledger.open().whole
    await ledger.close()


forged = st.lists(st.tuples(events, st.dictionaries(names, flat, max_size=3), st.lists(names, max_size=2)), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(forged, st.integers(1, 3))
async def test_whatever_stands_in_a_sound_chain_is_taken_or_named(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, dict[str, Any], list[str]]], days: int
) -> None:
    """A start and `verify` end in good order, or with one error that names file and line."""
    folder = tmp_path_factory.mktemp("ledger")
    entries = []
    for event, changed, gone in changes:
        row = (good(event) if event in SCHEMA else {"event": event}) | changed
        entries.append({name: value for name, value in row.items() if name not in gone})
    paths = write(folder, entries, days)
    sound = not any(rows.fault(row) for row in entries)
    said = []
    for read in (verified, opened):
        try:
            await read(folder)
        except LedgerDamaged as damage:
            said.append(str(damage))
    assert all(any(text.startswith(f"{path} line ") for path in paths) and "\n" not in text for text in said)
    assert bool(said) is not sound
