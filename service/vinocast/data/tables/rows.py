"""The rows of a table, put in order and laid out on a regular step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vinocast.data.tables.cells import MOST_CELLS, counted
from vinocast.data.tables.table import Item, Table
from vinocast.data.times.days import SECOND
from vinocast.data.times.frequency import Frequency, infer_frequency
from vinocast.errors import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast.data.tables.reading import Reading, TimeColumn
    from vinocast.data.times.days import Steps

# Of a step, as far as a time may lie beside it and be put on it.
JITTER = 0.1
# What is measured by a clock that is a little late is measured at one of these.
ROUND_STEPS = tuple(
    count * size * SECOND
    for size, counts in (
        (1, (1, 2, 5, 10, 15, 20, 30)),
        (60, (1, 2, 5, 10, 15, 20, 30)),
        (3600, (1, 2, 3, 4, 6, 8, 12, 24, 7 * 24)),
    )
    for count in counts
)
HOUR = 3600 * SECOND

# So many times as many rows have to fall as rise.
NEWEST_FIRST = 3


def drop_copies(
    reading: Reading, time: TimeColumn, codes: Steps, matrix: NDArray[np.float64], every: NDArray[np.float64]
) -> None:
    """Empty the rows that stand out of order and repeat one beside them, an exporter's fault."""
    if every.shape[1] < 2 or len(set(codes.tolist())) > 1:
        return
    rising, falling = time.times[1:] > time.times[:-1], time.times[1:] < time.times[:-1]
    wrong = rising if falling.sum() > rising.sum() else falling
    if not wrong.any() or wrong.sum() * 10 > reading.rows:
        return
    # The rows on both sides of a step back, and those beside them.
    (places,) = np.nonzero(wrong)
    near = np.unique(np.clip(places[:, None] + np.arange(-1, 3), 0, reading.rows - 1))
    # What stands elsewhere too, such as days of nothing but zeros, is no copy.
    usual = {row.tobytes() for row in np.delete(every, near, axis=0)}
    seen: dict[bytes, int] = {}
    copies: list[tuple[int, int]] = []
    for row in near[np.argsort(time.times[near], kind="stable")].tolist():
        if every[row].tobytes() in usual:
            continue
        original = seen.setdefault(every[row].tobytes(), row)
        if original != row and time.times[row] != time.times[original]:
            copies.append((row, original))
    if not copies:
        return
    row, original = copies[0]
    first, of = time.form.write(time.times[[row, original]])
    reading.notes.append(
        f"{counted(len(copies), 'row')} out of order and a copy of one beside it ({first} in {reading.cells.word} "
        f"{reading.cells.lines[row]} repeats {of} in {reading.cells.word} {reading.cells.lines[original]}): taken as "
        "missing"
    )
    matrix[[row for row, _ in copies]] = np.nan


