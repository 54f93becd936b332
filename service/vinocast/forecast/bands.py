"""How often what came lay in the band that a forecast of a stream had: whether the service is as sure as it should be.

The band is what a client is answered at the levels of BAND, the stream's own once there are enough outcomes. It is kept
of one forecast in EVERY, by its place in the stream: those of neighbours say nearly the same, and to make one takes as
long as to answer quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# The levels at the ends of a band in which four fifths of what comes should lie.
BAND = (0.1, 0.9)
EVERY = 16


@dataclass(slots=True)
class Tally:
    """Outcomes of one model's forecasts of streams: numbers of one step and channel each.

    Attributes:
        judged: how many came of a forecast whose band was kept.
        within: how many of them lay in it.
    """

    judged: int = 0
    within: int = 0


class Bands:
    """Bands of one model's forecasts of one stream, until their outcomes have come.

    Args:
        horizon: steps of a forecast.
        channels: values of a row.
    """

    def __init__(self, horizon: int, channels: int) -> None:
        self._tally = Tally()
        self._horizon = horizon
        # By the position of the windows' last row; -1 is none. NaN is no band.
        self._positions = np.full(-(-horizon // EVERY) + 1, -1, np.int64)
        self._ends = np.full((len(self._positions), 2, horizon, channels), np.nan, np.float32)
        self._newest: tuple[int, NDArray[np.float32]] | None = None  # the row that may be replaced, and its position
        self._skipped = -1

    def remember(self, position: int, ends: NDArray[np.float32], channels: Sequence[int], tally: Tally) -> None:
        """Keep the band of a forecast from a position; of several the first of each channel counts.

        Args:
            position: rows of the stream that had come; no more have since.
            ends: float32 [2, steps, n], as many steps as the horizon or fewer.
            channels: of the n.
            tally: what is to count the outcomes of all.
        """
        self._tally = tally
        slot = position // EVERY % len(self._positions)
        if position <= self._skipped:
            return
        if self._positions[slot] != position:
            self._positions[slot] = position
            self._ends[slot] = np.nan
        elif not np.isnan(self._ends[slot, 0, 0, channels]).all():
            return
        self._ends[slot, :, : ends.shape[1], channels] = ends.transpose(2, 0, 1)

    def observe(self, position: int, rows: NDArray[np.float32]) -> None:
        """Take rows [n, channels] that have come after so many as outcomes; the last of them once another comes."""
        for at, row in enumerate(rows[: self._horizon], position):
            self._judge()
            self._newest = at, row
        if len(rows) > self._horizon:  # the others are beyond all forecasts
            self._judge()
            self._newest = position + len(rows) - 1, rows[-1]

    def replace(self, row: NDArray[np.float32]) -> None:
        """Take a row for the one that came last."""
        if self._newest is not None:
            self._newest = self._newest[0], row

    def skip(self, position: int) -> None:
        """Drop the bands of the so many rows that have come: it is not known of which steps the next rows are."""
        self._judge()
        self._positions[:] = -1
        self._newest, self._skipped = None, position

    def _judge(self) -> None:
        """Count the row that came last, which stays as it is."""
        if self._newest is None:
            return
        at, row = self._newest
        steps = at - self._positions
        slots = np.flatnonzero((self._positions >= 0) & (steps >= 0) & (steps < self._horizon))
        if len(slots):
            low, high = self._ends[slots, :, steps[slots]].swapaxes(0, 1)
            self._tally.judged += int(np.count_nonzero(~np.isnan(low + row)))
            self._tally.within += int(np.count_nonzero((low <= row) & (row <= high)))
