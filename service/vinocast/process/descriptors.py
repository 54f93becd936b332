"""Writing to descriptors that other processes may share, without ever waiting and without changing them for others.

Non-blocking is a property of the open file, which all who have inherited it share: to set it on a pipe or a socket of
the parent's would change what others see. So what can be opened anew is opened anew, and the rest is asked each time.
"""

from __future__ import annotations

import atexit
import os
import select
import stat
import threading
from collections.abc import Callable
from typing import TypeAlias

STDIN, STDOUT, STDERR = 0, 1, 2
# Writes what there is room for and returns how many bytes that was; raises OSError when nobody can read any more.
WriteSome: TypeAlias = "Callable[[bytes | bytearray], int]"
# What is kept for a descriptor that a thread writes to, and how long it may stand still when the process ends.
MOST_STAGED_BYTES = 1 << 16
PATIENCE_AT_END_S = 1.0


def open_missing() -> None:
    """Stand in the null device for a standard descriptor that the parent has closed, before anything else gets it."""
    for fd in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def reopen(fd: int) -> int | None:
    """Open the pipe or terminal of a descriptor anew, non-blocking; None where that cannot be done.

    It cannot for a socket, for what belongs to another user, and where there is no /proc.
    """
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        return None
    paths = [f"/proc/self/fd/{fd}"]
    if _is_own_terminal(fd):
        paths.append("/dev/tty")
    for path in paths:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError:
            continue
    return None


def _is_own_terminal(fd: int) -> bool:
    """Whether it is the terminal of this session, which may be opened by whoever it belongs to."""
    try:
        return os.isatty(fd) and os.tcgetpgrp(fd) > 0
    except OSError:
        return False


def writer(fd: int) -> WriteSome:
    """Return how to write to a descriptor without waiting, whatever it is."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode) or not os.get_blocking(fd):
        return lambda data: write_some(fd, data)
    if stat.S_ISSOCK(mode):
        return _socket_writer(fd)
    if stat.S_ISFIFO(mode):
        return _pipe_writer(fd)
    return _ThreadedWriter(fd).write


def write_some(fd: int, data: bytes | bytearray) -> int:
    """Write what a non-blocking descriptor has room for; return how many bytes that was."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0


def _socket_writer(fd: int) -> WriteSome:
    import _socket  # noqa: PLC0415 - the module around it takes 4 ms to import

    connection = _socket.socket(fileno=os.dup(fd))
    # A datagram holds 64 KiB at most, and less where the other end has set so.
    kind = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_TYPE)
    most = None if kind == _socket.SOCK_STREAM else select.PIPE_BUF

    def write(data: bytes | bytearray) -> int:
        try:
            return connection.send(memoryview(data)[:most], _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0

    return write


def _pipe_writer(fd: int) -> WriteSome:
    """Go through a pipe of our own: from one pipe into another the kernel moves bytes without waiting.

    To ask for room and then write would wait when another process takes the room in between.
    """
    staged, stage = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def write(data: bytes | bytearray) -> int:
        size, moved = os.write(stage, memoryview(data)[: select.PIPE_BUF]), 0
        try:
            moved = os.splice(staged, fd, size, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            pass
        finally:
            if moved < size:
                os.read(staged, size)
        return moved

    return write


class _ThreadedWriter:
    """Has a thread wait in our place: what a terminal says of its room holds neither for a whole text nor for long."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._held = bytearray()
        self._error: OSError | None = None
        # Reentrant, as a signal handler may write too.
        self._changed = threading.Condition()
        # A daemon, as it may wait for ever.
        self._thread = threading.Thread(target=self._copy, name="writer", daemon=True)
        self._thread.start()
        atexit.register(self._finish)

    def write(self, data: bytes | bytearray) -> int:
        with self._changed:
            if self._error:
                raise self._error
            part = data[: MOST_STAGED_BYTES - len(self._held)]
            self._held += part
            self._changed.notify_all()
            return len(part)

    def _copy(self) -> None:
        while not self._error:
            with self._changed:
                self._changed.wait_for(lambda: self._held)
                part = bytes(self._held[: select.PIPE_BUF])
            try:
                written = os.write(self._fd, part)
            except OSError as error:
                self._error, written = error, len(self._held)
            with self._changed:
                del self._held[:written]
                self._changed.notify_all()

    def _finish(self) -> None:
        """Let the thread write what it still holds, as long as somebody reads. A fork has no thread."""
        with self._changed:
            while self._held and self._thread.is_alive():
                if not self._changed.wait(PATIENCE_AT_END_S):
                    break
