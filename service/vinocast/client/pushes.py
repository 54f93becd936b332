"""What a service pushes, over lines: kept until somebody takes it."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vinocast.client.market import Event, Events, read_event
from vinocast.errors import ServiceUnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_KEPT = 1024


class Pushes(Events):
    """The events of a child process, in their order, each for one who takes it. For any thread.

    Args:
        source: what to call the service.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._kept: deque[Event] = deque()
        self._lost = 0
        self._changed = threading.Condition()
        self._ended = False
        self._fault: str | None = None

    def put(self, reply: Mapping[str, Any]) -> None:
        """Keep what has come; raises ServiceUnreachableError for what is none of Vinocast."""
        try:
            event = read_event(reply)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ServiceUnreachableError(
                f"{self._source}: it has pushed what is none of Vinocast: {error!r}"
            ) from error
        with self._changed:
            if len(self._kept) >= MOST_KEPT:
                self._kept.popleft()
                self._lost += 1
            self._kept.append(event)
            self._changed.notify()

    def end(self, fault: str | None) -> None:
        """Say that nothing more comes, and where that is a fault, which."""
        with self._changed:
            self._ended, self._fault = True, fault
            self._changed.notify_all()

    def __next__(self) -> Event:
        """Return the next event; raises StopIteration at the end, ServiceUnreachableError for an end that is none."""
        event = self.wait(None)
        if event is None:
            raise StopIteration
        return event

    def wait(self, timeout: float | None) -> Event | None:
        """Return the next event; None at the end, or where none has come for so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._kept or self._ended, timeout)
            if self._kept:
                event, lost, self._lost = self._kept.popleft(), self._lost, 0
                return replace(event, lost=lost) if lost else event
            if self._fault is not None:
                raise ServiceUnreachableError(self._fault)
            return None

    def close(self) -> None:
        """Do nothing: the events are the service's, and end with it."""
