"""A column of times, in whatever form a file has them: how they are written is decided by all of its rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from vinocast.data.tables.cells import first_of
from vinocast.data.tables.moment_parts import DayOrder, MomentError
from vinocast.data.tables.moment_texts import read_alike, read_each
from vinocast.data.times.days import FIRST_YEAR, LAST_YEAR, NO_DAY, SECOND, days_of
from vinocast.data.times.form import Form
from vinocast.data.times.moment import read_offset
from vinocast.errors import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vinocast.data.times.days import Times


@dataclass
class Moments:
    """Times [rows] of the clock that they are told by, and how to write others.

    They are of UTC where the zones of rows differ, unless all are at one time of their own days: the days of a place
    whose clocks are put forward and back.
    """

    times: Times
    form: Form
    notes: list[str]


def at_one_clock(times: Times) -> bool:
    """Whether times [rows], as they are written, are of several days and all at the same time of day."""
    days = times.astype("datetime64[D]")
    clocks = times - days.astype("datetime64[ns]")
    return bool((clocks == clocks[0]).all() and (days != days[0]).any())


def read_moments(texts: Sequence[str], order: DayOrder | None = None) -> Moments:
    """Read the times of a column, none of which may be empty.

    Args:
        texts: the cells, at least one.
        order: of the day and the month where both are numbers before the year; None to find it.

    Raises:
        MomentError: a time that is none; days and months that could be either; zones in some rows alone.
    """
    parts = read_alike(texts) or read_each(texts)
    notes: list[str] = []
    if parts.either.any():
        parts.put_in_order(order or parts.find_order(texts))
    days = days_of(parts.year, parts.month, parts.day)
    if (bad := first_of((days == NO_DAY) | parts.wrong_clock())) is not None:
        if not FIRST_YEAR <= parts.year[bad] <= LAST_YEAR:
            raise MomentError(f"expected a year from {FIRST_YEAR} to {LAST_YEAR}, got '{shown(texts[bad])}'", bad)
        raise MomentError(f"there is no such date or time as '{shown(texts[bad])}'", bad)
    seconds = ((days * 24 + parts.hour) * 60 + parts.minute) * 60 + parts.second
    times = (seconds * SECOND + parts.nanosecond).astype("datetime64[ns]")
    form = parts.form()
    zoned = parts.zone_codes >= 0
    if zoned.any() and not zoned.all():
        with_zone, without = int(zoned.argmax()), int((~zoned).argmax())
        raise MomentError(
            f"'{shown(texts[without])}' has no zone, '{shown(texts[with_zone])}' has one: write all with one or none",
            max(with_zone, without),
        )
    if zoned.all():
        try:
            offsets = np.array([read_offset(zone) for zone in parts.zones], np.int64)
        except ValueError as error:
            raise MomentError(str(error), 0) from None
        if (several := len(set(offsets.tolist()))) > 1:
            if at_one_clock(times):
                zone = parts.zone_codes[times.argmax()]
                apart = " " if form.zone.startswith(" ") else ""
                form = replace(form, zone=apart + parts.zones[zone], offset=int(offsets[zone]))
                notes.append(
                    f"times of {several} zones are at one hour of their own days, and laid out by day; those that "
                    f"follow are written with {parts.zones[zone]}"
                )
            else:
                times = times - (offsets[parts.zone_codes] * 60 * SECOND).astype("timedelta64[ns]")
                notes.append(f"times of {several} zones are converted to UTC")
                form = Form(form.date, form.join, form.clock, form.fraction, "Z", 0)
    return Moments(times, form, notes)
