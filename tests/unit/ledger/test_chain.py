"""The ledger's chain: what is sealed can be checked, and no change to it goes unseen."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncdaemon.base.model import Row
from syncdaemon.ledger import chain
from syncdaemon.ledger import rows as rows_of_the_ledger
from syncdaemon.ledger.chain import START, BadRow, Head

TS = "2026-03-04T05:06:07.000089Z"
AWKWARD = [
    "",
    "plain",
    'quote " and backslash \\ and slash /',
    "all the controls: \x00\x01\x08\x09\x0a\x0b\x0c\x0d\x1f\x7f\x80\x9f",
    "Grüße, 漢字, \U0001d11e",
    "line separators \u2028 \u2029 and a byte order mark \ufeff",
    "a name that was no UTF-8: \udcff\udc80",
    '"n":1,"prev":"' + "0" * 64 + '",',
]

texts = st.one_of(st.sampled_from(AWKWARD), st.text(max_size=20))
rows = st.dictionaries(st.text(min_size=1, max_size=8), st.one_of(st.integers(), st.booleans(), texts), max_size=4)
chains = st.lists(rows, min_size=2, max_size=6)


def sealed(fields: Iterable[Row], head: Head = START) -> list[bytes]:
    """The lines of a chain that holds these rows."""
    lines: list[bytes] = []
    for row in fields:
        line, head = chain.seal(head, "edge-1", TS, "published", row)
        lines.append(line)
    return lines


def checked(lines: Iterable[bytes], head: Head | None = START) -> Head | None:
    """The chain's end by `check`, which looks at everything."""
    for line in lines:
        _, head = chain.check(head, line)
    return head


def followed(lines: Iterable[bytes], head: Head | None = START) -> Head | None:
    """The chain's end by `follow`, which looks at the links."""
    for line in lines:
        head = chain.follow(head, line)
    return head


def both_refuse(lines: list[bytes]) -> None:
    """Neither way of reading takes these lines for a chain."""
    with pytest.raises(BadRow):
        checked(lines)
    with pytest.raises(BadRow):
        followed(lines)


def encoded(row: dict[str, Any]) -> bytes:
    """A line in canonical form, whatever it holds."""
    return json.dumps(row, sort_keys=True, separators=(",", ":")).encode()


def first_row(**changes: Any) -> dict[str, Any]:
    """A good first row, but for the changes; a field that is set to `...` is left out."""
    row = {"v": 1, "n": 1, "prev": "0" * 64, "ts": TS, "site": "edge-1", "event": "open", **changes}
    return {key: value for key, value in row.items() if value is not ...}


@given(rows)
@example({"text": AWKWARD[-1]})
def test_a_sealed_row_is_checked_and_comes_back_as_it_was(fields: dict[str, int | str | bool]) -> None:
    """Sealing and checking are each other's inverse, and the chain's own fields win over a row's."""
    line, head = chain.seal(START, "edge-1", TS, "published", fields)
    row, same_head = chain.check(START, line)

    own = {"v": 1, "n": 1, "prev": "0" * 64, "ts": TS, "site": "edge-1", "event": "published"}
    assert same_head == head
    assert row == json.loads(json.dumps({**fields, **own}))


@given(rows)
def test_a_line_is_in_canonical_form(fields: dict[str, int | str | bool]) -> None:
    """Any JSON library can make the same bytes: keys sorted, no blanks, ASCII only."""
    line, _ = chain.seal(Head(6, "ab" * 32), "edge-1", TS, "refused", fields)

    own = {"v": 1, "n": 7, "prev": "ab" * 32, "ts": TS, "site": "edge-1", "event": "refused"}
    assert line == json.dumps({**fields, **own}, sort_keys=True, separators=(",", ":")).encode("ascii")


@pytest.mark.parametrize("text", AWKWARD)
def test_no_text_can_break_a_line(text: str) -> None:
    """Line breaks and control characters are escaped, so a row is always one line of printable ASCII."""
    (line,) = sealed([{text or "empty": text}])

    assert all(0x20 <= byte < 0x80 for byte in line)
    assert followed([line]) == checked([line])


