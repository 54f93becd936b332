"""Standard error of a service: what nobody reads never makes it wait, whatever descriptor 2 is."""

from __future__ import annotations

import atexit
import io
import logging
import os
import sys
import threading
from typing import Any

from vinocast.errors import printable
from vinocast.process.descriptors import STDERR, WriteSome, open_missing, reopen, writer

MOST_HELD_BYTES = 1 << 16


def take_stderr() -> None:
    """Have all that this process writes to standard error, Python's own messages too, go through a :class:`LogStream`.

    A pipe or terminal is opened anew for it, non-blocking, and put in the place of descriptor 2, so that native code
    does not wait either. A socket cannot be, and keeps what native code says of a crash.
    """
    open_missing()
    fd = reopen(STDERR)
    if fd is not None:
        os.dup2(fd, STDERR)
        os.close(fd)
    sys.stderr = LogStream(STDERR)


class OneLine(logging.Formatter):
    """Writes a record as one printable line, and the lines of its traceback indented.

    So whatever name or text of a client's a record holds, what begins at the left margin is of this program.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base's name
        """Return the line."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the base's name
        """Return the traceback."""
        return "\n".join(f"  {printable(line)}" for line in super().formatException(ei).splitlines())


class LogStream(io.TextIOBase):
    """Text that is written as far as there is room, some of it held back until then, the rest dropped and counted."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._send: WriteSome = writer(fd)
        self._held = bytearray()
        self._dropped = 0
        # Reentrant: a signal handler may write too. Nothing waits while it is held.
        self._lock = threading.RLock()
        os.register_at_fork(after_in_child=self._after_fork)
        atexit.register(self.flush)

    def write(self, text: str) -> int:
        """Take a text: written now, held back, or counted as dropped."""
        data = text.encode(self.encoding, self.errors)
        with self._lock:
            self.flush()
            if self._dropped:
                data = b"%d log lines were dropped here, as nobody read them\n" % self._dropped + data
            if self._held and len(self._held) + len(data) > MOST_HELD_BYTES:
                self._dropped += text.count("\n")
            else:
                self._held += data
                self._dropped = 0
                self.flush()
        return len(text)

    def flush(self) -> None:
        """Write what there is room for."""
        with self._lock:
            try:
                while self._held and (sent := self._send(self._held)):
                    del self._held[:sent]
            except OSError:  # nobody can read any more, or the disk is full
                self._dropped += self._held.count(b"\n")
                self._held.clear()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self._fd)

    def writable(self) -> bool:
        """Return True."""
        return True

    def _after_fork(self) -> None:
        """Leave what is held to the parent, and write by means of our own."""
        self._lock = threading.RLock()
        self._held.clear()
        self._dropped = 0
        self._send = writer(self._fd)
