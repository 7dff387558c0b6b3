"""What an error of open(2), read(2) or lstat(2) says of a file: there is none, or nothing at all yet. Pure."""

from __future__ import annotations

import errno

NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EXDEV)
"""There is no file there, or something else than a file, or a symlink on the way to it."""

OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR)
"""This process lacks something; the file is as it was."""

_IN_USE = (  # a program keeps others from reading the file, and will let go of it
    errno.EAGAIN,  # a write lease, or a mandatory lock
    errno.EBUSY,
    errno.ETXTBSY,  # the last two: a Windows share on which it is open for that program alone
)
_ITS_SERVER_AWAY = (  # a network file system whose server is not there now
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ENOTCONN,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
)

PASSING = (*OURS, *_IN_USE, *_ITS_SERVER_AWAY)
"""Nothing is known of the file: look again later."""
