"""Standard output and standard error of a command that runs to its end, whatever its parent has made of them."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

from vinocast.process.descriptors import open_missing

if TYPE_CHECKING:
    from collections.abc import Iterator


def settle_streams() -> None:
    """Let every line come out in any encoding, and nothing go wrong for a message that nobody can take.

    And let no file take the place of a stream that is closed.
    """
    open_missing()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stderr and not isinstance(sys.stderr, _Messages):
        sys.stderr = cast("TextIO", _Messages(sys.stderr))


class _Messages:
    """Standard error, which may stand on a full disk: what cannot be written is lost, and the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


@contextlib.contextmanager
def ending_in_a_sentence(program: str) -> Iterator[None]:
    """End the process with exit code 1 where standard output, or a file, cannot be written or read.

    The message is the system's. There is none where whoever reads the output has seen enough.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout:
                sys.stdout.flush()
    except OSError as error:
        abandon_output()
        if not isinstance(error, BrokenPipeError):
            print(f"{program}: {error}", file=sys.stderr)  # noqa: T201 - the program's own message
        sys.exit(1)


def abandon_output() -> None:
    """Write out what was printed, or else drop it: Python would complain of it once more at its end."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
