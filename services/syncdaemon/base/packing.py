"""A file's bytes as a zstd frame (RFC 8878), and what such a frame holds. Pure."""

from __future__ import annotations

import io
from hashlib import sha256

import zstandard

HEADER = "Content-Encoding: zstd\r\n"
_WINDOW = 8 << 20  # bytes of memory that a frame may ask for; every decoder has so much (RFC 8878, 3.1.1.1.2)
_PIECE = 128 << 10


class Packer:
    """Packs files, one after another; not for two threads at once, since it keeps the memory that it needs."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor()

    def pack(self, data: bytes) -> bytes | None:
        """A frame of it that makes a smaller message; None where there is none."""
        packed = self._compressor.compress(data)
        return packed if len(packed) + len(HEADER) < len(data) else None


def digest(packed: bytes, limit: int) -> str | None:
    """The SHA-256 in hexadecimal of what is packed; None where it is no frame, or holds more than `limit` bytes.

    Needs little memory, and no more time than `limit` bytes take, however much there claims to be.
    """
    found, left = sha256(), limit
    try:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        with decompressor.stream_reader(io.BytesIO(packed), read_across_frames=True) as reader:
            while piece := reader.read(_PIECE):
                left -= len(piece)
                if left < 0:
                    return None
                found.update(piece)
    except zstandard.ZstdError:
        return None
    return found.hexdigest()
