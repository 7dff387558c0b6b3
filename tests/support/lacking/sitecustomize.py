"""Takes away what macOS does not have. Python imports this at its start if this folder is on PYTHONPATH.

`LACKING` names what is taken away: keys of `TAKEN` with commas between them, or `macos`: all of it, and then
`sys.platform` and `os.uname` say macOS too. What this can't show is how Apple's own calls behave.
"""

from __future__ import annotations

import builtins
import ctypes
import errno
import fcntl
import io
import os
import resource
import select
import signal
import socket
import struct
import sys
import sysconfig
import termios
from types import ModuleType
from typing import Any

TAKEN: dict[str, tuple[str, ...]] = {
    "leases": ("fcntl.F_SETLEASE", "fcntl.F_GETLEASE"),
    "fdatasync": ("os.fdatasync",),
    "advice": ("os.posix_fadvise", "os.posix_fallocate"),
    "holes": ("os.SEEK_DATA", "os.SEEK_HOLE"),
    "paths": ("os.O_PATH", "os.O_TMPFILE", "os.O_DIRECT", "os.O_NOATIME"),
    "openat2": ("libc.openat2",),
    "renameat2": ("libc.renameat2",),
    "prctl": ("libc.prctl",),
    "inotify": ("libc.inotify_init1", "libc.inotify_init", "libc.inotify_add_watch", "libc.inotify_rm_watch"),
    "eventfd": ("os.eventfd", "os.eventfd_read", "os.eventfd_write", "os.EFD_NONBLOCK", "os.EFD_CLOEXEC"),
    "epoll": ("select.epoll",),
    "tcp": ("termios.TIOCOUTQ", "socket.TCP_INFO", "socket.TCP_DEFER_ACCEPT", "socket.TCP_USER_TIMEOUT"),
    "peers": ("socket.SO_PEERCRED", "socket.SO_BINDTODEVICE", "socket.SO_PRIORITY", "socket.SO_DOMAIN"),
    "signals": ("signal.SIGPWR", "signal.SIGSTKFLT", "signal.SIGPOLL", "signal.SIGRTMIN", "signal.SIGRTMAX"),
    "waiting": ("signal.sigwaitinfo", "signal.sigtimedwait", "os.waitid", "os.pidfd_open"),
    "scheduling": tuple(f"os.{name}" for name in dir(os) if name.startswith("sched_") and name != "sched_yield"),
    "attributes": ("os.getxattr", "os.setxattr", "os.listxattr", "os.removexattr"),
    "copies": ("os.copy_file_range", "os.splice", "os.memfd_create", "os.pipe2", "os.getrandom"),
    "users": ("os.setresuid", "os.getresuid", "os.setresgid", "os.getresgid"),
    "errors": tuple(
        f"errno.{name}"
        for name in (
            *("EUCLEAN", "EREMOTEIO", "ENOMEDIUM", "EMEDIUMTYPE", "ECOMM", "EREMCHG", "ENOTUNIQ", "EBADFD", "ENONET"),
            *("ENOKEY", "EKEYEXPIRED", "EKEYREVOKED", "EKEYREJECTED", "ERESTART", "ESTRPIPE", "EISNAM", "ERFKILL"),
        )
    ),
    "proc": ("/proc",),
}
_OPENAT2 = 437
_PEERCRED = 17  # SO_PEERCRED
_MODULES: dict[str, ModuleType] = {
    module.__name__: module for module in (errno, fcntl, os, select, signal, socket, termios)
}


class _NoSyscall:
    """In the place of syscall(2): a kernel that does not know the call."""

    def __call__(self, *_: object) -> int:
        ctypes.set_errno(errno.ENOSYS)
        return -1


def take_away(what: str) -> None:
    """One key of `TAKEN`."""
    calls = {name.removeprefix("libc.") for name in TAKEN[what] if name.startswith("libc.")}
    if calls:
        _hide(calls)
    if what == "proc":
        _hide_proc()
    if what == "peers":
        _add_getpeereid()
    for name in TAKEN[what]:
        module, _, attribute = name.partition(".")
        if module in _MODULES and hasattr(_MODULES[module], attribute):
            delattr(_MODULES[module], attribute)


def _hide(calls: set[str]) -> None:
    real: Any = ctypes.CDLL.__getattr__

    def look_up(library: ctypes.CDLL, name: str) -> Any:
        if name in calls:
            raise AttributeError(name)
        if name == "syscall" and "openat2" in calls:
            return _NoSyscall()
        return real(library, name)

    ctypes.CDLL.__getattr__ = look_up  # type: ignore[method-assign]


class _GetPeerEid:
    """getpeereid(3), which macOS has: by what was taken away."""

    def __call__(self, fd: int, uid: Any, gid: Any) -> int:
        with socket.socket(fileno=os.dup(fd)) as connection:
            found = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, _PEERCRED, 12))
        uid._obj.value, gid._obj.value = found[1:]
        return 0


def _add_getpeereid() -> None:
    real: Any = ctypes.CDLL.__getattr__

    def look_up(library: ctypes.CDLL, name: str) -> Any:
        return _GetPeerEid() if name == "getpeereid" else real(library, name)

    ctypes.CDLL.__getattr__ = look_up  # type: ignore[method-assign]


def _hide_proc() -> None:
    """No call that takes a path finds anything below /proc."""
    for module, name in (
        *((os, name) for name in ("open", "stat", "lstat", "listdir", "scandir", "readlink", "access")),
        *((module, "open") for module in (io, builtins)),
    ):
        setattr(module, name, _without_proc(getattr(module, name)))


def _without_proc(call: Any) -> Any:
    def refused(path: Any = ".", *arguments: Any, **named: Any) -> Any:
        if isinstance(path, str | bytes) and os.fsencode(path).startswith(b"/proc/"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return call(path, *arguments, **named)

    for known in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        if call in known:
            known.add(refused)
    return refused


def become_macos() -> None:
    """All of it, and what macOS has instead, as far as Linux lets us say so."""
    for what in TAKEN:
        take_away(what)
    fcntl.F_FULLFSYNC = 51  # type: ignore[attr-defined]  # Linux answers EINVAL, as a file system without it does
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    proxies = ModuleType("_scproxy")  # of the standard library, on macOS only
    vars(proxies).update(_get_proxy_settings=dict, _get_proxies=dict)
    sys.modules["_scproxy"] = proxies
    sysconfig.get_config_vars()  # read while the platform still has the name of its file; kept after that
    name = os.uname()
    os.uname = lambda: os.uname_result(("Darwin", name.nodename, "24.1.0", name.version, "arm64"))
    sys.platform = "darwin"


_lacking = os.environ.get("LACKING", "")
if _lacking == "macos":
    become_macos()
elif _lacking:
    for _what in _lacking.split(","):
        take_away(_what)