@pytest.mark.parametrize("number", [0, -1, 2**53 + 1, 2**63, 1_767_225_600_123_456_789])
def test_integers_of_any_size_survive(number: int) -> None:
    """Nanoseconds don't fit into a double; they must come back to the last digit."""
    line, _ = chain.seal(START, "edge-1", TS, "published", {"mtime_ns": number})

    assert chain.check(START, line)[0]["mtime_ns"] == number


def test_the_head_is_the_hash_of_the_line_and_the_next_row_holds_it() -> None:
    """The link between two rows is the plain SHA-256 of the line, as sha256sum prints it."""
    first, second = sealed([{"a": 1}, {"a": 2}])

    assert json.loads(second)["prev"] == sha256(first).hexdigest()
    assert checked([first, second]) == Head(2, sha256(second).hexdigest())


def test_the_first_row_is_number_one_and_points_at_nothing() -> None:
    """A chain begins at 1, with sixty-four zeros in place of a row before it."""
    row = json.loads(sealed([{}])[0])

    assert (row["n"], row["prev"]) == (1, "0" * 64)


@given(chains)
def test_follow_agrees_with_check(fields: list[Row]) -> None:
    """On a sound chain the cheap way and the thorough one come to the same end."""
    lines = sealed(fields)

    assert followed(lines) == checked(lines) == Head(len(lines), sha256(lines[-1]).hexdigest())


@given(chains, st.data())
def test_follow_takes_whatever_check_takes(fields: list[Row], data: st.DataObject) -> None:
    """Start-up never stops at a ledger that verification finds sound, and both tell the same end."""
    lines = sealed(fields)
    place = data.draw(st.integers(0, len(lines) - 1))
    at = data.draw(st.integers(0, len(lines[place]) - 1))
    byte = data.draw(st.integers(0, 255))
    lines[place] = lines[place][:at] + bytes([byte]) + lines[place][at + 1 :]

    try:
        end = checked(lines)
    except BadRow:
        return
    assert followed(lines) == end


def test_every_altered_byte_is_found() -> None:
    """Each byte of a ledger in turn, in several ways: an error, or (in the last line only) another head."""
    lines = sealed([{"path": "a/b%20c", "size": 12}, {"ok": True}, {"text": "ü\n"}])
    end = checked(lines)
    whole = b"\n".join(lines)
    last_line = len(whole) - len(lines[-1]) - 1  # with the break before it
    for at, old in enumerate(whole):
        for new in {old ^ 1, old ^ 0x20, ord("0"), ord("\n"), 0xFF} - {old}:
            altered = (whole[:at] + bytes([new]) + whole[at + 1 :]).split(b"\n")
            for read in (checked, followed):
                try:
                    found = read(altered)
                except BadRow:
                    continue
                assert at >= last_line, (read, at, new)
                assert found != end, (read, at, new)


@given(chains, st.data())
def test_an_altered_byte_is_found_in_any_chain(fields: list[Row], data: st.DataObject) -> None:
    """Whatever the rows hold, and whatever the byte becomes: it ends in an error, or in another head."""
    lines = sealed(fields)
    end = checked(lines)
    whole = b"\n".join(lines)
    at = data.draw(st.integers(0, len(whole) - 1))
    new = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    altered = (whole[:at] + bytes([new]) + whole[at + 1 :]).split(b"\n")

    for read in (checked, followed):
        try:
            found = read(altered)
        except BadRow:
            continue
        assert found != end
        assert at >= len(whole) - len(lines[-1]) - 1


@given(chains, st.data())
def test_a_removed_row_is_found(fields: list[Row], data: st.DataObject) -> None:
    """A row that is missing in the middle or at the front leaves a gap in the numbers and the links."""
    lines = sealed(fields)
    del lines[data.draw(st.integers(0, len(lines) - 2))]

    both_refuse(lines)


@given(chains)
def test_a_removed_last_row_shows_in_the_head(fields: list[Row]) -> None:
    """What is cut off the end can't be seen in what is left, but the head that was noted tells it."""
    lines = sealed(fields)

    assert checked(lines[:-1]) != checked(lines)
    assert followed(lines[:-1]) != followed(lines)


