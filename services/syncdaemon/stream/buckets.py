"""Which buckets are read for which site. Pure.

A message names the bucket that has its content, and the bucket's name is its sender's word. So a bucket is read only
where a reader was given it, and one that has a site in its name is read for that site alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from syncdaemon.stream.object_format import ObjectPlace

BUCKET_OF_A_SITE = "edge_replay_{site}"
"""What a site calls its bucket where its settings name no other."""

BUCKETS = ("edge_replay", "edge_replay_*")
"""The patterns of a reader that was given none."""

_SITE = "{site}"
_LABEL = "[a-z0-9-]{1,63}"
_PATTERN = re.compile(r"(?:[A-Za-z0-9_*-]|\{site\}){1,251}")


class ReadableBuckets(NamedTuple):
    """`patterns`: names, in which `*` stands for any characters and `{site}` for the site of the message.

    `own`: what a site calls its bucket. It is readable as well, with the site's label in it.
    """

    patterns: tuple[str, ...]
    own: str

    @classmethod
    def of(cls, patterns: Sequence[str], own: str) -> ReadableBuckets:
        """Without a pattern, those of `BUCKETS`. Raises ValueError for what is no pattern."""
        for pattern in patterns:
            if not _PATTERN.fullmatch(pattern):
                raise ValueError(f"{pattern!r} is no bucket; use letters, digits, - and _, and * or {{site}} in them")
        return cls(tuple(patterns) or BUCKETS, own)

    def refusal(self, place: ObjectPlace, site: str) -> str:
        """Why an object is not read for this site; empty where it is."""
        bucket = place.bucket
        templates = [pattern for pattern in (self.own, *self.patterns) if _SITE in pattern]
        if any(_expression(template, re.escape(site)).fullmatch(bucket) for template in templates):
            return ""
        for template in templates:
            if found := _expression(template, _LABEL).fullmatch(bucket):
                return f"the bucket {bucket} belongs to the site {found['site']}"
        if not any(_expression(pattern, _LABEL).fullmatch(bucket) for pattern in self.patterns):
            return f"the bucket {bucket} is none of {', '.join(self.patterns)}"
        return ""


def _expression(pattern: str, site: str) -> re.Pattern[str]:
    """`site`: what may stand in the place of `{site}`; where that comes twice, it is the same in both."""
    text = re.escape(pattern).replace(re.escape("*"), ".*")
    placeholder = re.escape(_SITE)
    return re.compile(text.replace(placeholder, f"(?P<site>{site})", 1).replace(placeholder, "(?P=site)"))
