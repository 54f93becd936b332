"""Real values to calibrate and to check a model with: a CSV of the user's own, or the recording that comes along."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vinocast.data.bundled import bundled_examples
from vinocast.data.regular import read_input
from vinocast.data.windows import windows
from vinocast.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

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
    """Read the values of a model's channels from a CSV with a header, whose first column is the time.

    Columns are taken by the names of the channels where the header has them all, else in their order. Where there are
    fewer than channels, they serve in turn if the channels are ``independent``.

    Raises:
        SetupError: no such file, no header, too few columns, a value that is no finite number.
    """
    try:
        data = read_input(path)
        header, *lines = list(csv.reader(io.StringIO(data.decode("utf-8-sig")))) or [[]]
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SetupError(f"{path} is no CSV of numbers: {error}") from None
    columns = _columns(path, [name.strip() for name in header], channels, independent=independent)
    values = np.empty((len(lines), len(columns)), np.float32)
    for row, line in enumerate(lines):
        try:
            with np.errstate(over="ignore"):
                values[row] = [float(line[column]) for column in columns]
        except (IndexError, ValueError) as error:
            raise SetupError(f"{path}: line {row + 2}: {error}; expected a number in each column") from None
        if not np.isfinite(values[row]).all():
            raise SetupError(f"{path}: line {row + 2}: a value is not finite in float32; leave such rows out")
    return Series(path, hashlib.sha256(data).hexdigest(), values)


def _columns(path: Path, header: list[str], channels: Sequence[str], *, independent: bool) -> list[int]:
    found = len(header) - 1
    if set(channels) <= set(header):
        return [header.index(channel) for channel in channels]
    if found < len(channels) and (found < 1 or not independent):
        raise SetupError(
            f"{path}: expected a header of a time column and {len(channels)} channels "
            f"({', '.join(channels)}), got {','.join(header)[:80]!r}"
        )
    return [1 + index % found for index in range(len(channels))]
