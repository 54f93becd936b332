"""Opening what a path names without waiting for another process, as opening a named pipe does.

Raises OSError, whose ``strerror`` says why, where there is nothing to wait for.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file to read; raises OSError for anything else, such as a named pipe or a device."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # of a folder the system says so itself
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.open("rb")


def read_regular(path: Path) -> bytes:
    """Return the bytes of a regular file; raises OSError for anything else."""
    with open_regular(path) as file:
        return file.read()


def sha256_file(path: Path) -> str:
    """Return the hexadecimal sha256 of a regular file; raises OSError for anything else."""
    with open_regular(path) as file:
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
