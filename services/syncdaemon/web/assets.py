"""The files of a page: they ship with the package, and are read once."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}


@cache
def asset(folder: str, name: str) -> tuple[bytes, str]:
    """The content of a file in a folder beside this module, and its Content-Type."""
    return files(__package__).joinpath(folder, name).read_bytes(), _KINDS[name.rpartition(".")[2]]
