"""Unix sockets in an open folder.

The address of a Unix socket is a path, of at most 107 bytes (unix(7); 103 on macOS), and is looked up anew, links
included. So the folder is opened first, and the address begins at the path of its descriptor (`descriptors.py`). Where
there is no such path (macOS), the plain path is used.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import suppress

from syncdaemon.base.descriptors import have_paths, path_of
from syncdaemon.base.peers import Peer, peer_of

_MOST = 107 if sys.platform == "linux" else 103
_QUEUE = 4096  # connections that the kernel keeps for us; net.core.somaxconn may be less


def listen_in(folder: int, name: bytes, plain: bytes, *, mode: int, group: int | None) -> socket.socket:
    """A socket that listens at this name in the open folder, with this mode, and with `group` if one is given.

    What was at the name is replaced in one step by a socket that listens already. So a client finds one that answers,
    or that of a process that has ended. `plain`: the folder's path. Raises OSError.
    """
    new = name + b".new"
    _remove(new, folder)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        listening.bind(_address(folder, new, plain))
        if group is not None:
            os.chown(new, -1, group, dir_fd=folder, follow_symlinks=False)
        os.chmod(new, mode, dir_fd=folder)
        listening.listen(_QUEUE)
        os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        listening.close()
        _remove(new, folder)
        raise
    return listening


def remove_socket(folder: int, name: bytes) -> None:
    """Removes the name of a socket that does not listen any more. Raises OSError."""
    _remove(name, folder)


def dial_in(folder: int, name: bytes, plain: bytes, timeout: float) -> tuple[socket.socket, Peer]:
    """A connection to the socket at this name in the open folder, and who listens there.

    `timeout`: seconds that each step on the connection may take. Raises OSError.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.connect(_address(folder, name, plain))
        return connection, peer_of(connection)
    except OSError:
        connection.close()
        raise


def _address(folder: int, name: bytes, plain: bytes) -> bytes:
    if have_paths():
        return os.path.join(path_of(folder), name)
    path = os.path.join(plain, name)
    if len(path) > _MOST:
        words = f"the path has {len(path)} bytes, and the address of a socket has at most {_MOST}"
        raise OSError(errno.ENAMETOOLONG, words, path)
    return path


def _remove(name: bytes, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
