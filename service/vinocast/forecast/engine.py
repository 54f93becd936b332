"""A forecast model as the data plane sees it: a window and targets in, [horizon, targets] out.

Hides the two layouts of an IR: in ``series`` every channel is one row of a batch, so asking for one target computes
one; in ``window`` the channels go through together and targets are picked afterwards.
"""

from __future__ import annotations

import bisect
import itertools
import logging
import threading
from typing import TYPE_CHECKING

import numpy as np

from vinocast.engine.compile import compiling, infer_together
from vinocast.engine.manifest import IR_FILE, WEIGHTS_FILE, golden_vectors
from vinocast.engine.tuned import choose
from vinocast.errors import InvalidRequestError
from vinocast.forecast.manifest import SERIES_PER_PART, ForecasterFolder, ForecasterManifest
from vinocast.forecast.quantiles import deviations, read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from vinocast.engine.compile import CompiledShape, Compiler, Slot
    from vinocast.engine.in_force import Property
    from vinocast.engine.profiles import Profile
    from vinocast.forecast.quantiles import QuantileTable

log = logging.getLogger(__name__)

# What bf16 may add to the difference from golden vectors: seen are 0.02 of a deviation in f32 weights, 0.09 in int8.
BF16_TOLERANCE = 0.2
# Series of a request of many that go through a model of fewer channels together: alone each takes two and a half times
# as long, and beyond these hardly anything is gained.
SERIES_TOGETHER = 7
# Of each number of series, for the summary.
TIMED_RUNS = 50


