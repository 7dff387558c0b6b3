"""The live page as the lines of a terminal, from what was told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from io import StringIO
from math import ceil
from typing import Any

from rich.console import Console
from rich.text import Text

from syncdaemon.base.printable import printable
from syncdaemon.base.units import duration_in_words, size_in_words
from syncdaemon.cli.work.told import PageTold

_STYLES = {"safe": "bold green", "waiting": "bold yellow", "trouble": "bold red", "unknown": "bold"}
_BARS = " ▁▂▃▄▅▆▇█"
_KEYS = "q ends"
_LABEL = 26  # characters for what a line is about


def lines(told: PageTold, now: float, silent: float | None, width: int, height: int, colours: str | None) -> list[str]:
    """So many lines with their colours, each within the width.

    `now` by the wall clock; `silent`: seconds without a word, where that is too long; `colours`: as rich names them.
    """
    out = StringIO()
    console = Console(
        file=out,
        width=width,
        color_system=colours,  # type: ignore[arg-type]
        force_terminal=colours is not None,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
    )
    for text in _texts(told, now + told.ahead, silent, width):
        console.print(text, no_wrap=True, overflow="ellipsis", crop=True)
    found = out.getvalue().splitlines()
    if len(found) > height - 1:
        found = found[: height - 1]
    return [*found, *[""] * (height - 1 - len(found)), _KEYS][:height]


def _texts(told: PageTold, now: float, silent: float | None, width: int) -> Iterator[Text]:
    about, answer, link = told.section("about"), told.section("answer"), told.section("link")
    yield Text.assemble(
        (_plain(about.get("name", "syncdaemon")), "bold"), f"  syncdaemon {_plain(about.get('version'))}"
    )
    if silent is not None:
        yield Text(
            f"? Not known: no word from the daemon for {duration_in_words(round(silent))}; trying again", "bold red"
        )
    else:
        question = "Is my evidence safe?" if about.get("kind") == "site" else "Does evidence arrive?"
        style = _STYLES.get(answer.get("level", ""), "bold")
        yield Text.assemble(f"{question} ", (f"{_plain(answer.get('word'))}.", style))
        yield from _wrapped(_plain(answer.get("text")), width, style)
    for why in answer.get("why", ()):
        yield from _wrapped(_plain(why), width, "")
    yield Text("")
    yield _link(link, now)
    slots = told.rows("slots")
    yield _line("Link, last hour", Text(_timeline(slots, max(10, width - _LABEL - 2))))
    for name, value in told.rows("facts"):
        yield _line(_plain(name), Text(_plain(value)))
    column = 3
    for plot in about.get("plots", ()):
        values = [sum(one[column : column + len(plot["lines"])]) for one in slots]
        column += len(plot["lines"])
        highest = _amount(max(values, default=0), plot["unit"])
        room = max(10, width - _LABEL - len(highest) - 12)
        yield _line(_plain(plot["title"]), Text.assemble((_bars(values[-room:]), "blue"), f" highest {highest}"))
    yield from _lists(told, now, width)


def _lists(told: PageTold, now: float, width: int) -> Iterator[Text]:
    ill = [check for check in told.rows("checks") if not check[2]]
    for _, title, _, found, todo in ill:
        yield Text("")
        yield Text.assemble(("✕ ", "bold red"), (_plain(title), "bold"), f": {_plain(found)}")
        yield from _wrapped(f"  What to do: {_plain(todo)}", width, "")
    if work := told.rows("work"):
        yield _head("Large files on the way")
        for name, what, done, size in work:
            share = done / size if size else 1.0
            yield Text(f"{'█' * int(20 * share):░<20} {share:4.0%} {_plain(what)}: {_plain(name)}")
    if refused := told.section("refused").get("rows"):
        yield _head("Refused")
        for name, reason, error, _ in refused[:5]:
            yield Text(f"{_plain(name)}: {_plain(reason)} {_plain(error)}")
    if rejected := told.rows("rejected"):
        yield _head("Rejected messages")
        for reason, number in rejected:
            yield _line(_plain(reason), Text(f"{number:,}"))
    if sites := told.rows("sites"):
        yield _head("By site")
        for name, files, size, at in reversed(sites[-8:]):
            yield _line(_plain(name), Text(f"{files:,} files, {size_in_words(size)}, newest {_ago(now, at)}"))
    if receipts := told.rows("receipts"):
        yield _head("Newest receipts" if told.section("about").get("kind") == "site" else "Newest files")
        for _, at, name, size, seq, _ in reversed(receipts):
            yield Text.assemble((f"{_clock(at)}  {size_in_words(size):>11}  {seq:>9}  ", "dim"), _plain(name))


def _link(link: Any, now: float) -> Text:
    up, since = bool(link.get("up")), link.get("since")
    shown = Text("up", "bold green") if up else Text("down", "bold red")
    if since:
        shown.append(f" for {_duration(now - since)}", "default")
    return _line("Link", shown.append("" if up else f"  {_plain(link.get('problem'))}", "default"))


def _line(label: str, value: Text) -> Text:
    return Text.assemble((f"{label[:_LABEL]:<{_LABEL}}  ", "dim"), value)


def _head(title: str) -> Text:
    return Text(f"\n{title}", "bold")


def _wrapped(text: str, width: int, style: str) -> Iterator[Text]:
    yield from Text(text, style).wrap(Console(width=width), width)


def _timeline(slots: Sequence[Sequence[float]], room: int) -> str:
    """`█` up, `▄` up for a part, `_` down, a blank where nothing is known; the newest at the right."""
    if not slots:
        return ""
    by_number = {int(one[0]): one for one in slots}
    newest = int(slots[-1][0])
    each = -(-240 // room)
    parts = []
    for first in range(newest - each * min(room, -(-240 // each)) + 1, newest + 1, each):
        some = [by_number[number] for number in range(first, first + each) if number in by_number]
        known, up = sum(one[1] for one in some), sum(one[2] for one in some)
        parts.append(" " if not known else "█" if up >= known else "▄" if up else "_")
    return "".join(parts).lstrip()


def _bars(values: Sequence[float]) -> str:
    most = max(values, default=0)
    top = len(_BARS) - 1
    return "".join(_BARS[min(top, ceil(value * top / most)) if most else 0] for value in values)


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        return size_in_words(int(value))
    return f"{size_in_words(int(value))}/s" if unit == "bytes/s" else f"{value:,.0f}"


def _plain(value: object) -> str:
    return "" if value is None else printable(str(value))


def _duration(seconds: float) -> str:
    whole = max(0, int(seconds))
    for size in (86_400, 3_600, 60):
        if whole >= size:
            whole -= whole % size  # it is written anew when it is another one, and not each second
            break
    return duration_in_words(whole)


def _ago(now: float, at: float) -> str:
    return f"{_duration(now - at)} ago"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%H:%M:%S")
