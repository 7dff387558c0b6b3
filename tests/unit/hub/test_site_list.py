"""The list of a hub's sites."""

from __future__ import annotations

import pytest

from syncdaemon.base.units import Wrong
from syncdaemon.hub.site_list import HubSite, read_sites


def test_a_site_a_line_and_a_word_for_those_behind_a_leaf_node() -> None:
    text = "# all of them\n\nnorth-1\nsouth leaf   # since May\n"
    assert read_sites(text) == [HubSite("north-1"), HubSite("south", leaf=True)]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "there is no site"),
        ("# none\n", "there is no site"),
        ("a\nb twig\n", "line 2: 'b twig' is no site"),
        ("a\nb leaf leaf\n", "line 2"),
        ("a\nNorth\n", "line 2: 'North' is"),
        ("a.b\n", "line 1: 'a.b' is"),
        ("*\n", "line 1: '*' is"),
        ("a\nb\na leaf\n", "line 3: the site a is there twice"),
    ],
)
def test_a_list_that_is_wrong_says_where(text: str, what: str) -> None:
    with pytest.raises(Wrong) as caught:
        read_sites(text)
    assert what in str(caught.value)