def series_counts(channels: int) -> list[int]:
    """Return the batch sizes to compile for a model of so many channels, at most SERIES_PER_PART, most wanted first.

    All channels and a single target are what clients ask for. Between them every count up to eight has its own shape,
    as a row of padding costs as much as a wanted one; above eight each is at most a quarter more than the one before.
    A model of few channels has SERIES_TOGETHER for the series of others.
    """
    channels = min(channels, SERIES_PER_PART)
    between = list(range(2, min(channels, 9)))
    while between and between[-1] * 5 // 4 < channels and between[-1] >= 8:
        between.append(between[-1] * 5 // 4)
    return list(dict.fromkeys([channels, 1, *between, max(channels, SERIES_TOGETHER)]))


class ForecastEngine:
    """One forecast model, compiled for the batch sizes that occur. For any thread: one computes, others wait.

    Loading is in steps so that the first answer need not wait for every shape: :meth:`load` makes the model usable,
    :meth:`load_rest` adds the shapes that make small requests cheap. ``load_rest`` may run beside :meth:`forecast`.
    A forked process must load a model of its own: the threads of OpenVINO stay in its parent.

    Attributes:
        folder: the model's own folder.
        manifest: of that folder.
        profile: how it is compiled, once :meth:`load` is done.
        served: the files that are served: those of ``folder``, or what a tuned profile made of them.
        warnings: what a user should know of the profile's choice, and how what is in force differs from it.
        in_force: the properties read back from the compiled model.
    """

    profile: Profile
    served: ForecasterFolder
    warnings: list[str]
    in_force: dict[str, Property]

    def __init__(self, folder: ForecasterFolder) -> None:
        self.folder = folder
        self.manifest: ForecasterManifest = folder.manifest
        self._shapes: dict[int, CompiledShape] = {}
        # Replaced as a whole, as other threads may read it.
        self._counts: list[int] = []
        levels = self.manifest.quantile_levels
        self._median = levels.index(0.5) if levels else 0
        self._lock = threading.Lock()

    @property
    def compiled_counts(self) -> list[int]:
        """The batch sizes that are compiled, ascending."""
        return self._counts

    @property
    def most_series(self) -> int:
        """The most series that are computed together; none, where channels go through the net as a window."""
        return self._counts[-1] * self._streams if self.manifest.layout == "series" else 0

    @property
    def _streams(self) -> int:
        return len(self._shapes[self._counts[-1]].slots)

    @property
    def has_quantiles(self) -> bool:
        """Whether :meth:`quantiles` has something to answer with."""
        return self.manifest.has_quantiles

    @property
    def precision(self) -> str:
        """Of the weights that are served, which a tuned profile may have chosen."""
        return self.served.manifest.precision

    def load(self, compiler: Compiler) -> None:
        """Verify the files, compile the main shape and pass the self-test; raises ModelRefusedError."""
        self.profile, self.served, files, warning = choose(compiler.profile, self.folder)
        if self.manifest.market is not None:
            warning = None  # that it was not tuned, which such a model never is
        if warning:
            log.warning("%s", warning)
        self._golden = golden_vectors(self.served, files, "inputs", "outputs")
        self._table = read_table(self.folder, files)
        with compiling(self.served.path):
            self._model = compiler.read_bytes(files[IR_FILE], files[WEIGHTS_FILE])
        main = self._add(compiler, self._wanted()[0])
        self.in_force, self.warnings = main.in_force, [*([warning] if warning else []), *main.warnings]

    def load_rest(self, compiler: Compiler, stop: Callable[[], bool] = lambda: False) -> None:
        """Compile and self-test the other shapes, each usable as soon as it is ready, until ``stop`` says True.

        Raises ModelRefusedError, and those that were ready are.
        """
        for count in self._wanted()[1:]:
            if stop():
                return
            self._add(compiler, count)

    def summary(self) -> list[str]:
        """Return what ``doctor`` says of the model loaded whole: what it is first, then its accuracy and its times."""
        manifest = self.manifest
        return [
            f"context {manifest.context}, {len(manifest.channels)} channels, {manifest.horizon} ahead"
            f"{', with quantiles of its own' if manifest.quantile_levels else ''}; weights "
            f"{self.precision}; hashes and golden vectors right; compiled for {self.compiled_counts} series",
            *(
                f"{metric.dataset} {metric.split}: MSE {metric.mse:.4f}, MAE {metric.mae:.4f}"
                for metric in manifest.metrics
            ),
            self._timing(),
        ]

    def forecast(
        self, window: NDArray[np.float32], targets: Sequence[int], *, whole: bool = False
    ) -> tuple[NDArray[np.float32], float]:
        """Forecast some channels of one window, in as many inferences as it takes.

        Args:
            window: float32 [context, channels], oldest row first.
            targets: channel indices, each at most once.
            whole: see :meth:`forecast_together`.

        Returns:
            float32 [horizon, targets] in the units of the input, owned by the caller, and the seconds spent in
            ``infer()``.
        """
        count = len(targets) or 1
        most = self.most_series or count
        parts = [
            self.forecast_together([(window, targets[start : start + most])], whole=whole)
            for start in range(0, count, most)
        ]
        if len(parts) == 1:
            ((forecast,), seconds) = parts[0]
            return forecast, seconds
        return np.concatenate([forecast for (forecast,), _ in parts], axis=-1), sum(seconds for _, seconds in parts)

    def forecast_together(
        self, requests: Sequence[tuple[NDArray[np.float32], Sequence[int]]], *, whole: bool = False
    ) -> tuple[list[NDArray[np.float32]], float]:
        """Forecast several windows, each with targets of its own, in one inference; see :meth:`forecast`.

        The targets of all together must be at most ``most_series``; where that is none, one request alone goes. Where
        there are several streams, the series are dealt out to them and computed side by side.

        With ``whole``, which :meth:`quantiles` needs, a model that has quantiles of its own answers all of them,
        float32 [levels, horizon, targets] of each window, of which :meth:`points` has the points.
        """
        with self._lock:
            return self._forecast_together(requests, whole=whole)

    def points(self, forecast: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the points [steps, n] of a forecast, which may be whole, [levels, steps, n]: its quantiles at 0.5."""
        return forecast if forecast.ndim == 2 else forecast[self._median]

    def quantiles(
        self,
        levels: Sequence[float],
        forecast: NDArray[np.float32],
        scales: NDArray[np.float32] | None,
        channels: Sequence[int] | None,
    ) -> NDArray[np.float32]:
        """Return quantiles of forecasts that this model has made, float32 [levels, steps, n], monotone in the level.

        Args:
            levels: each in 0..1, ascending; what 0 and 1 give is said at ``QuantileTable.quantiles``.
            forecast: float32 [steps, n], at most the horizon's steps; whole, [levels, steps, n], of a model that has
                quantiles of its own.
            scales: float32 [n], the ``deviations`` of the contexts; None will do for a whole forecast.
            channels: a channel's index for each of n; None for series that the model does not know.

        Raises:
            InvalidRequestError: the model has no quantiles.
            InvalidValueError: a quantile beyond float32.
        """
        return self._quantile_table().quantiles(levels, forecast, scales, channels)

    def check_quantiles(self) -> None:
        """Raise InvalidRequestError where the model has no quantiles."""
        self._quantile_table()

    def _quantile_table(self) -> QuantileTable:
        if self._table is None:
            raise InvalidRequestError(
                f"quantile_levels: model {self.folder.label} has no table of residuals; make one with "
                "'vinocast calibrate'",
                "quantile_levels",
            )
        return self._table

    def _forecast_together(
        self, requests: Sequence[tuple[NDArray[np.float32], Sequence[int]]], *, whole: bool
    ) -> tuple[list[NDArray[np.float32]], float]:
        if self.manifest.layout == "window":
            ((window, targets),) = requests
            shape = self._shapes[1]
            shape.inputs[0] = window
            seconds = shape.infer()
            outputs = shape.outputs[0]
            # As below: an index takes four times as long.
            every = targets == range(outputs.shape[1])
            return [outputs.copy() if every else np.ascontiguousarray(outputs[:, targets])], seconds
        count = sum(len(targets) for _, targets in requests)
        slots = self._slots(count)
        # Of one slot its own memory is filled, of several it is dealt out from here.
        inputs = slots[0][0].inputs if len(slots) == 1 else np.empty((count, self.manifest.context), np.float32)
        start = 0
        for window, targets in requests:
            # A slice copies without an index where all channels are wanted, which is the usual request.
            every = len(targets) == window.shape[1] and targets == range(window.shape[1])
            inputs[start : start + len(targets)] = window.T if every else window.T[list(targets)]
            start += len(targets)
        if len(slots) > 1:
            for slot, rows in slots:
                slot.inputs[: rows.stop - rows.start] = inputs[rows]
        seconds = infer_together([slot for slot, _ in slots])
        outputs = (
            slots[0][0].outputs
            if len(slots) == 1
            else np.concatenate([slot.outputs[: rows.stop - rows.start] for slot, rows in slots])
        )
        if self.manifest.quantile_levels and not whole:
            outputs = outputs[..., self._median]
        forecasts, start = [], 0
        for _, targets in requests:
            forecasts.append(outputs[start : start + len(targets)].T.copy())
            start += len(targets)
        return forecasts, seconds

    def _slots(self, count: int) -> list[tuple[Slot, slice]]:
        """Return the slots that so many series are computed in, one per stream, and the series of each."""
        parts = min(count, self._streams)
        bounds = [count * part // parts for part in range(parts + 1)]
        counts = self._counts
        return [
            (self._shapes[counts[bisect.bisect_left(counts, stop - start)]].slots[part], slice(start, stop))
            for part, (start, stop) in enumerate(itertools.pairwise(bounds))
        ]

    def _timing(self) -> str:
        shape, columns = (self.manifest.context, len(self.manifest.channels)), len(self.manifest.outputs.channels)
        window = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        figures = []
        for targets in dict.fromkeys((range(columns), range(1))):
            seconds = [self.forecast(window, targets)[1] for _ in range(TIMED_RUNS)]
            p50, p99 = np.quantile(seconds, (0.5, 0.99)) * 1e3
            figures.append(f"{len(targets)} series p50 {p50:.2f} ms, p99 {p99:.2f} ms")
        return "infer(): " + "; ".join(figures)

    def _wanted(self) -> list[int]:
        return [1] if self.manifest.layout == "window" else series_counts(len(self.manifest.channels))

    def _add(self, compiler: Compiler, count: int) -> CompiledShape:
        manifest = self.manifest
        series = manifest.layout == "series"
        with compiling(self.served.path):
            shape = compiler.compile(
                self._model,
                (count, manifest.context) if series else (count, manifest.context, len(manifest.channels)),
                self.profile,
            )
            self._self_test(shape, count)
        self._shapes[count] = shape
        self._counts = sorted({*self._counts, count})
        return shape

    def _self_test(self, shape: CompiledShape, count: int) -> None:
        """Run the golden vectors through a compiled shape; raises ModelRefusedError when they do not come out."""
        inputs, expected = self._golden
        manifest = self.manifest
        tolerance = self.served.manifest.golden_tolerance + (BF16_TOLERANCE if self.profile.precision == "bf16" else 0)
        channels = () if manifest.layout == "series" else (len(manifest.channels),)
        columns = channels and (len(manifest.outputs.channels),)
        answer = (manifest.horizon, *columns, *([len(manifest.quantile_levels)] if manifest.quantile_levels else []))
        shapes = (shape.outputs.shape[1:], inputs.shape[1:], expected.shape[1:])
        if shapes != (answer, (manifest.context, *channels), answer) or not (0 < len(inputs) == len(expected)):
            raise self.folder.refusal("the IR or the golden vectors have another shape than the manifest says")
        for start in range(0, len(inputs), count):
            batch = inputs[start : start + count]
            shape.inputs[: len(batch)] = batch
            shape.infer()
            # Not of the model's own floor, as a series that never moves has no digits below it.
            moves = manifest.market.scales(batch) if manifest.market else deviations(np.moveaxis(batch, 1, -1))
            scale = moves[:, None]
            scale = scale.reshape(*scale.shape, *[1] * (expected.ndim - scale.ndim))
            difference = np.abs(shape.outputs[: len(batch)] - expected[start : start + count]) / scale
            worst = float(difference.max())
            if not worst <= tolerance:
                raise self.served.refusal(
                    f"the golden vectors come out {worst:.3g} of a series' deviation away, more than {tolerance:.3g}",
                    remedy=None if self.served is self.folder else "tune the model again",
                )
