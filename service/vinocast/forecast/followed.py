"""Outcomes of forecasts of a stream of bars: each bar has its place by its time, whatever is missing between two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vinocast.forecast.outcomes import Outcomes

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray


class Followed:
    """How sure one model's forecasts of a stream are, as :class:`Outcomes` has it.

    Args:
        model: the name of the model, which is the first to have forecast the stream.
        horizon: steps of its forecasts.
        most: residuals kept of each step and channel.
        columns: of a row.
        stream: what is followed, by which it is known.
        since: returns the rows [rows, columns] of the bars from a place on, as far as they are kept.

    Attributes:
        model: the name of the model.
        stream: what is followed.
        outcomes: of its forecasts.
    """

    def __init__(
        self,
        model: str,
        horizon: int,
        most: int,
        columns: int,
        stream: object,
        since: Callable[[int], NDArray[np.float32]],
    ) -> None:
        self.model = model
        self.stream = stream
        self.since = since
        self.outcomes = Outcomes(most, horizon, columns)
        self._newest = -1

    def observe(self, place: int, row: NDArray[np.float32]) -> None:
        """Take a bar's row [columns] for the outcome of the forecasts before it; one that is older is too late."""
        if place > self._newest:
            self._newest = place
            self.outcomes.observe(place, row[None])
