"""The files of a ledger: one for each day, by UTC, plain or compressed (zstd), and how each is opened. Read only.

A closed day may be compressed, moved away or taken away at any time. Where a day lies here in both forms, as a
compression that was cut off leaves it, the plain one counts.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from datetime import date
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from syncdaemon.base.disk import READ
from syncdaemon.base.errors import LedgerDamaged

PACKED = ".zst"
"""What stands behind the name of a day that is compressed."""

_NAME = re.compile(r"(evidence-([a-z0-9-]{1,63})-([0-9]{8})\.jsonl)(\.zst)?", re.ASCII)
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe (FIFO)", stat.S_IFSOCK: "a socket"}
_WINDOW = 128 << 20  # bytes of memory that a frame may ask for: as much as `zstd -d` gives it
_PIECE = 1 << 10  # bytes that are unpacked at once: 4 bytes of a hostile frame can hold 128 KiB
_BUFFER = 256 << 10
_LARGE = 64 << 20  # bytes


def files(folder: Path, site: str) -> list[Path]:
    """A site's ledger files, oldest first, one for each day. What lies behind a name is not looked at."""
    found: dict[str, Path] = {}
    for name in _names(folder):
        match = _NAME.fullmatch(name)
        if match and match[2] == site and not (match[4] and match[1] in found):
            found[match[1]] = folder / name
    return list(found.values())


def all_files(folder: Path, site: str) -> list[Path]:
    """The same, and both forms of a day that lies here plain and compressed."""
    return [folder / name for name in _names(folder) if (match := _NAME.fullmatch(name)) and match[2] == site]


def sites(folder: Path) -> list[str]:
    """The sites that have a ledger in this folder."""
    return sorted({match[2] for name in _names(folder) if (match := _NAME.fullmatch(name))})


def day_path(folder: Path, site: str, day: date) -> Path:
    """The plain file of this day."""
    return folder / f"evidence-{site}-{day:%Y%m%d}.jsonl"


def plain(path: Path) -> Path:
    """The name that a day's file has, or had before it was compressed."""
    return path.with_name(path.name.removesuffix(PACKED))


def day_of(path: Path) -> str:
    """The day of a ledger's file, by its name: YYYYMMDD."""
    return plain(path).name[-14:-6]


def is_packed(path: Path) -> bool:
    """Whether this name is that of a compressed day."""
    return path.name.endswith(PACKED)


def is_large_packed(path: Path) -> bool:
    """Whether a compressed day takes more than a second or so to unpack. One that is gone is not."""
    try:
        return is_packed(path) and path.stat().st_size > _LARGE
    except OSError:
        return False


def is_empty(path: Path) -> bool:
    """Whether a day's file has no byte, as a crash right after its creation leaves it. Raises LedgerDamaged."""
    with _open(path)[0] as file:
        return not os.fstat(file.fileno()).st_size


def open_day(path: Path, offset: int = 0) -> BinaryIO:
    """The rows of a day from this byte on, plain or compressed. A day that has changed its form meanwhile is found.

    Nothing else than a file is opened, so neither a symlink nor a pipe is waited for. The offset counts the bytes of
    the rows, and only a plain file can be sought in.

    Raises LedgerDamaged where the file can't be read; so do reads, where a compressed one is cut off or damaged.
    """
    file, packed = _open(path)
    if not packed:
        file.seek(offset)
        return file
    unpacked = io.BufferedReader(_Unpacked(file, path), _BUFFER)
    while offset and (skipped := unpacked.read(min(offset, _BUFFER))):
        offset -= len(skipped)
    return cast(BinaryIO, unpacked)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _open(path: Path) -> tuple[BinaryIO, bool]:
    """The file, and whether it is packed."""
    other = plain(path) if is_packed(path) else path.with_name(path.name + PACKED)
    for name in (path, other):
        try:
            fd = os.open(name, READ)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):  # a symlink; a socket
                raise LedgerDamaged(f"{name} {_no_file(name)}") from None
            raise LedgerDamaged(f"{name} can't be read: {error.strerror}") from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise LedgerDamaged(f"{name} {_no_file(name)}")
        return os.fdopen(fd, "rb", _BUFFER), is_packed(name)
    raise LedgerDamaged(f"{path} is not there any more: it was moved away just now")


def _no_file(path: Path) -> str:
    try:
        mode = stat.S_IFMT(os.lstat(path).st_mode)
    except OSError:
        mode = 0
    kind = "a symlink" if mode == stat.S_IFLNK else _KINDS.get(mode, "a device")
    return f"is {kind}, not a file of the ledger"


class _Unpacked(io.RawIOBase):
    """What the frames of a file hold. A frame that does not end raises: a cut file is not a shorter one."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._begun = False
        self._left = b""  # packed bytes behind the end of a frame
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """As for any raw file. Raises LedgerDamaged."""
        if not self._ready:
            self._ready = memoryview(self._more())
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _more(self) -> bytes:
        while packed := self._left or self._file.read(_PIECE):
            self._begun = True
            frame = self._frame or zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
            try:
                found = frame.decompress(packed)
            except zstandard.ZstdError as error:
                raise LedgerDamaged(f"{self._path} can't be unpacked: {error}") from None
            self._frame, self._left = (None, frame.unused_data) if frame.eof else (frame, b"")
            if found:
                return found
        if self._frame is not None or not self._begun:
            raise LedgerDamaged(f"{self._path} can't be unpacked: its end was cut off")
        return b""

    def close(self) -> None:
        self._file.close()
        super().close()