def lay_out(
    reading: Reading, time: TimeColumn, names: Sequence[str | None], codes: Steps, matrix: NDArray[np.float64]
) -> tuple[list[Item], Frequency]:
    """Return the items, each on its steps, and the step; take notes of what was put in order.

    Args:
        reading: what is known of the table.
        time: the times of the rows.
        names: of the items.
        codes: int64 [rows], which item each row is of.
        matrix: float64 [rows, columns].

    Raises:
        SetupError: rows off the step, rows of one time that differ, or too many steps to lay out.
    """
    times = time.times.astype(np.int64)
    same = codes[1:] == codes[:-1]
    rising, falling = same & (times[1:] > times[:-1]), same & (times[1:] < times[:-1])
    # Of rows in no order half fall; an exchange's export has a few that rise.
    newest_first = bool(falling.sum() > NEWEST_FIRST * rising.sum())
    order = np.lexsort((-np.arange(reading.rows) if newest_first else np.arange(reading.rows), times, codes))
    if newest_first:
        reading.notes.append("the newest row comes first: put in order")
    astray = rising if newest_first else falling
    if astray.any():
        row, count = int(astray.argmax()) + 1, int(astray.sum())
        reading.notes.append(
            f"{counted(count, 'row')} out of order, from {reading.cells.word} {reading.cells.lines[row]} on: "
            "put in order"
        )
    order = _drop_duplicates(reading, time, codes, matrix, order)
    times, codes, matrix, lines = times[order], codes[order], matrix[order], reading.cells.lines[order]
    bounds = np.searchsorted(codes, np.arange(len(names) + 1))
    longest = int(np.diff(bounds).argmax())
    if len(names) > 1 and np.diff(bounds).max() < 2 and not time.counted:
        raise reading.cells.fault("no series has two rows: --id names the column that says which series a row is of")
    times, frequency = _find_step(reading, time, times, slice(bounds[longest], bounds[longest + 1]))
    items: list[Item] = []
    total = 0
    for name, start, stop in zip(names, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        places = _find_places(reading, time, frequency, times[start:stop], order[start:stop])
        steps = int(places[-1]) + 1
        total += steps
        if total * matrix.shape[1] > MOST_CELLS:
            hole = int(np.diff(places).argmax()) if len(places) > 1 else 0
            raise reading.cells.fault(
                f"with a step of {frequency} the rows that are missing make {total} rows, too many to lay out: "
                "the longest hole is behind this one",
                int(order[start + hole]),
            )
        values = np.full((steps, matrix.shape[1]), np.nan)
        values[places] = matrix[start:stop]
        of_file = np.zeros(steps, np.int64)
        of_file[places] = lines[start:stop]
        items.append(Item(name, int(times[start]), values, of_file))
    return items, frequency


def _find_step(reading: Reading, time: TimeColumn, times: Steps, longest: slice) -> tuple[Steps, Frequency]:
    """Return the step of the longest item's rows, and all times [rows], put on it where they lie near."""
    own = times[longest].astype("datetime64[ns]")
    if len(own) < 2:
        if not time.counted:
            raise reading.cells.fault("one row: a step from one time to the next cannot be found")
        return times, Frequency(SECOND)
    frequency = infer_frequency(own)
    if not frequency.nanoseconds or time.counted or (frequency.places(own[0], own) >= 0).all():
        return times, frequency
    median = float(np.median(np.diff(times[longest])))
    for place, step in enumerate(ROUND_STEPS):
        if abs(step - median) > JITTER * step:
            continue
        # Counted from the roundest time that they come by or a little after: the full hour or half past it, midnight or
        # five in the afternoon.
        beside = (times - times[0] + step // 2) % step - step // 2 + times[0]
        early, late = int(beside.min()), int(beside.max())
        for unit in reversed(ROUND_STEPS[: place + 1]):
            start = late // unit * unit
            # A full hour, or a step as it is counted from 1970, they may also come a little before.
            if unit >= min(step, HOUR) and start + unit - late < early - start:
                start += unit
            if max(early - start, start - late) > late - early:
                continue
            near = start + np.round((times - start) / step).astype(np.int64) * step
            if (np.abs(near - times) <= JITTER * step).all():
                moved = int((near != times).sum())
                reading.notes.append(f"{counted(moved, 'row')} a little beside a step of {Frequency(step)}: put on it")
                return near, Frequency(step)
    return times, frequency


def _drop_duplicates(
    reading: Reading, time: TimeColumn, codes: Steps, matrix: NDArray[np.float64], order: Steps
) -> Steps:
    """Return the order [rows] without the rows whose time an earlier row of the same item has."""
    times = time.times[order]
    again = np.append(False, (times[1:] == times[:-1]) & (codes[order][1:] == codes[order][:-1]))
    if not again.any():
        return order
    (places,) = np.nonzero(again)
    rows, before = matrix[order[places]], matrix[order[places - 1]]
    differ = ~((rows == before) | (np.isnan(rows) & np.isnan(before))).all(axis=1)
    (moment,) = time.form.write(times[places[:1]])
    if differ.any() and reading.options.duplicates == "refuse":
        place = int(places[differ.argmax()])
        (moment,) = time.form.write(times[place : place + 1])
        first, second = sorted(reading.cells.lines[order[[place - 1, place]]].tolist())
        raise reading.cells.fault(
            f"{reading.cells.word}s {first} and {second} are both of {moment} and differ: say --duplicates first or "
            "last; a clock that was put back writes an hour twice, which times in UTC do not; a long table names "
            "its series in a column (--id), and a time that is in several columns is to be put into one"
        )
    kept = "first" if reading.options.duplicates != "last" or not differ.any() else "last"
    said = f", and {int(differ.sum())} differ: the {kept} is taken" if differ.any() else ", and the same: dropped"
    reading.notes.append(f"{counted(len(places), 'row')} of the time of another, from {moment} on{said}")
    drop = again if kept == "first" else np.append(again[1:], False)
    kept_rows: Steps = order[~drop]
    return kept_rows


def _find_places(reading: Reading, time: TimeColumn, frequency: Frequency, times: Steps, rows: Steps) -> Steps:
    """Return on which step [rows] each of an item's times is."""
    try:
        places = frequency.places(int(times[0]), times.astype("datetime64[ns]"))
    except ValueError as error:
        raise reading.cells.fault(str(error), int(rows[-1]), time.name) from None
    beside = np.append(False, np.diff(places) <= 0) | (places < 0)
    if not beside.any():
        return places
    bad = int(beside.argmax())
    moment, before = time.form.write(times[[bad, max(bad - 1, 0)]].astype("datetime64[ns]"))
    raise reading.cells.fault(
        f"{moment} follows {before} by something else than whole steps of {frequency}, as most rows do: bring the "
        "rows to one step first, such as with pandas' resample",
        int(rows[bad]),
        time.name,
    )


def tell_gaps(reading: Reading, table: Table) -> None:
    """Say how many rows and cells are missing, and where the first is."""
    absent = [int((item.lines == 0).sum()) for item in table.items]
    if any(absent):
        item = table.items[next(place for place, count in enumerate(absent) if count)]
        step = int((item.lines == 0).argmax())
        (moment,) = table.form.write(table.times(item, step, 1))
        whose = f" of '{printable(item.name)}'" if item.name is not None else ""
        rows = sum(len(item.lines) for item in table.items)
        reading.notes.append(
            f"{counted(sum(absent), 'row')} of {rows} missing, the first{whose} of {moment}, after "
            f"{reading.cells.word} {item.lines[step - 1]}"
        )
    empty = [int((np.isnan(item.values) & (item.lines > 0)[:, None]).sum()) for item in table.items]
    if any(empty):
        item = table.items[next(place for place, count in enumerate(empty) if count)]
        step, column = np.argwhere(np.isnan(item.values) & (item.lines > 0)[:, None])[0].tolist()
        count = f"{sum(empty)} cell{'s' * (sum(empty) != 1)}"
        reading.notes.append(
            f"{count} without a number, the first in {reading.cells.word} {item.lines[step]}, "
            f"column '{printable(table.columns[column])}'"
        )
