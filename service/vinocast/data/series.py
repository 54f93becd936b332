"""Real values to calibrate and to check a model with: a CSV of the user's own, or the recording that comes along."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vinocast.data.bundled import bundled_examples
from vinocast.data.tables.read import read_table
from vinocast.data.windows import windows
from vinocast.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast.data.tables.table import Table

# Of the rows, oldest first, those that calibrate; what comes after is held back to measure by.
CALIBRATION_SHARE = 0.7
CALIBRATION_WINDOWS = 300
HELD_BACK_WINDOWS = 200


@dataclass(frozen=True)
class Series:
    """Rows of a model's channels, in the units of the file.

    Attributes:
        path: the file.
        sha256: its hash.
        values: float32 [rows, channels], oldest row first.
    """

    path: Path
    sha256: str
    values: NDArray[np.float32]

    @property
    def _split(self) -> int:
        return int(len(self.values) * CALIBRATION_SHARE)

    @property
    def deviation(self) -> NDArray[np.float32]:
        """The deviation of each channel [channels] over the rows that calibrate; 1 where it never moves."""
        deviation: NDArray[np.float32] = self.values[: self._split].std(axis=0)
        return np.where(deviation > 0, deviation, np.float32(1))

    def calibration(self, context: int) -> NDArray[np.float32]:
        """Return at most CALIBRATION_WINDOWS windows [n, context, channels], evenly from the first rows."""
        return self._cut(self.values[: self._split], context, 0, CALIBRATION_WINDOWS)[0]

    def held_back(self, context: int, horizon: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return at most HELD_BACK_WINDOWS windows [n, context, channels] and what followed [n, horizon, channels].

        What followed lies in the rows that did not calibrate.
        """
        return self._cut(self.values[max(0, self._split - context) :], context, horizon, HELD_BACK_WINDOWS)

    def _cut(
        self, rows: NDArray[np.float32], context: int, horizon: int, most: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        needed = context + horizon
        if len(rows) < needed:
            least = round(max(context / CALIBRATION_SHARE, horizon / (1 - CALIBRATION_SHARE))) + 1
            raise SetupError(f"{self.path}: {len(self.values)} rows are too few, this model needs {least}")
        pasts, futures = windows(rows, context, horizon, -(-(len(rows) - needed + 1) // most))
        return np.ascontiguousarray(pasts.transpose(0, 2, 1)), np.ascontiguousarray(futures.transpose(0, 2, 1))


def bundled_series() -> Path:
    """Return the recording that comes with the package."""
    return bundled_examples() / "host.csv"


def read_series(path: Path, channels: Sequence[str], *, independent: bool) -> Series:
    """Read the values of a model's channels from a wide table.

    Columns are taken by the names of the channels where the table has them all, else in their order. Where there are
    fewer than channels, they serve in turn if the channels are ``independent``.

    Raises:
        SetupError: what :func:`vinocast.data.tables.read.read_table` raises, several items, too few columns, an
            empty cell.
    """
    table = read_table(path)
    if len(table.items) > 1:
        raise SetupError(f"{path}: a long table, expected a column for each of {', '.join(channels)}")
    (item,) = table.items
    columns = _columns(table, channels, independent=independent)
    # As rows that follow one another: a row that is not there is left out, as one with an empty cell has to be.
    (rows,) = np.nonzero(item.lines)
    values = item.values[rows][:, columns]
    if (empty := np.argwhere(np.isnan(values))).size:
        step, column = empty[0].tolist()
        place = table.place(item, int(rows[step]), columns[column])
        raise SetupError(f"{place}: no number; leave such rows out")
    return Series(path, table.sha256, values.astype(np.float32))


def _columns(table: Table, channels: Sequence[str], *, independent: bool) -> list[int]:
    found = len(table.columns)
    if set(channels) <= set(table.columns):
        return [table.columns.index(channel) for channel in channels]
    if found < len(channels) and not independent:
        raise SetupError(
            f"{table.source}: expected columns for {len(channels)} channels ({', '.join(channels)}), got "
            f"{', '.join(table.columns)[:80]!r}"
        )
    return [index % found for index in range(len(channels))]
