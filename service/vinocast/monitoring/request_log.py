"""A line of the log for each request that was refused, and for each that was slow."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from vinocast.errors import quote

if TYPE_CHECKING:
    from collections.abc import Callable

    from vinocast.monitoring.ended import Ended

# In each second so many lines; of what is beyond, one says how many.
MOST_LINES = 100
log = logging.getLogger(__name__)


class RequestLog:
    """Writes a line for what went wrong, or took longer than so many seconds; see :class:`~.ended.Ended`.

    Args:
        slow_seconds: from which on a request that was answered is worth a line; 0 for none.
        clock: of seconds.
    """

    def __init__(self, slow_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._slow_seconds = slow_seconds
        self._clock = clock
        self._second = -1
        self._lines = 0

    def __call__(self, ended: Ended) -> None:
        """Write a line where there is something to say."""
        if ended.error is None and not 0 < self._slow_seconds <= ended.seconds:
            return
        if not self._has_room():
            return
        fields = _fields_of(ended)
        text = " ".join(f"{name}={value}" for name, value in fields.items())
        if ended.error is None:
            log.warning("slow request: %s", text, extra=fields)
        else:
            level = logging.WARNING if ended.error.status >= 500 else logging.INFO
            log.log(level, "request refused: %s: %s", text, ended.error.message, extra=fields)

    def _has_room(self) -> bool:
        second = int(self._clock())
        if second != self._second:
            if self._lines > MOST_LINES:
                log.warning("%d more requests were refused or slow and have no line", self._lines - MOST_LINES)
            self._second, self._lines = second, 0
        self._lines += 1
        return self._lines <= MOST_LINES


def _fields_of(ended: Ended) -> dict[str, str | int | float]:
    """Return what is known of a request, each by its name in the log; what a client wrote is shortened."""
    origin = ended.origin
    fields: dict[str, str | int | float] = {}
    if ended.error is not None:
        fields["code"] = ended.error.code
        if ended.error.field is not None:
            fields["field"] = quote(ended.error.field)
    if (called := ended.called()) is not None:
        fields["request_id"] = quote(called)
    if origin.http_id:
        fields["http_id"] = origin.http_id
    if origin.trace:
        fields["trace"] = origin.trace
    fields |= {"op": ended.op or "none", "protocol": origin.protocol}
    if origin.route:
        fields["route"] = origin.route
    if ended.model:
        fields["model"] = ended.model
        fields["queue_ms"] = round(ended.queue_seconds * 1e3, 3)
        fields["inference_ms"] = round(ended.inference_seconds * 1e3, 3)
    fields["total_ms"] = round(ended.seconds * 1e3, 3)
    return fields
