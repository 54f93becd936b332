"""A moment as ISO 8601 writes it, which keeps the form that it was written in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from vinocast.data.times.days import MOST_TEXT, SECOND, moment_of, quoted
from vinocast.data.times.form import Form

if TYPE_CHECKING:
    from vinocast.data.times.frequency import Frequency


@dataclass(frozen=True)
class Moment:
    """A point in time.

    Attributes:
        local: nanoseconds since 1970 of the wall clock that it was told by.
        form: in which it was written.
    """

    local: int
    form: Form

    @property
    def utc(self) -> int:
        """Nanoseconds since 1970 in UTC; of a moment without a zone, those of its own clock."""
        return self.local - (self.form.offset or 0) * 60 * SECOND

    def after(self, frequency: Frequency, first: int, count: int) -> list[str]:
        """Return the times from so many steps after this moment on, ``count`` of them, in its form.

        Raises:
            ValueError: a time before 1678 or after 2261.
        """
        return self.form.write(frequency.after(self.local, np.arange(first, first + count)))


MOMENT = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:(?P<join>[Tt ])(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?"
    r"(?P<zone> ?(?:[Zz]|UTC|GMT|[+-]\d\d(?::?\d\d)?))?)?)?)?",
    re.ASCII,
)


@lru_cache(maxsize=256)
def read_moment(text: str) -> Moment:
    """Read a date or a time as ISO 8601 writes it, with a ``T`` or a space, and with or without a zone.

    Raises:
        ValueError: it is none, or before 1678 or after 2261; the message is one sentence without the name of the field.
    """
    found = MOMENT.fullmatch(text) if len(text) <= MOST_TEXT else None
    if not found:
        raise ValueError(f"expected a date or a time such as 2026-01-31 or 2026-01-31T12:00:00Z, got {quoted(text)}")
    part = found.groupdict()
    zone = part["zone"] or ""
    form = Form(
        date="-".join(code for name, code in (("year", "%Y"), ("month", "%m"), ("day", "%d")) if part[name]),
        join=part["join"] or "T",
        clock=":".join(code for name, code in (("hour", "%H"), ("minute", "%M"), ("second", "%S")) if part[name]),
        fraction=len(part["fraction"] or ""),
        zone=zone,
        offset=read_offset(zone),
    )
    numbers = [int(part[name] or default) for name, default in PARTS]
    return Moment(moment_of(numbers, int((part["fraction"] or "").ljust(9, "0")), text), form)


PARTS = (("year", 0), ("month", 1), ("day", 1), ("hour", 0), ("minute", 0), ("second", 0))


def read_offset(zone: str) -> int | None:
    """Return the minutes east of UTC that a zone's text says; None of none; raises ValueError beyond 18 hours."""
    zone = zone.strip()
    if zone.upper() in ("Z", "UTC", "GMT"):
        return 0
    if not zone:
        return None
    digits = zone[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 18 or minutes > 59:
        raise ValueError(f"expected a distance from UTC of at most 18 hours, got '{zone}'")
    return (hours * 60 + minutes) * (-1 if zone[0] == "-" else 1)
