"""The list of a hub's sites: `<site>` or `<site> leaf` a line. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from syncdaemon.base.units import Wrong, site


class HubSite(NamedTuple):
    """A site of the hub. `leaf`: it has a server of its own, which is a leaf node of the hub's."""

    name: str
    leaf: bool = False


def read_sites(text: str) -> list[HubSite]:
    """The sites of this list, of which there is at least one. Raises Wrong as `listed`, and where there is none."""
    if not (found := listed(text)):
        raise Wrong("there is no site in it", "write <site>, or <site> leaf, a line")
    return found


def listed(text: str) -> list[HubSite]:
    """The sites of this list, in its order. Empty lines, and what stands behind a `#`, count for nothing.

    Raises Wrong, which names the line.
    """
    found: dict[str, HubSite] = {}
    for number, words in _lines(text):
        name, *rest = words
        if rest not in ([], ["leaf"]):
            raise Wrong(f"line {number}: {' '.join(words)!r} is no site", "write <site>, or <site> leaf")
        try:
            site(name)
        except Wrong as wrong:
            raise Wrong(f"line {number}: {name!r} is {wrong.what}", wrong.remedy) from None
        if name in found:
            raise Wrong(f"line {number}: the site {name} is there twice", "leave one of them")
        found[name] = HubSite(name, bool(rest))
    return list(found.values())


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if words := line.partition("#")[0].split():
            yield number, words
