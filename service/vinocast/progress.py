"""Progress on standard error: a bar on a terminal, and elsewhere, such as in a log, a line now and then."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

# Between two lines.
SECONDS = 10.0


class Progress(Protocol):
    """What is told how far the work has come."""

    def update(self, n_steps: int) -> None:
        """Count steps that are done."""


class Lines:
    """Progress as lines, each of its own: none before ``seconds`` have gone by, then one as often at most."""

    def __init__(self, length: int, label: str, seconds: float = SECONDS) -> None:
        self._length, self._label, self._seconds = length, label, seconds
        self._done, self._told = 0, time.monotonic()

    def update(self, n_steps: int) -> None:
        """Count steps that are done, and tell of them when it is time."""
        self._done += n_steps
        if (now := time.monotonic()) - self._told >= self._seconds:
            self._told = now
            of = f" of {self._length}, {self._done / self._length:.0%}" if self._length else ""
            click.echo(f"{self._label}: {self._done}{of}", err=True)


@contextmanager
def progress(length: int, label: str) -> Iterator[Progress]:
    """Yield what counts to ``length`` steps; 0 where it is not known how many there are."""
    if not sys.stderr.isatty():
        yield Lines(length, label)
        return
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield bar