@given(chains, st.data())
def test_swapped_rows_are_found(fields: list[Row], data: st.DataObject) -> None:
    """Two rows can't change places."""
    lines = sealed(fields)
    first = data.draw(st.integers(0, len(lines) - 2))
    second = data.draw(st.integers(first + 1, len(lines) - 1))
    lines[first], lines[second] = lines[second], lines[first]

    both_refuse(lines)


@given(chains, st.data())
def test_a_duplicated_row_is_found(fields: list[Row], data: st.DataObject) -> None:
    """A row can't be told twice, right after itself or anywhere later."""
    lines = sealed(fields)
    which = data.draw(st.integers(0, len(lines) - 1))
    where = data.draw(st.integers(0, len(lines)))
    lines.insert(where, lines[which])

    both_refuse(lines)


@given(chains, chains)
def test_rows_of_another_chain_do_not_fit(ours: list[Row], theirs: list[Row]) -> None:
    """A row of the right number from another ledger is found by its link."""
    lines = sealed(ours)
    other = sealed(theirs, chain.seal(START, "edge-2", TS, "open", {})[1])

    both_refuse([lines[0], *other])


@given(chains, st.data())
def test_the_chain_goes_on_across_files(fields: list[Row], data: st.DataObject) -> None:
    """A file that is read alone (head None) leads to the same end, and to the file before it by its first row."""
    lines = sealed(fields)
    cut = data.draw(st.integers(1, len(lines) - 1))
    earlier, later = lines[:cut], lines[cut:]

    assert checked(later, None) == checked(later, checked(earlier)) == checked(lines)
    assert followed(later, None) == followed(later, followed(earlier)) == followed(lines)
    first = json.loads(later[0])
    assert Head(first["n"] - 1, first["prev"]) == checked(earlier)


def test_a_file_read_alone_is_still_checked_within() -> None:
    """Without a head only the first row is believed; the second has to fit it."""
    lines = sealed([{"a": number} for number in range(5)])

    for read in (checked, followed):
        assert read(lines[2:], None) == read(lines)
        with pytest.raises(BadRow, match="row number 5, expected 4"):
            read([lines[2], lines[4]], None)


def test_an_altered_row_is_told_by_the_row_after_it() -> None:
    """The text says what to think of it, and which number was expected where that is the matter."""
    lines = sealed([{"size": 1}, {"size": 2}, {"size": 3}])
    altered = [lines[0], lines[1].replace(b'"size":2', b'"size":7'), lines[2]]

    with pytest.raises(BadRow, match="prev is not the SHA-256 of the row before it"):
        checked(altered)
    with pytest.raises(BadRow, match="prev is not the SHA-256 of the row before it"):
        followed(altered)
    with pytest.raises(BadRow, match="row number 3, expected 2"):
        checked([lines[0], lines[2]])


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\x00" * 40, "not JSON"),
        (b'{"v":1,"n":' + b"9" * 5000 + b"}", "not JSON"),
        (b'"\xff"', "not JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", "field 'v'"),
        (encoded(first_row(n="1")), "field 'n'"),
        (encoded(first_row(n=True)), "field 'n'"),
        (encoded(first_row(n=1.0)), "field 'n'"),
        (encoded(first_row(v=True)), "field 'v'"),
        (encoded(first_row(v=2)), "version 2, this program reads 1"),
        (encoded(first_row(prev=...)), "field 'prev'"),
        (encoded(first_row(prev=None)), "field 'prev'"),
        (encoded(first_row(prev="0" * 63)), "prev is not a SHA-256"),
        (encoded(first_row(prev="A" * 64)), "prev is not a SHA-256"),
        (encoded(first_row(prev="0" * 64 + "\n")), "prev is not a SHA-256"),
        (encoded(first_row(ts=0)), "field 'ts'"),
        (encoded(first_row(site=...)), "field 'site'"),
        (encoded(first_row(event=...)), "field 'event'"),
        (encoded(first_row(ts="2026-03-04T05:06:07Z")), "RFC 3339"),
        (encoded(first_row(ts="2026-03-04T05:06:07.000089+00:00")), "RFC 3339"),
        (encoded(first_row(ts="2026-03-04 05:06:07.000089Z")), "RFC 3339"),
        (encoded(first_row(ts=TS + "\n")), "RFC 3339"),
    ],
)
def test_what_is_no_row_is_refused_with_the_cause(line: bytes, told: str) -> None:
    """Each kind of damage is named in words."""
    with pytest.raises(BadRow, match=told):
        chain.check(START, line)


