"""How many bytes wait, as far as it can be known without a list of all files. Pure."""

from __future__ import annotations


class Sizes:
    """The sizes of the files that were looked at since the last scan began."""

    def __init__(self) -> None:
        self._files = self._bytes = 0

    def add(self, size: int) -> None:
        """A file of so many bytes was looked at."""
        self._files += 1
        self._bytes += size

    def of(self, files: int) -> int:
        """About how many bytes so many of them have: exact where these are all that were looked at."""
        return round(self._bytes * files / self._files) if self._files else 0
