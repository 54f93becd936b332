"""A hostile feed in a thread of its own, and ``vinocast feed`` as a process that listens to it."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from collections.abc import Coroutine, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import orjson
from hostile_feed import FeedServer, Step
from support import PATIENCE, VINOCAST, Service, wait_until

T = TypeVar("T")


class FeedThread:
    """A :class:`FeedServer` for tests that wait. Use it with ``with``.

    Attributes:
        server: of which ``seen`` and ``finished`` may be looked at from here.
        url: of the running server.
    """

    def __init__(self, script: Iterable[Step], **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.server = FeedServer(script, **options)

    def __enter__(self) -> Self:
        self._thread.start()
        self._await(self.server.__aenter__())
        self.url = self.server.url
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._await(self.server.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)


class Feeding(Service):
    """``vinocast feed coinbase --json`` as a process; what it prints is read at its end."""

    def __init__(self, *options: str) -> None:
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        super().__init__(VINOCAST, "feed", "coinbase", "--json", *options, stdout=self._printed)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._printed.close()

    @property
    def printed(self) -> int:
        """How many bytes it has printed so far."""
        return os.fstat(self._printed.fileno()).st_size

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it has printed so far."""
        self._printed.seek(0)
        return [orjson.loads(line) for line in self._printed.read().splitlines(keepends=True) if line.endswith(b"\n")]

    def until(self, server: FeedServer, patience: float = 120.0) -> None:
        """Wait until the script of a server is at its end."""
        wait_until(lambda: server.finished.is_set() or self.process.poll() is not None, "the script", patience)
        assert self.process.poll() is None, self.log

    def end(self, number: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Have a signal end it; return its lines, and its report."""
        self.signal(number)
        assert self.wait() == 0, self.log
        *lines, last = self.lines
        return lines, last["report"]