@pytest.mark.parametrize(
    "line",
    [
        encoded(first_row()).replace(b":", b": "),
        encoded(first_row()) + b" ",
        encoded(first_row()) + b"\n",
        b"\xef\xbb\xbf" + encoded(first_row()),
        encoded(first_row()).decode().encode("utf-16"),
        json.dumps(first_row(), separators=(",", ":")).encode(),
        json.dumps(first_row(text="ü"), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(),
        encoded(first_row(text="/")).replace(b'"/"', b'"\\/"'),
        encoded(first_row(text="é")).replace(b"\\u00e9", b"\\u00E9"),
        encoded(first_row(size=5)).replace(b'"size":5', b'"size":9,"size":5'),
        encoded(first_row(size=0)).replace(b'"size":0', b'"size":-0'),
    ],
)
def test_another_spelling_of_a_good_row_is_refused(line: bytes) -> None:
    """One row has one spelling: a tool that writes it anew in its own way is found out."""
    assert chain.check(START, encoded(first_row()))
    with pytest.raises(BadRow):
        chain.check(START, line)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)


@given(json_values)
@example(float("nan"))
@example(float("inf"))
@example(None)
@example(1.5)
@example([])
@example({"n": 1})
def test_a_row_holds_only_integers_strings_true_and_false(value: Any) -> None:
    """A value of another kind was never sealed: the line is refused as every other damage is."""
    line = encoded(first_row(value=value))

    if isinstance(value, int | str):
        assert chain.check(START, line)[0]["value"] == json.loads(json.dumps(value))
    else:
        with pytest.raises(BadRow):
            chain.check(START, line)


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"v":' * 100_000,
        encoded(first_row()).replace(b'"v":1', b'"v":1,"w":1e999'),
        encoded(first_row()).replace(b'"v":1', b'"v":1,"w":-Infinity'),
    ],
    ids=["deep_list", "deep_object", "too_large", "infinite"],
)
def test_the_worst_line_is_refused_like_any_other(line: bytes) -> None:
    """Nothing that can stand in a damaged file raises anything but BadRow."""
    with pytest.raises(BadRow):
        chain.check(START, line)
    with pytest.raises(BadRow):
        chain.check(None, line)


@given(st.binary(max_size=60))
def test_noise_is_no_row(line: bytes) -> None:
    """Bytes from anywhere are refused, by both ways of reading and with or without a head."""
    for head in (START, None):
        with pytest.raises(BadRow):
            chain.check(head, line)
        with pytest.raises(BadRow):
            chain.follow(head, line)


def test_a_time_is_written_in_ascii_digits() -> None:
    """A digit of another script looks like one to some programs, and sorts like none."""
    with pytest.raises(BadRow):
        chain.check(START, encoded(first_row(ts=TS.replace("2026", "\u0662\u0660\u0662\u0666"))))


@pytest.mark.parametrize("n", [0, -1])
def test_there_is_no_row_before_the_first(n: int) -> None:
    """Rows are counted from one, also where the row before is not at hand."""
    for read in (checked, followed):
        with pytest.raises(BadRow):
            read([encoded(first_row(n=n))], None)


def test_the_first_row_must_point_at_nothing_also_where_it_is_read_alone() -> None:
    """Row 1 has no row before it, so its link is known without one."""
    for read in (checked, followed):
        with pytest.raises(BadRow):
            read([encoded(first_row(prev="1" * 64))], None)


def test_every_event_of_the_contract_can_be_sealed_and_checked() -> None:
    """The design's list of events is the code's."""
    events = ["open", "attempt", "published", "duplicate", "refused"]
    events += ["requeued", "held_lost", "link", "recovered", "control", "close"]
    head = START
    for event in events:
        line, end = chain.seal(head, "edge-1", TS, event, {"up": True})
        assert chain.check(head, line)[1] == chain.follow(head, line) == end
        head = end
    assert set(events) == rows_of_the_ledger.SCHEMA.keys()
