"""Opening what a path names without waiting for another process, as opening a named pipe does.

Raises OSError, whose ``strerror`` says why, where there is nothing to wait for.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LEASE_POLL_SECONDS = 0.01


def open_regular(path: Path, most: int | None = None) -> io.BufferedReader:
    """Open a regular file of at most so many bytes; raises OSError for anything else, such as a pipe or a device.

    Nothing else is opened, as that alone may wait, or do something to a device; and what was opened is looked at once
    more, as another file may have come to the place.
    """
    _check_regular(path, path.stat(), most)
    descriptor = _open(path)
    try:
        _check_regular(path, os.fstat(descriptor), most)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check_regular(path: Path, status: os.stat_result, most: int | None) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if most is not None and status.st_size > most:
        raise OSError(errno.EFBIG, f"{status.st_size} bytes, more than the {most} it may have", str(path))


def _open(path: Path) -> int:
    while True:
        try:
            return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except BlockingIOError:
            # A file server holds a lease on it, and was asked to give it back; the kernel takes it after a while.
            time.sleep(LEASE_POLL_SECONDS)


def read_regular(path: Path, most: int | None = None) -> bytes:
    """Return the bytes of a regular file, at most so many; raises OSError for anything else, and for one that grows."""
    with open_regular(path, most) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(size + 1)
    if len(data) > size:
        raise OSError(errno.EBUSY, "it has grown while it was read", str(path))
    return data


def sha256_file(path: Path, most: int | None = None) -> str:
    """Return the hexadecimal sha256 of a regular file of at most so many bytes; raises OSError for anything else."""
    with open_regular(path, most) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_input(path: Path) -> io.BufferedReader | io.BytesIO:
    """Open a file to read, or a pipe that somebody writes to, as ``<(…)`` makes one: then all of it is read here.

    Raises OSError for a pipe that nobody writes to.
    """
    if not stat.S_ISFIFO(path.stat().st_mode):
        return path.open("rb")
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as pipe:
        first = pipe.read(1)
        if first == b"":  # and not None, which says that somebody may still write
            raise OSError(errno.EPIPE, "a pipe that nobody writes to", str(path))
        os.set_blocking(pipe.fileno(), True)
        return io.BytesIO((first or b"") + pipe.readall())


def read_input(path: Path) -> bytes:
    """Return all that :func:`open_input` opens."""
    with open_input(path) as file:
        return file.read()
