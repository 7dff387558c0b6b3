"""Text for people that other people or programs wrote: nothing in it that a terminal would obey. Pure."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text in one line. What is not printable stands escaped, as in a Python string.

    Not printable are control characters (ESC and line breaks among them), marks that turn the direction of writing,
    blanks other than a space, and half characters, which no output can encode.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def printable_lines(text: str) -> str:
    """The same for a text that is laid out in lines: it keeps them."""
    return "\n".join(map(printable, text.split("\n")))
