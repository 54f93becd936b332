"""Captures of a feed: a file of raw messages, one a line, packed by gzip or not."""

from __future__ import annotations

import gzip
import logging
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from vinocast.data.regular import open_regular
from vinocast.errors import SetupError, shown

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator
    from pathlib import Path

# Of a line; a longer one is passed over to its end, and counted.
MOST_LINE_BYTES = 1 << 20
GZIP = b"\x1f\x8b"
# What reading raises behind the end of a file that is cut short, and for one that is damaged.
DAMAGE = (EOFError, OSError, zlib.error)

log = logging.getLogger("vinocast.feed")


@dataclass(frozen=True)
class Line:
    """A line of a capture.

    Attributes:
        message: as it was parsed; None where it is no JSON, or too long to be read.
        size: in bytes.
        read: bytes of the file that were read before its end.
    """

    message: Any
    size: int
    read: int


def is_capture(path: Path) -> bool:
    """Whether a file begins as a JSON object does; raises SetupError where it cannot be read."""
    with _unpacked(path) as (file, _):
        # A read1 of what is packed ends where it is cut, with what came before.
        return file.read1(4096).lstrip()[:1] == b"{"


def read_capture(path: Path) -> Iterator[Line]:
    """Yield the lines of a capture that are not blank; one that is cut short ends where it is cut.

    Raises:
        SetupError: it cannot be read.
    """
    with _unpacked(path) as (file, packed):
        try:
            while text := file.readline(MOST_LINE_BYTES + 1):
                size = len(text)
                message = None
                if size > MOST_LINE_BYTES:
                    while text and not text.endswith(b"\n"):
                        text = file.readline(MOST_LINE_BYTES)
                        size += len(text)
                elif text.strip():
                    message = _parsed(text)
                else:
                    continue
                yield Line(message, size, packed.tell())
        except DAMAGE as error:
            log.warning("%s is cut short or damaged (%s): what stands before is taken", shown(path), error)


def time_of(message: Any) -> float | None:
    """Return when a message was sent by the exchange, in unix seconds; None where it does not say."""
    if isinstance(message, dict):
        for name in ("time", "timestamp"):
            if isinstance(text := message.get(name), str):
                try:
                    return datetime.fromisoformat(text).timestamp()
                except (OverflowError, ValueError):
                    return None
    return None


@contextmanager
def _unpacked(path: Path) -> Iterator[tuple[io.BufferedReader | gzip.GzipFile, io.BufferedReader]]:
    """Yield what a file holds, and the file itself; raises SetupError where it cannot be read."""
    try:
        with open_regular(path) as file:
            if file.peek(2)[:2] == GZIP:
                with gzip.open(file) as unpacked:
                    yield unpacked, file
            else:
                yield file, file
    except DAMAGE as error:
        raise SetupError(f"{shown(path)}: {getattr(error, 'strerror', None) or error}") from error


def _parsed(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
