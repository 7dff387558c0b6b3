"""Whose message it is: what a message says of itself, held against what its sender can't choose. Pure.

A sender writes every header, and so any site into `Edge-Site`. But the server lets it publish on the subjects of its
own site only, and a hub writes down itself by which source it took a message (`Nats-Stream-Source`). What does not fit
is no file of the site that it names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from syncdaemon.receive import incoming
from syncdaemon.receive.incoming import NO_SITE, Arrival, Freed, Rejected, Retry, Wanted, site_of
from syncdaemon.stream.buckets import ReadableBuckets
from syncdaemon.stream.stored import header_fields
from syncdaemon.stream.tombstone import is_tombstone

Sites = set[str | None]

SUBJECT_UNKNOWN = "subject_unknown"

_LABEL = re.compile(r"[a-z0-9-]{1,63}")
_TOKEN = r"[^.]+"
_SOURCE = "Nats-Stream-Source"
_SHOWN = 80  # characters of a subject
_REMEDY = "say with --site-token which of its tokens is the site (0: none)"


class SiteToken:
    """Which site a subject belongs to."""

    def __init__(self, form: re.Pattern[str], described: str, certain: bool) -> None:
        """`certain`: every subject has this form. Else there may be others, of which nothing is known."""
        self._form, self.described, self.certain = form, described, certain

    @classmethod
    def of(cls, template: str, number: int | None) -> SiteToken | None:
        """Token `number` (from 1) of any subject is the site; None: where `template` has `{site}`.

        None where no site is bound to its subjects: for number 0, or a template without a site.
        """
        if number is not None:
            form = rf"(?:{_TOKEN}\.){{{number - 1}}}(?P<site>{_TOKEN})(?:\.|$)"
            return cls(re.compile(form), f"token {number} of its subject", certain=True) if number else None
        if "{site}" not in template:
            return None
        tokens = template.split(".")
        last = max(at for at, token in enumerate(tokens) if "{site}" in token)
        form = r"\.".join(_TOKEN if token == "{sha256}" else re.escape(token) for token in tokens[: last + 1])
        placeholder = re.escape("{site}")
        form = form.replace(placeholder, f"(?P<site>{_TOKEN})", 1).replace(placeholder, "(?P=site)")
        return cls(re.compile(form + r"(?:\.|$)"), f"its subject ({template})", certain=False)

    def site(self, subject: str) -> str | None:
        """The token in the site's place, whatever it is; None where the subject has no such place."""
        found = self._form.match(subject)
        return found["site"] if found else None

    def label(self, subject: str) -> str | None:
        """The site, where a site's label is in its place."""
        site = self.site(subject)
        return site if site is not None and _LABEL.fullmatch(site) else None


class Judged(NamedTuple):
    """What a message stands for, and the site that sent it, as far as its origin tells: never as the message says."""

    wanted: Wanted | Rejected | Retry | Freed
    site: str


class Origin:
    """Holds messages against their origin. Without `token`, any message may name any site."""

    def __init__(self, token: SiteToken | None, buckets: ReadableBuckets) -> None:
        self._token, self._buckets = token, buckets

    def judge(self, arrival: Arrival) -> Judged:
        """What this message stands for."""
        subject, headers = arrival.subject.decode(errors="replace"), arrival.headers or b""
        if is_tombstone(header_fields(headers), len(arrival.data)):
            return Judged(Freed(), NO_SITE)
        wanted = incoming.read(headers)
        if self._token is None:
            site, why = site_of(header_fields(headers)), None
        else:
            sources = [_sites(source, self._token) for source in _sources(headers)]
            site = _sender(self._token.label(subject), sources)
            why = _of_another(wanted.site, subject, sources, self._token) if isinstance(wanted, Wanted) else None
        if isinstance(wanted, Rejected):
            return Judged(wanted, site)
        return Judged(why or self._elsewhere(wanted) or wanted, site)

    def _elsewhere(self, wanted: Wanted) -> Rejected | None:
        """Why its object is not read."""
        why = self._buckets.refusal(wanted.object, wanted.site) if wanted.object else ""
        return Rejected("bucket_refused", why) if why else None


def _sender(site: str | None, sources: Sequence[Sites]) -> str:
    """The site that sent a message on a subject of `site`: none where a source says another one.

    Either may be forged then: the subject by the server that was sourced from, the source by a client, which servers
    before nats-server 2.15 do not refuse.
    """
    return site if site is not None and all(_may_bring(told, site) for told in sources) else NO_SITE


def _of_another(site: str, subject: str, sources: Sequence[Sites], token: SiteToken) -> Rejected | Retry | None:
    """Why a message is not of the `site` that it names; None where it is."""
    found = token.site(subject)
    if found is None and not token.certain:
        return Retry(SUBJECT_UNKNOWN, f"{subject[:_SHOWN]!r} is none of SYNC_SUBJECT; {_REMEDY}")
    if found != site:
        said = f"Edge-Site is {site}, and {token.described} says {(found or '')[:_SHOWN]!r}"
        return Rejected("site_mismatch", said)
    for told in sources:
        if not _may_bring(told, site):
            names = ", ".join(sorted(map(str, told)))
            return Rejected("source_mismatch", f"Edge-Site is {site}, and it came by the source of {names}")
    return None


def _may_bring(told: Sites, site: str) -> bool:
    """Whether a source that brings messages of these sites may bring one of this site."""
    return None in told or site in told


def _sources(headers: bytes) -> list[str]:
    """Every header that says where the message was sourced from. One of them is the hub's own."""
    lines = headers.decode(errors="replace").split("\r\n")[1:]
    return [value.strip() for name, _, value in (line.partition(":") for line in lines) if name == _SOURCE]


def _sites(source: str, token: SiteToken) -> Sites:
    """The sites that a source brings messages of. None among them: it does not tell all of them.

    Its words are stream, sequence, filters, what the filters are transformed to, and the subject at the origin
    (nats-server 2.15). Form feeds stand between several filters. What a transform writes is surer than what its filter
    asked for, since the origin applies the filter.
    """
    words = source.split(" ")
    if len(words) < 4:
        return {None}
    pairs = zip(words[2].split("\f"), words[3].split("\f"), strict=False)
    return {token.label(written) or token.label(asked) for asked, written in pairs}
