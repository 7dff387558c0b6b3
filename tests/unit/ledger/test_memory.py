"""What is remembered of tickets: by the newest row, and nothing where nobody asks."""

from __future__ import annotations

from syncdaemon.base.tickets import TicketKey
from syncdaemon.ledger.memory import TicketMemory
from syncdaemon.ledger.rows import Entry

SHA = "a" * 64
KEY = TicketKey("a", SHA)


def row(event: str, path: str = "a", sha256: str = SHA, **more: str | int) -> Entry:
    return event, {"path": path, "sha256": sha256, **more}


def test_nothing_is_remembered_of_files_that_nobody_asks_about() -> None:
    memory = TicketMemory()
    memory.written([row("published")] * 1000, 1000)
    assert len(memory) == 0
    memory.asked(TicketKey("other", SHA))
    memory.written([row("published")], 1001)
    assert len(memory) == 1


def test_a_row_that_comes_later_is_told_with_its_number() -> None:
    memory = TicketMemory()
    heard: list[TicketKey] = []
    memory.on_answered = heard.extend
    assert memory.asked(KEY) is None
    memory.written([row("published", "b"), row("published"), ("link", {"up": True})], 12)
    told = memory.asked(KEY)
    assert told is not None
    assert (told.event, told.n, heard) == ("published", 11, [KEY])


def test_path_and_digest_count_together() -> None:
    memory = TicketMemory()
    memory.asked(KEY)
    memory.written([row("published", "a", "b" * 64), row("published", "b")], 2)
    assert memory.asked(KEY) is None


def test_the_newest_row_counts() -> None:
    """A message that the server lost has no receipt until it is sent again; a file that is put back waits again."""
    memory = TicketMemory()
    memory.asked(KEY)
    for events, wanted in (
        (["published", "held_lost"], None),
        (["duplicate"], "duplicate"),
        (["refused"], "refused"),
        (["requeued"], None),
        (["published"], "published"),
    ):
        memory.written([row(event) for event in events], 9)
        told = memory.asked(KEY)
        assert (told.event if told else None) == wanted
    memory.written([row("refused"), row("requeued", to="a~2")], 9)  # it went to another place
    told = memory.asked(KEY)
    assert told is not None
    assert told.event == "refused"


def test_a_file_that_is_handed_over_and_still_there_needs_no_search_and_no_old_row() -> None:
    memory = TicketMemory()
    memory.asked(KEY)
    memory.written([row("published")], 1)
    memory.handed_over(KEY, own=True, fresh=True)
    assert memory.asked(KEY) is None
    assert memory.unsearched([KEY]) == []


def test_any_other_needs_one_search() -> None:
    """What a row says meanwhile counts more than what the search finds."""
    memory = TicketMemory()
    memory.handed_over(KEY, own=False, fresh=False)
    assert memory.unsearched([KEY]) == [KEY]
    memory.written([row("duplicate")], 7)
    memory.found(KEY, None)
    told = memory.asked(KEY)
    assert told is not None
    assert (told.n, memory.unsearched([KEY])) == (7, [])


def test_a_file_that_could_not_be_read_is_told_to_its_owner_alone() -> None:
    """Its row has no digest: it is told to whoever could hand it over as its own, and to nobody who guesses."""
    memory = TicketMemory()
    guessed = TicketKey("a", "b" * 64)
    memory.asked(guessed)
    memory.handed_over(KEY, own=True, fresh=True)
    memory.written([row("refused", sha256="")], 1)
    assert memory.asked(guessed) is None
    assert memory.asked(KEY) is not None


def test_the_oldest_are_forgotten_and_need_a_search_again() -> None:
    memory = TicketMemory(most=2)
    for name in "abc":
        memory.handed_over(TicketKey(name, SHA), own=True, fresh=True)
    assert len(memory) == 2
    assert memory.unsearched([TicketKey(name, SHA) for name in "abc"]) == [KEY]
