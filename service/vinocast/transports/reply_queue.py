"""Standard output of ``stdio``, kept for replies.

Imports next to nothing: it is taken before the rest of the program loads.
"""

from __future__ import annotations

import fcntl
import os
import sys

from vinocast.process.descriptors import STDERR, STDOUT, reopen, writer


class Replies:
    """Reply lines on their way out; writing never blocks."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._send = writer(fd)
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
            written = self._send(self._lines)
            if not written:
                break
            del self._lines[:written]
        return before - len(self._lines)


def take_stdout() -> Replies:
    """Take standard output for the replies alone: whatever else is printed goes to standard error from here on.

    Standard error has been taken before.
    """
    replies = reopen(STDOUT)
    if replies is None:
        replies = fcntl.fcntl(STDOUT, fcntl.F_DUPFD_CLOEXEC, 3)
    os.dup2(STDERR, STDOUT)
    sys.stdout = sys.stderr
    return Replies(replies)
