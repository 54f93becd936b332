"""Writing to descriptors that other processes may share, without ever waiting and without changing them for others.

Non-blocking is a property of the open file, which all who have inherited it share: to set it on a pipe or a socket of
the parent's would change what others see. So what can be opened anew is opened anew, and the rest is asked each time.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable
from typing import TypeAlias

STDIN, STDOUT, STDERR = 0, 1, 2
# Writes what there is room for and returns how many bytes that was; raises OSError when nobody can read any more.
WriteSome: TypeAlias = "Callable[[bytes | bytearray], int]"


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
    return _polling_writer(fd)


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


def _polling_writer(fd: int) -> WriteSome:
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    return lambda data: os.write(fd, memoryview(data)[: select.PIPE_BUF]) if poller.poll(0) else 0
