"""Which file goes first: by priority, then by time; and again after the rules have changed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.base.rules import Rules, RulesInForce, parse
from syncdaemon.spool.backlog import Backlog, Listing
from syncdaemon.spool.line import BEHIND
from syncdaemon.spool.order import FileOrder
from syncdaemon.spool.waiting import Candidate

HIGH = parse('[[rule]]\nmatch = ["high*"]\npriority = 5\n[[rule]]\nmatch = ["low*"]\npriority = -5')
TIMES = st.integers(-(2**63), 2**63)


@given(st.booleans(), TIMES, TIMES)
def test_a_priority_is_stronger_than_any_time(newest_first: bool, one: int, other: int) -> None:
    order = FileOrder(newest_first, RulesInForce(HIGH))
    assert order.key(b"high", one) < order.key(b"plain", other) < order.key(b"low", one) < BEHIND
    assert order.key(b"high", one) < order.next_due(b"plain") < order.key(b"plain", other)


@given(st.booleans(), TIMES)
def test_a_key_is_made_anew_when_the_rules_change(newest_first: bool, at: int) -> None:
    rules = RulesInForce(Rules())
    order = FileOrder(newest_first, rules)
    plain = order.key(b"high", at)
    rules.now = HIGH
    assert order.again(plain, b"high") == order.key(b"high", at)
    high = order.key(b"high", at)
    rules.now = Rules()
    assert order.again(high, b"high") == plain
    assert order.again(BEHIND, b"high") == BEHIND


def test_a_file_of_a_higher_priority_is_taken_first_however_it_came() -> None:
    """By a scan or by an event, and whatever waits for longer."""
    rules = RulesInForce(HIGH)
    backlog = Backlog(rules=rules)
    backlog.mine()
    first = [(backlog.order.key(path, mtime), path) for path, mtime in ((b"scanned", 1), (b"high scanned", 9))]
    backlog.merge(Listing(first, set(), 0, set(), 0))
    for path in (b"low", b"plain", b"high"):
        backlog.seen(path, 1, 0.0, 1)
    assert backlog.depth == 5
    taken = backlog.take(2, 1.0) + backlog.take(9, 1.0)
    assert [one.path for one in taken] == [b"high", b"high scanned", b"plain", b"scanned", b"low"]
    assert backlog.depth == 5
    backlog.landed([one.path for one in taken])
    assert backlog.depth == 0


def test_what_waits_is_put_in_order_again() -> None:
    rules = RulesInForce(Rules())
    backlog = Backlog(rules=rules)
    backlog.mine()
    first = [(backlog.order.key(path, mtime), path) for path, mtime in ((b"a", 1), (b"high", 9))]
    backlog.merge(Listing(first, set(), 0, set(), 0))
    backlog.put_large(Candidate(b"x"), 1, 1 << 30)
    rules.now = HIGH
    backlog.order_again()
    assert [one.path for one in backlog.take(9, 1.0)] == [b"high", b"a"]


def test_one_that_has_gone_while_it_stood_in_line_is_forgotten() -> None:
    backlog = Backlog(rules=RulesInForce(HIGH))
    for path in (b"a", b"b"):
        backlog.seen(path, 1, 0.0, 1)
    assert [one.path for one in backlog.take(1, 1.0)] == [b"a"]
    backlog.gone(b"b")
    assert backlog.take(9, 1.0) == []
    backlog.landed([b"a"])
    assert backlog.depth == 0
