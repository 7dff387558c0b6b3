"""Receipts that are in the ledger while their file is still in the replay directory. Pure."""

from __future__ import annotations

from syncdaemon.base.model import Content, Held, Receipt

_File = tuple[str, int, str]


class Unretired:
    """The files of these receipts are delivered, and only have to be moved out of the way.

    A file could not be moved, or the last process ended between the ledger and the move.
    """

    def __init__(self) -> None:
        self._receipts: dict[_File, Receipt] = {}

    def add(self, receipt: Receipt) -> None:
        """The file of this receipt is still there."""
        self._receipts[_file(receipt.content)] = receipt

    def has(self, content: Content) -> bool:
        """Whether exactly this file has a receipt."""
        return _file(content) in self._receipts

    def has_version(self, name: str, mtime_ns: int, sha256: str) -> bool:
        """The same by the path, percent-encoded, the time and the digest of the file."""
        return (name, mtime_ns, sha256) in self._receipts

    def pop(self, content: Content) -> Receipt | None:
        """The receipt of exactly this file, if it has one."""
        if not self._receipts:
            return None
        receipt = self._receipts.pop(_file(content), None)
        return receipt._replace(content=content) if receipt else None

    def held(self) -> list[Held]:
        """Where the stream has these files."""
        kept = ((receipt.seq, receipt.content) for receipt in self._receipts.values())
        return [Held(b"", b"", seq, one.sha256, one.stamp.mtime_ns, one.stamp.size) for seq, one in kept]

    def void(self, held: Held) -> None:
        """The stream has lost this file: it is to be delivered once more."""
        self._receipts = {
            file: receipt
            for file, receipt in self._receipts.items()
            if (receipt.seq, receipt.content.sha256) != (held.seq, held.sha256)
        }


def _file(content: Content) -> _File:
    """What tells a file from every other version and place."""
    return content.name, content.stamp.mtime_ns, content.sha256
