"""The standard descriptors of a service: output kept for replies, errors that never block.

Imports next to nothing: they are taken before the rest of the program loads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat

STDIN, STDOUT, STDERR = 0, 1, 2


class Replies:
    """Reply lines on their way out; writing never blocks."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._lines: bytearray = bytearray()

    @property
    def unread(self) -> int:
        """Bytes that the client has not taken yet."""
        return len(self._lines)

    def append(self, reply: bytes, _error: object = None) -> None:
        """Queue one reply."""
        self._lines += reply
        self._lines += b"\n"

    def write(self) -> int:
        """Write what the pipe has room for and return how much; raises BrokenPipeError when nobody can read."""
        before = len(self._lines)
        while self._lines:
            written = write_some(self.fd, self._lines)
            if not written:
                break
            del self._lines[:written]
        return before - len(self._lines)


def write_some(fd: int, data: bytes | bytearray) -> int:
    """Write what a non-blocking descriptor has room for; return how many bytes that was."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0


def take_stdout() -> Replies:
    """Take standard output for the replies alone: whatever else is printed goes to standard error from here on."""
    _open_missing_descriptors()
    return Replies(_private_stdout())


def _open_missing_descriptors() -> None:
    """Stand in the null device for a standard descriptor that the parent has closed, before anything else gets it."""
    for fd in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _private_stdout() -> int:
    """Return a private, non-blocking descriptor for the replies, and point descriptor 1 at standard error."""
    replies = _reopen(STDOUT)
    if replies is None:
        replies = fcntl.fcntl(STDOUT, fcntl.F_DUPFD_CLOEXEC, 3)
        os.set_blocking(replies, stat.S_ISREG(os.fstat(STDOUT).st_mode))
    os.dup2(STDERR, STDOUT)
    return replies


def _reopen(fd: int) -> int | None:
    """Open the pipe or terminal of a descriptor anew, non-blocking; None where that cannot be done.

    Non-blocking is a property of the open file, which other descriptors and processes may share. A regular file never
    blocks, and a socket cannot be opened anew.
    """
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        return None
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None


class LogStream:
    """Standard error for logging: what does not fit into a pipe that nobody reads is dropped, the service goes on."""

    def __init__(self) -> None:
        fd = _reopen(STDERR)
        self._fd = STDERR if fd is None else fd

    def write(self, text: str) -> None:
        """Write what there is room for."""
        with contextlib.suppress(OSError):
            os.write(self._fd, text.encode(errors="backslashreplace"))

    def flush(self) -> None:
        """Do nothing: nothing is held back."""
