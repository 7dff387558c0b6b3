"""A child process that never outlives its parent.

On Linux the kernel is asked to kill it when the parent dies, even by SIGKILL (prctl(2), PR_SET_PDEATHSIG). The child
has to ask that for itself, between fork and exec. A `preexec_fn` would run Python there, in the copy of a process whose
other threads may have held any lock. So a fresh interpreter is started, which asks, and then becomes the child under
the same process id. To the kernel the parent is the *thread* that started the child: start it from one that lives as
long as the child should.

A system without prctl(2), such as macOS, can't be asked. There a second process looks five times a second whether the
parent is alive, and kills the child if it is not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

_LEASH = """
import ctypes, os, signal, sys, time
parent, *argv = sys.argv[1:]
prctl = getattr(ctypes.CDLL(None), "prctl", None)

def lives(pid):
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True

if prctl is not None:
    prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
else:
    child = os.getpid()
    if os.fork() == 0:
        os.closerange(0, 64)  # a lock that the child holds by a descriptor ends with the child
        while os.getppid() == child and lives(int(parent)):
            time.sleep(0.2)
        if os.getppid() == child:
            os.kill(child, signal.SIGKILL)
        os._exit(0)
if os.getppid() == int(parent):  # else it died before we asked
    os.execv(argv[0], argv)
"""


def leashed(command: Sequence[str]) -> list[str]:
    """The same command, whose process ends with the thread that starts it."""
    return [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid()), *command]
