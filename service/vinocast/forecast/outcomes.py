"""How sure forecasts of one stream are, from what came after those that the service has made of it.

Each row that comes is the outcome of a step of every forecast made in the horizon before it. The residuals, divided by
the deviations of their windows, are kept for each step and channel, the newest of them alone: where the world has
shifted, they follow, and the table of the model does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vinocast.forecast.bands import Bands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Residuals of a step and a channel that are enough for its quantiles.
ENOUGH = 100


class Outcomes:
    """Residuals of one model's forecasts of one stream.

    Takes 4 bytes for each of ``most`` residuals, and of ``horizon`` forecasts whose outcomes are still to come, of each
    step and channel: for 96 steps of 7 channels 2.7 kB each.

    Args:
        most: residuals kept of each step and channel.
        horizon: steps of a forecast.
        channels: values of a row.

    Attributes:
        bands: of some of the forecasts.
    """

    def __init__(self, most: int, horizon: int, channels: int) -> None:
        self.bands = Bands(horizon, channels)
        self._enough = min(ENOUGH, most)
        # NaN is none.
        self._residuals = np.full((horizon, channels, most), np.nan, np.float32)
        self._written = np.zeros(horizon, np.int64)
        # The forecasts by the position of their windows' last row, modulo their number; -1 is none. There is one more
        # than waits: the one whose last outcome came last, which may be replaced.
        self._positions = np.full(horizon + 1, -1, np.int64)
        self._points = np.full((horizon + 1, horizon, channels), np.nan, np.float32)
        self._scales = np.ones((horizon + 1, channels), np.float32)
        self._newest: int | None = None  # the position of the row that may be replaced
        self._skipped = -1

    def fits(self, horizon: int, channels: int) -> bool:
        """Whether they are of so many steps and channels: a model that is replaced may have others."""
        return self._points.shape[1:] == (horizon, channels)

    def remember(
        self,
        position: int,
        points: NDArray[np.float32],
        scales: NDArray[np.float32],
        channels: Sequence[int],
        later: NDArray[np.float32],
    ) -> None:
        """Keep a forecast until its outcomes have come; of several from one position the first of each channel counts.

        Args:
            position: rows of the stream that had come, the last of which ends the window.
            points: float32 [steps, n], as many as the horizon or fewer.
            scales: float32 [n], the deviations of the window.
            channels: of the n.
            later: float32 [rows, channels of the stream], what has come since.
        """
        slot = position % len(self._positions)
        if self._positions[slot] > position or len(later) >= len(self._written) or position <= self._skipped:
            return
        if self._positions[slot] != position:
            self._positions[slot] = position
            self._points[slot] = np.nan
        elif len(later) or not np.isnan(self._points[slot, 0, channels]).any():
            return
        self._points[slot, : len(points), channels] = points.T
        self._scales[slot, channels] = scales
        for step, row in enumerate(later):
            self._write(np.array([slot]), np.array([step]), row)

    def observe(self, position: int, rows: NDArray[np.float32]) -> None:
        """Take rows [n, channels] that have come after so many as outcomes."""
        for at, row in enumerate(rows[: len(self._written)], position):
            self._write(*self._of(at), row)
        self._newest = position + len(rows) - 1
        self.bands.observe(position, rows)

    def replace(self, row: NDArray[np.float32]) -> None:
        """Take a row for the one that came last."""
        if self._newest is not None:
            slots, steps = self._of(self._newest)
            self._written[steps] -= ~np.isnan(self._points[slots, steps]).all(axis=1)
            self._write(slots, steps, row)
            self.bands.replace(row)

    def skip(self, position: int) -> None:
        """Drop the forecasts of the so many rows that have come: it is not known of which steps the next rows are."""
        self._positions[:] = -1
        self._newest, self._skipped = None, position
        self.bands.skip(position)

    def _of(self, at: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the forecasts of which the row at a position is an outcome, and of which step of each."""
        steps = at - self._positions
        slots = np.flatnonzero((self._positions >= 0) & (steps >= 0) & (steps < len(self._written)))
        return slots, steps[slots]

    def _write(self, slots: NDArray[np.int64], steps: NDArray[np.int64], row: NDArray[np.float32]) -> None:
        """Write the residuals of some forecasts, each of another step."""
        points = self._points[slots, steps]
        there = ~np.isnan(points).all(axis=1)
        slots, steps, points = slots[there], steps[there], points[there]
        with np.errstate(over="ignore"):
            residuals = (row - points) / self._scales[slots]
        residuals[~np.isfinite(residuals)] = np.nan
        self._residuals[steps, :, self._written[steps] % self._residuals.shape[2]] = residuals
        self._written[steps] += 1

    def quantiles(
        self, levels: Sequence[float], steps: int, channels: Sequence[int]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return scaled residuals [levels, steps, n] of some channels, and of which steps [steps, n] there are enough.

        The rank of a level is ``level * (count + 1)``, as split conformal prediction has it. What is not enough is
        some number.
        """
        # Taken, not indexed, which would lay them out in an order that takes four times as long to sort.
        kept = np.take(self._residuals[:steps], channels, axis=1)
        kept.sort(axis=-1)
        counts = kept.shape[-1] - np.isnan(kept).sum(axis=-1)
        rank = np.asarray(levels)[:, None, None] * (counts + 1) - 1
        rank = np.clip(rank, 0, np.maximum(counts - 1, 0))
        low = rank.astype(np.int64)
        high = np.minimum(low + 1, np.maximum(counts - 1, 0))
        below, above = (np.take_along_axis(kept, np.moveaxis(at, 0, -1), -1).astype(np.float64) for at in (low, high))
        made = np.moveaxis(below, -1, 0) + (rank - low) * (np.moveaxis(above, -1, 0) - np.moveaxis(below, -1, 0))
        return made.astype(np.float32), counts >= self._enough
