"""Candles of one length made of shorter ones, and buckets in which nothing was traded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Time, low, high, open, close, volume.
COLUMNS = 6


def fill(rows: NDArray[np.float64], seconds: int) -> NDArray[np.float64]:
    """Return candles, oldest first, with one of the close before and volume 0 for each bucket between two of them."""
    if not len(rows):
        return rows
    places = ((rows[:, 0] - rows[0, 0]) // seconds).astype(np.int64)
    count = int(places[-1]) + 1
    before = np.searchsorted(places, np.arange(count), side="right") - 1
    filled: NDArray[np.float64] = np.repeat(rows[before, 4:5], COLUMNS, axis=1)
    filled[:, 0] = rows[0, 0] + seconds * np.arange(count)
    filled[:, 5] = 0.0
    filled[places] = rows
    return filled


def fold(rows: NDArray[np.float64], fine: int, seconds: int) -> NDArray[np.float64]:
    """Return candles of ``seconds`` from such of ``fine``, oldest first; those that are not covered are left out."""
    starts = rows[:, 0] // seconds * seconds
    if len(rows):
        whole = (starts >= rows[0, 0]) & (starts + seconds - fine <= rows[-1, 0])
        rows, starts = rows[whole], starts[whole]
    if not len(rows):
        return rows
    _, first = np.unique(starts, return_index=True)
    return np.stack(
        [
            starts[first],
            np.minimum.reduceat(rows[:, 1], first),
            np.maximum.reduceat(rows[:, 2], first),
            rows[first, 3],
            rows[np.append(first[1:], len(rows)) - 1, 4],
            np.add.reduceat(rows[:, 5], first),
        ],
        axis=1,
    )
