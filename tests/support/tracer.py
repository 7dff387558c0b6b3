"""Runs a program and kills it at one certain call to the kernel that changes the disk or the wire.

    python -m tests.support.tracer FOLDER:FOLDER TRACE AT WHEN -- program argument...

Counted are the calls of all its threads together that change a file below one of the folders, or that send over TCP;
each is written to TRACE as a line. At the AT-th (0: never) the whole program gets SIGKILL: `before` the kernel does
anything, `after` it has done all, or `within`: with half of the bytes written, where the call writes any.

Linux, x86_64 and aarch64; the stops are those of ptrace(2).
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_SYSCALL, _SETOPTIONS, _TRACEME, _GET_SYSCALL_INFO = 24, 0x4200, 0, 0x420E
_OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x100000  # SYSGOOD, FORK, VFORK, CLONE, EXEC, EXITKILL
_WALL = 0x40000000
_SYSCALL_STOP = signal.SIGTRAP | 0x80
_PIDFD_GETFD = 438
_INFO = struct.Struct("=B3xIQQ7Q")  # struct ptrace_syscall_info at an entry: number and six arguments
_ENTRY, _EXIT = 1, 2

# By name: the number on x86_64 and on aarch64 (None: that machine has none), and which arguments are what.
_CALLS = {
    "openat": (257, 56),
    "write": (1, 64),
    "pwrite64": (18, 68),
    "writev": (20, 66),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "ftruncate": (77, 46),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "link": (86, None),
    "linkat": (265, 37),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "utimensat": (280, 88),
}
_COLUMN = {"x86_64": 0, "aarch64": 1}
_NAMES = {numbers[_COLUMN[platform.machine()]]: name for name, numbers in _CALLS.items()}
_BY_DESCRIPTOR = ("write", "pwrite64", "writev", "sendto", "sendmsg", "fsync", "fdatasync", "ftruncate", "utimensat")
_PATHS: dict[str, tuple[tuple[int | None, int], ...]] = {  # which arguments are the folders and the paths in them
    "openat": ((0, 1),),
    "rename": ((None, 0), (None, 1)),
    "renameat": ((0, 1), (2, 3)),
    "renameat2": ((0, 1), (2, 3)),
    "link": ((None, 0), (None, 1)),
    "linkat": ((0, 1), (2, 3)),
    "unlink": ((None, 0),),
    "unlinkat": ((0, 1),),
    "mkdir": ((None, 0),),
    "mkdirat": ((0, 1),),
    "rmdir": ((None, 0),),
}
_WRITES = ("write", "pwrite64", "sendto")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> int:
    result = int(_libc.ptrace(request, pid, address, data))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


class Call(NamedTuple):
    """A call that counts."""

    name: str
    target: str
    arguments: tuple[int, ...]


class Tracer:
    """One program, from its start to its end."""

    def __init__(self, folders: str, trace: Path, at: int, when: str) -> None:
        self._folders, self._at, self._when = tuple(folders.split(":")), at, when
        self._trace = trace.open("w", buffering=1)
        self._count = 0
        self._last: set[int] = set()  # threads in the call after which the end comes
        self._known: set[int] = set()
        self._buffer = ctypes.create_string_buffer(_INFO.size)

    def run(self, program: list[str]) -> int:
        """Runs it to its end; what a shell would call its exit code."""
        child = os.fork()
        if not child:
            _ptrace(_TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            os.execvp(program[0], program)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: os.kill(child, number))
        os.waitpid(child, 0)
        _ptrace(_SETOPTIONS, child, 0, _OPTIONS)
        self._known.add(child)
        self._go_on(child, 0)
        while True:
            pid, status = os.waitpid(-1, _WALL)
            if os.WIFSTOPPED(status):
                self._stopped(child, pid, status)
            elif pid == child:
                return os.waitstatus_to_exitcode(status) % 256

    def _stopped(self, child: int, pid: int, status: int) -> None:
        number = os.WSTOPSIG(status)
        try:
            if number == _SYSCALL_STOP:
                self._at_call(child, pid)
                number = 0
            elif status >> 16 or (number == signal.SIGSTOP and pid not in self._known):
                number = 0  # a stop of ptrace's own: an event, or a thread that is new
            self._known.add(pid)
            self._go_on(pid, number)
        except ProcessLookupError:
            pass  # killed meanwhile

    def _go_on(self, pid: int, number: int) -> None:
        _ptrace(_SYSCALL, pid, 0, number)

    def _at_call(self, child: int, pid: int) -> None:
        _ptrace(_GET_SYSCALL_INFO, pid, _INFO.size, ctypes.addressof(self._buffer))
        kind, _, _, _, number, *arguments = _INFO.unpack(self._buffer.raw)
        if kind == _EXIT and pid in self._last:
            os.kill(child, signal.SIGKILL)
        if kind != _ENTRY or (call := self._counts(pid, number, tuple(arguments))) is None:
            return
        self._count += 1
        self._trace.write(f"{self._count}\t{call.name}\t{call.target!a}\n")
        if self._count != self._at:
            return
        if self._when == "after":
            self._last.add(pid)
            return
        if self._when == "within" and call.name in _WRITES:
            _write_half(child, pid, call)
        os.kill(child, signal.SIGKILL)

    def _counts(self, pid: int, number: int, arguments: tuple[int, ...]) -> Call | None:
        if (name := _NAMES.get(number)) is None:
            return None
        if name == "openat" and not arguments[2] & os.O_CREAT:
            return None
        if name in _BY_DESCRIPTOR:
            target = self._descriptor(pid, arguments[0])
        else:
            paths = [
                os.path.join("" if folder is None else _folder(pid, arguments[folder]), _text(pid, arguments[at]))
                for folder, at in _PATHS[name]
            ]
            target = " ".join(paths) if any(path.startswith(self._folders) for path in paths) else ""
        return Call(name, target, arguments) if target else None

    def _descriptor(self, pid: int, fd: int) -> str:
        try:
            name = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            return ""
        if name.startswith("socket:["):
            return "tcp" if name[8:-1] in _tcp(pid) else ""
        return name if name.startswith(self._folders) else ""


def _tcp(pid: int) -> Iterator[str]:
    """The inodes of all TCP sockets."""
    with open(f"/proc/{pid}/net/tcp") as table:
        for line in table:
            yield line.split()[9]


def _folder(pid: int, fd: int) -> str:
    """Where the folder of this descriptor is; empty for the working directory, which has none."""
    try:
        return os.readlink(f"/proc/{pid}/fd/{ctypes.c_int(fd).value}")
    except OSError:
        return ""


def _text(pid: int, address: int) -> str:
    """The string at this address of the program."""
    return os.fsdecode(_bytes(pid, address, 4096).partition(b"\0")[0])


def _bytes(pid: int, address: int, size: int) -> bytes:
    found = b""
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        memory.seek(address)
        while len(found) < size:
            step = min(size - len(found), 4096 - (address + len(found)) % 4096)  # the next page may not be there
            try:
                found += memory.read(step)
            except OSError:
                break
            if size == 4096 and b"\0" in found:
                break
    return found


def _write_half(child: int, pid: int, call: Call) -> None:
    """Does the first half of the program's write for it, through its own descriptor."""
    fd, address, size, at = call.arguments[:4]
    data = _bytes(pid, address, size)[: size // 2]
    pidfd = os.pidfd_open(child)
    own = _libc.syscall(_PIDFD_GETFD, pidfd, fd, 0)
    if own < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    if call.name == "pwrite64":
        os.pwrite(own, data, at)
    else:
        os.write(own, data)


if __name__ == "__main__":
    folders_, trace_, at_, when_, _, *program_ = sys.argv[1:]
    sys.exit(Tracer(folders_, Path(trace_), int(at_), when_).run(program_))
