"""Which series a PromQL expression reads."""

from __future__ import annotations

import re

_NOT_NAMES = re.compile(
    r'"[^"]*"'  # texts
    r"|\{[^}]*\}|\[[^\]]*\]"  # matchers and ranges
    r"|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"  # lists of labels
    r"|\b(?:and|or|unless|bool|offset)\b"
    r"|\b\d[\w.]*"  # numbers and durations
    r"|\b\w+(?=\s*\()"  # functions
    r"|\$\w+"
)
_AGGREGATION = re.compile(r"\b(?:sum|min|max|count|group|avg|topk|bottomk|quantile)\b")
_NAME = re.compile(r"[A-Za-z_:][\w:]*")


def series(expression: str) -> set[str]:
    """The names of the series in an expression."""
    without_texts = _NOT_NAMES.sub(" ", re.sub(r'"[^"]*"', '""', expression))
    return set(_NAME.findall(_AGGREGATION.sub(" ", without_texts)))
