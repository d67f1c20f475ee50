"""Becomes a program that dies with the process that started it. Run by path, imported by nobody.

    python -I -S launch.py PARENT_PID PROGRAM ARGUMENT…

The kernel is asked to kill this process when its parent dies (prctl(2), PR_SET_PDEATHSIG), even by
SIGKILL; the request survives execve(2). This is a program and no `preexec_fn`, because code between
fork and exec is not safe in a process with threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Arrange the death signal, then become the program."""
    parent, program, *arguments = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit("prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != int(parent):
        sys.exit("the broker is gone already")
    try:
        os.execv(program, [program, *arguments])  # noqa: S606  # no shell is what is wanted
    except OSError as error:
        sys.exit(f"cannot run {program}: {error.strerror}")


if __name__ == "__main__":
    main()
