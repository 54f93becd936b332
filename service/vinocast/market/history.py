"""Candles of the past, in the order of an exchange's endpoint: time, low, high, open, close, volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vinocast.errors import InvalidShapeError, InvalidValueError
from vinocast.market.fields import MOST_NUMBER, MOST_SECONDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vinocast.market.messages import Candle

COLUMNS = ("time", "low", "high", "open", "close", "volume")


def candles_of(rows: NDArray[np.float64]) -> list[Candle]:
    """Return candles [n, 6], in any order, ordered by their starts; of several with one start the last.

    Raises:
        InvalidShapeError: another number of columns.
        InvalidValueError: a number that a candle cannot have; the path is that of its row.
    """
    if rows.ndim != 2 or rows.shape[1] != len(COLUMNS):
        shape = "x".join(map(str, rows.shape))
        raise InvalidShapeError(f"candles: expected rows of {', '.join(COLUMNS)}, got {shape}", "candles")
    time, low, high, opened, close, volume = rows.T
    _refuse(rows, 0, (time >= 0) & (time <= MOST_SECONDS) & (time == np.floor(time)), "whole seconds from 1970 to 2261")
    for column in range(1, 5):
        _refuse(
            rows, column, (rows[:, column] > 0) & (rows[:, column] <= MOST_NUMBER), "a price above 0 within float32"
        )
    _refuse(rows, 5, (volume >= 0) & (volume <= MOST_NUMBER), "a volume of at least 0 within float32")
    _refuse(rows, 1, low <= np.minimum(opened, close), "at most open and close")
    _refuse(rows, 2, high >= np.maximum(opened, close), "at least open and close")
    candles = {int(row[0]): row for row in rows.tolist()}
    return [(start, o, h, lowest, c, v) for start, (_, lowest, h, o, c, v) in sorted(candles.items())]


def _refuse(rows: NDArray[np.float64], column: int, fits: NDArray[np.bool_], expected: str) -> None:
    """Refuse rows of which one does not fit in a column; what is not a number fits nowhere."""
    if not fits.all():
        row = int(np.argmin(fits))
        field = f"candles[{row}][{column}]"
        raise InvalidValueError(f"{field}, {COLUMNS[column]}: expected {expected}, got {rows[row, column]:g}", field)
