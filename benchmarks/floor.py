"""Contender `floor`: what the file system alone takes for a file that is read, hashed, moved and deleted.

One thread, one file after another, no network and no ledger: open, fstat, read, fstat, close, SHA-256, rename, lstat,
unlink. No program that makes sure which file it deletes can do with less.
"""

from __future__ import annotations

import os
import sys
from hashlib import sha256

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW


def deliver(folder: str) -> None:
    """Every file of the folder, by way of a hidden one in it."""
    away = os.path.join(folder, ".away")
    os.mkdir(away)
    source, target = os.open(folder, os.O_RDONLY), os.open(away, os.O_RDONLY)
    for name in sorted(os.listdir(source)):
        if name.startswith("."):
            continue
        fd = os.open(name, _READ, dir_fd=source)
        data = os.read(fd, os.fstat(fd).st_size + 1)
        os.fstat(fd)
        os.close(fd)
        sha256(data).hexdigest()
        os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
        os.stat(name, dir_fd=target, follow_symlinks=False)
        os.unlink(name, dir_fd=target)


if __name__ == "__main__":
    deliver(sys.argv[1])
