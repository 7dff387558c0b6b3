"""What is packed comes back as it was; what claims to be more than was announced does not come at all."""

from __future__ import annotations

import random
from hashlib import sha256

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.base.packing import HEADER, Packer, digest

PACKER = Packer()
contents = st.one_of(
    st.binary(max_size=2_000), st.builds(lambda part, times: part * times, st.binary(), st.integers(0, 99))
)


@given(contents)
def test_a_frame_holds_the_same_bytes_in_a_smaller_message(data: bytes) -> None:
    """Or there is none."""
    packed = PACKER.pack(data)
    if packed is None:
        return
    assert len(packed) + len(HEADER) < len(data)
    assert zstandard.ZstdDecompressor().decompress(packed) == data
    assert digest(packed, len(data)) == sha256(data).hexdigest()


@pytest.mark.parametrize("data", [b"", b"OK\n", b"x" * 20, random.Random(1).randbytes(100_000)])
def test_what_would_not_be_smaller_is_left(data: bytes) -> None:
    """The header that a packed message needs is counted."""
    assert PACKER.pack(data) is None


def test_more_than_was_announced_is_not_looked_at() -> None:
    """A gigabyte in some kilobytes, with and without its size in the frame: it is given up at once."""
    sized = zstandard.ZstdCompressor().compress(bytes(1 << 30))
    assert len(sized) < 100_000
    compressor = zstandard.ZstdCompressor().compressobj()
    bare = compressor.compress(bytes(1 << 24)) + compressor.flush()
    for frame in (sized, bare, sized * 3):
        assert digest(frame, 100) is None
    assert digest(bare, 1 << 24) == sha256(bytes(1 << 24)).hexdigest()


def test_a_frame_that_wants_much_memory_is_refused() -> None:
    """More than every decoder has."""
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = compressor.compress(bytes(1 << 20)) + compressor.flush()
    assert digest(frame, 1 << 20) is None


@given(st.binary(max_size=200))
def test_anything_else_is_no_frame(data: bytes) -> None:
    """It has no digest, or that of what it holds; never an error."""
    digest(data, 100)
    digest(b"\x28\xb5\x2f\xfd" + data, 100)


def test_a_frame_that_is_cut_off_or_changed() -> None:
    """Has not the digest of the whole."""
    data = b"evidence " * 1_000
    packed = PACKER.pack(data)
    assert packed is not None
    assert digest(packed[:-3], len(data)) != sha256(data).hexdigest()
    assert digest(b"x" + packed[1:], len(data)) is None
