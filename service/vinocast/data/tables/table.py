"""A table of series, each on a regular step, and what was found on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from vinocast.errors import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vinocast.data.tables.figures import Decimal
    from vinocast.data.tables.moment_parts import DayOrder
    from vinocast.data.times.days import Steps, Times
    from vinocast.data.times.form import Form
    from vinocast.data.times.frequency import Frequency

Duplicates = Literal["refuse", "first", "last"]


@dataclass(frozen=True)
class TableOptions:
    """What a user says of a table; what is not said is found.

    Attributes:
        columns: names of those to take.
        time: the name of the column of the times.
        item: the name of the column that says which series a row belongs to.
        dates: whether days or months come first.
        decimal: what begins a fraction.
        duplicates: which of several rows of one time is taken.
    """

    columns: tuple[str, ...] = ()
    time: str | None = None
    item: str | None = None
    dates: DayOrder | None = None
    decimal: Decimal | None = None
    duplicates: Duplicates = "refuse"


@dataclass(frozen=True)
class Item:
    """The series of one item, a column each.

    Attributes:
        name: as the table has it; None of a wide table's only one.
        first: the time of the first step, nanoseconds since 1970.
        values: float64 [steps, columns], oldest first, each within float32; NaN where the table has nothing.
        lines: int64 [steps], the line of each in the file; 0 where the table has no row.
    """

    name: str | None
    first: int
    values: NDArray[np.float64]
    lines: Steps


@dataclass
class Table:
    """What a file holds.

    Attributes:
        source: its name, for messages.
        sha256: of its bytes.
        columns: the names of the series of each item.
        items: one of a wide table.
        frequency: from one step to the next.
        form: how times are written; a number for each step where they are counted.
        time: the name of the column of the times, ``step`` where there is none.
        item: the name of the column of the items; None of a wide table.
        counted: whether the times are numbers that only count.
        word: what the lines are called, ``line`` or ``row``.
        notes: what was found and what was done about it, a sentence each.
    """

    source: str
    sha256: str
    columns: tuple[str, ...]
    items: list[Item]
    frequency: Frequency
    form: Form
    time: str
    item: str | None
    counted: bool
    word: str
    notes: list[str] = field(default_factory=list)

    @property
    def step(self) -> str:
        """The step from one time to the next, in words."""
        return f"{self.frequency.nanoseconds / self.form.epoch:g}" if self.counted else str(self.frequency)

    def times(self, item: Item, first: int, count: int) -> Times:
        """Return the times of an item's steps, from so many after its first one on, datetime64[ns] [count].

        Raises:
            ValueError: a time before 1678 or after 2261.
        """
        return self.frequency.after(item.first, np.arange(first, first + count))

    def place(self, item: Item, step: int, column: int) -> str:
        """Return where a value stands in the file, or after which line it is missing, for a message."""
        line = int(item.lines[step])
        before = int(item.lines[: step + 1].max())
        where = f"{self.word} {line}" if line else f"no row of {self.form.write(self.times(item, step, 1))[0]}"
        where += "" if line else f" (the one before is {self.word} {before})"
        name = f"{self.item} '{printable(item.name)}', " if item.name is not None else ""
        return f"{self.source}: {name}{where}, column '{printable(self.columns[column])}'"
