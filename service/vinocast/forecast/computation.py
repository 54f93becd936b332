"""What is computed for a forecast that takes more than one inference, a part at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vinocast.engine.lane import TOO_LATE
from vinocast.errors import DeadlineExceededError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast.forecast.engine import ForecastEngine
    from vinocast.forecast.manifest import ForecasterManifest

FLOAT32 = 4


class Computation:
    """Forecasts of some columns of a window, in parts of one inference each, and as far as is wanted.

    What is beyond the horizon is forecast from the forecast: the columns that are wanted go on by themselves where
    channels are independent, all of them where they are not.

    Args:
        window: float32 [context, columns].
        targets: indices of its columns.
        steps: how many are wanted.
        whole: whether quantiles are, which there are of one horizon alone; see ``ForecastEngine.forecast_together``.

    Attributes:
        done: series that were computed, each as often as it takes.
        seconds: spent in infer().
    """

    def __init__(self, window: NDArray[np.float32], targets: Sequence[int], steps: int, *, whole: bool = False) -> None:
        self._window = window
        self._targets = targets
        self._steps = steps
        self._whole = whole
        self._picked: Sequence[int] | None = None  # of what is computed, where that is more than is wanted
        self._parts: list[NDArray[np.float32]] = []  # of this horizon
        self._place = 0
        self._horizons: list[NDArray[np.float32]] = []
        self.done = 0
        self.seconds = 0.0

    def step(self, engine: ForecastEngine) -> bool:
        """Compute some series of one horizon; return whether that was the last part."""
        horizon, independent = engine.manifest.horizon, engine.most_series > 0
        if not independent and self._picked is None and self._steps > horizon:
            self._picked, self._targets = self._targets, range(self._window.shape[1])
        targets = self._targets[self._place : self._place + (engine.most_series or len(self._targets))]
        (part,), seconds = engine.forecast_together([(self._window, targets)], whole=self._whole)
        self._parts.append(part)
        self._place += len(targets)
        self.done += len(targets)
        self.seconds += seconds
        if self._place < len(self._targets):
            return False
        points = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts, axis=-1)
        self._horizons.append(points)
        if len(self._horizons) * horizon >= self._steps:
            return True
        window = self._window if len(self._horizons) > 1 else self._window[:, list(self._targets)]
        self._window = np.concatenate((window, points))[-len(window) :]
        self._parts, self._place, self._targets = [], 0, range(window.shape[1])
        return False

    @property
    def forecast(self) -> NDArray[np.float32]:
        """What was computed, float32 [steps, targets] in C's order, or [levels, steps, targets] where it is whole."""
        made = self._horizons[0] if len(self._horizons) == 1 else np.concatenate(self._horizons)
        return np.ascontiguousarray(
            (made if self._picked is None else made[:, list(self._picked)])[..., : self._steps, :]
        )


def horizons(steps: int, manifest: ForecasterManifest) -> int:
    """Return how many times a model is asked for so many steps."""
    return -(-steps // manifest.horizon)


def computing_bytes(manifest: ForecasterManifest, columns: int, steps: int, *, whole: bool) -> int:
    """Return how many bytes of memory a :class:`Computation` takes at most beside its window.

    Those are forecasts of whole horizons, apart and joined, and, where they are fed back, two longer windows.
    """
    again = horizons(steps, manifest) * (max(1, len(manifest.quantile_levels)) if whole else 1)
    windows = 2 * (manifest.context + manifest.horizon) if steps > manifest.horizon else 0
    return columns * (2 * again * manifest.horizon + windows) * FLOAT32


def late(done: int, rows: int) -> DeadlineExceededError:
    """Return the refusal of a forecast whose deadline passed after some series, or before the first."""
    passed = f"deadline_ms: the deadline passed after {done} of {rows} series"
    return DeadlineExceededError(passed if done else TOO_LATE, "deadline_ms")
