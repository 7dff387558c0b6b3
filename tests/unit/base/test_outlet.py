"""What is written to standard error never blocks and never raises; what finds no room is counted and said."""

from __future__ import annotations

import fcntl
import gc
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count

import pytest

from syncdaemon.base.outlet import Errors, Outlet, plain_notice
from tests.support.process import eventually

SMALL = 4096  # the least that a pipe holds
_NUMBERS = count(500)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe that holds little. The thread of an earlier test may still write: no number is given to a second test."""
    read, end = os.pipe()
    write = fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, next(_NUMBERS))
    os.close(end)
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, SMALL)
    yield read, write
    for descriptor in (read, write):
        with suppress(OSError):  # the test closed it
            os.close(descriptor)


def drained(descriptor: int, outlet: Outlet) -> bytes:
    """All that comes out, until the outlet has nothing more."""
    os.set_blocking(descriptor, False)
    found = bytearray()

    def read() -> bool:
        idle = outlet.flush(0.01)
        try:
            while data := os.read(descriptor, 65_536):
                found.extend(data)
        except BlockingIOError:
            pass
        return idle

    eventually(read, what="all is written")
    return bytes(found)


def _read_to_the_end(descriptor: int) -> None:
    while os.read(descriptor, 65_536):
        pass


def test_lines_come_out_in_their_order(pipe: tuple[int, int]) -> None:
    read, write = pipe
    outlet = Outlet(write, plain_notice)
    for number in range(1000):
        outlet.add(f"{number}\n")
    assert drained(read, outlet) == b"".join(b"%d\n" % number for number in range(1000))
    assert outlet.lost == 0


def test_a_reader_that_stands_still_costs_the_newest_lines_and_neither_time_nor_memory(
    pipe: tuple[int, int],
) -> None:
    """The lines that were lost are counted, and a line says how many when the reader goes on."""
    read, write = pipe
    outlet = Outlet(write, plain_notice, room=100_000)
    line = "x" * 999 + "\n"
    began = time.monotonic()
    for _ in range(10_000):
        outlet.add(line)
    assert time.monotonic() - began < 5
    kept = 10_000 - outlet.lost
    assert 80 <= kept <= 170  # 100,000 bytes, the pipe, and what the thread has in its hand
    text = drained(read, outlet)
    assert text.count(b"x\n") == kept
    assert plain_notice(outlet.lost).encode() in text


def test_a_flush_waits_a_moment_for_a_reader_that_stands_still_and_then_not_at_all(pipe: tuple[int, int]) -> None:
    _, write = pipe
    outlet = Outlet(write, plain_notice)
    outlet.add("x" * 2 * SMALL)
    began = time.monotonic()
    for _ in range(100):
        outlet.flush_unless_stuck()
    assert time.monotonic() - began < 2
    assert not outlet.flush(0.01)


def test_a_reader_that_is_gone_costs_lines_and_no_error(pipe: tuple[int, int]) -> None:
    read, write = pipe
    os.close(read)
    outlet = Outlet(write, plain_notice)
    outlet.add("one\ntwo\n")
    assert outlet.flush(5)
    assert outlet.lost == 2


def test_half_a_line_gets_an_end_before_the_next_one(monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, int]) -> None:
    """As on a disk that becomes full in the middle of a line."""
    read, write = pipe
    real, room = os.write, [3, 0]

    def limited(descriptor: int, data: memoryview) -> int:
        if descriptor != write or not room:
            return real(descriptor, data)
        if take := room.pop(0):
            return real(descriptor, data[:take])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", limited)
    outlet = Outlet(write, plain_notice)
    outlet.add("broken\n")
    outlet.flush(5)
    outlet.add("whole\n")
    text = drained(read, outlet)
    assert set(text.splitlines()) == {b"bro", b"whole", plain_notice(1).encode().strip()}


def test_a_pipe_that_does_not_block_is_waited_for(pipe: tuple[int, int]) -> None:
    """Another program that shares it made it so."""
    read, write = pipe
    os.set_blocking(write, False)
    outlet = Outlet(write, plain_notice)
    for _ in range(100):
        outlet.add("x" * 999 + "\n")
    assert len(drained(read, outlet)) == 100_000
    assert outlet.lost == 0


def test_a_line_of_the_garbage_collector_in_the_middle_of_a_line_does_no_harm(pipe: tuple[int, int]) -> None:
    """It comes in the same thread, wherever an object is made."""
    read, write = pipe
    outlet = Outlet(write, plain_notice, room=10_000_000)

    class Noisy:
        def __init__(self) -> None:
            self.circle = self

        def __del__(self) -> None:
            outlet.add("collected\n")

    reader = threading.Thread(target=_read_to_the_end, args=(read,))
    reader.start()
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(2_000):
            Noisy()
            outlet.add("line\n")
    finally:
        gc.set_threshold(*threshold)
    assert outlet.flush(10)
    os.close(write)
    reader.join()
    assert outlet.lost == 0


def test_standard_error_takes_any_text_in_any_locale(pipe: tuple[int, int]) -> None:
    """A character that the locale lacks is written as an escape."""
    read, write = pipe
    outlet = Outlet(write, plain_notice)
    errors = Errors(outlet, write, "ascii")
    assert errors.write("\u00e9\udcff\n") == 3
    assert drained(read, outlet) == b"\\xe9\\udcff\n"
    with pytest.raises(TypeError):
        errors.write(b"bytes")  # type: ignore[arg-type]


def test_a_descriptor_that_was_closed_at_the_start_is_never_written_to(pipe: tuple[int, int]) -> None:
    """By now it may be any file's."""
    read, write = pipe
    outlet = Outlet(write, plain_notice)
    outlet.closed()
    outlet.add("line\n")
    assert drained(read, outlet) == b""
