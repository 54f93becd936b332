"""How sure a forecast is: quantiles from a table of residuals, or of the model's own by a table of places among them.

A residual is what came less what was forecast, divided by the deviation of the window's own context. The table has
quantiles of it for each step and each level of a grid, by channel and for series that the model does not know. A
quantile of a forecast is then the point and the deviation times the residual's: nothing of it touches the inference.

Of a model that answers quantiles itself the table says where among them a level is. A place is 0 at the first of its
levels and one more at each next; between two, values are interpolated, and beyond the outermost the last step goes on.
As the model says it, each level is in its own place (:func:`own_table`); a calibration moves them to where past values
fell.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.data.bundled import mend
from vinocast.engine.manifest import arrays_of
from vinocast.errors import InvalidValueError
from vinocast.forecast.manifest import MINIMUM_VARIANCE, MOST_LEVELS, QUANTILES_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from vinocast.forecast.manifest import ForecasterFolder, ForecasterManifest

# Beyond the outermost of a model's own levels its last step goes on once for each halving of what is left, which is an
# exponential tail; so often, and no further.
HALVINGS = 7
# Sets of levels that are kept ready, and the values of one: more are computed anew, which takes some 50 us.
KEPT_SETS, KEPT_VALUES = 32, 1 << 16
# How far golden quantiles may come out, which are of the size of 1.
TOLERANCE = 1e-5
ARRAYS = ("levels", "channels", "others")
GOLDEN_ARRAYS = ("golden_levels", "golden_points", "golden_scales", "golden_quantiles", "golden_other_quantiles")


def deviations(contexts: NDArray[Any], minimum_variance: float = MINIMUM_VARIANCE) -> NDArray[np.float32]:
    """Return what the models' scaler divides series by: float32 [...] of contexts [..., points].

    The root of the biased variance and of what the model's scaler adds to it, as its manifest says. It is computed in
    float64, since the squares of what float32 holds are beyond it. Never 0; infinite where it is beyond float32.
    """
    # An eighth of the time of numpy's var, which would walk the columns of a window.
    centred = contexts.astype(np.float64, order="C")
    centred -= np.add.reduce(centred, axis=-1, keepdims=True) / centred.shape[-1]
    with np.errstate(over="ignore"):
        variances = np.vecdot(centred, centred) / centred.shape[-1]
        scales: NDArray[np.float32] = np.sqrt(variances + minimum_variance).astype(np.float32)
    return scales


def scales_of(
    manifest: ForecasterManifest, window: NDArray[Any], targets: Sequence[int], padded: int = 0
) -> NDArray[np.float32]:
    """Return what errors of some of a model's outputs are divided by, float32 [targets].

    Args:
        manifest: of the model.
        window: [context, columns].
        targets: of its columns; of a market model, of its outputs.
        padded: rows in front that are made up, which never move and would have a band be too narrow.
    """
    window = window[padded:]
    if manifest.market is not None:
        return manifest.market.scales(window)[list(targets)]
    contexts = window.T
    if targets != range(len(contexts)):
        contexts = contexts[list(targets)]
    return deviations(contexts, manifest.minimum_variance)


class QuantileTable:
    """Quantiles of scaled residuals, or places, by channel, step and level; see the module. For any thread.

    Args:
        levels: float64 [k], the grid, ascending from 0 to 1. At 0 and 1 stand the least and the largest residual.
        channels: float32 [channels, horizon, k], ascending along the levels; of no channel where it has none of them.
        others: float32 [horizon, k], for series that the model does not know; [1, k] where steps make no difference.
    """

    def __init__(self, levels: NDArray[np.float64], channels: NDArray[np.float32], others: NDArray[np.float32]) -> None:
        self.levels = levels
        self.channels = channels
        self.others = others
        self._kept = lru_cache(KEPT_SETS)(self.entries)

    def quantiles(
        self,
        levels: Sequence[float],
        forecast: NDArray[np.float32],
        scales: NDArray[np.float32] | None,
        channels: Sequence[int] | None,
    ) -> NDArray[np.float32]:
        """Return the quantiles of forecasts, float32 [levels, steps, n], ascending along ascending levels.

        Args:
            levels: each in 0..1. Between those of the grid entries are interpolated; at 0 and 1 they are the least
                and the largest that calibration saw, which is no bound of what may come.
            forecast: float32 [steps, n], the points of n series, at most as many steps as the table has; or, of
                places, [levels of the model, steps, n], the quantiles that it answered.
            scales: float32 [n], :func:`deviations` of their contexts; places need none.
            channels: the index of each series' channel; None for series that the model does not know.

        Raises:
            InvalidValueError: a quantile beyond float32.
        """
        picked = None if channels is None or not len(self.channels) else tuple(channels)
        values = len(levels) * len(self.others) * (len(picked) if picked else 1)
        entries = (self._kept if values <= KEPT_VALUES else self.entries)(tuple(levels), picked)
        entries = entries[:, : forecast.shape[-2]]
        with np.errstate(over="ignore", invalid="ignore"):
            if forecast.ndim == 3 or scales is None:
                quantiles = at_places(forecast, entries)
            else:
                # Of every step, since to go along the few series of each takes as long again.
                of_steps = np.empty(forecast.shape, np.float32)
                of_steps[:] = scales
                quantiles = entries * of_steps
                quantiles += forecast
        if not np.isfinite(quantiles).all():
            raise InvalidValueError("the window's values spread too far for quantiles in float32", "past_values")
        return quantiles

    def entries(self, levels: tuple[float, ...], channels: Sequence[int] | None) -> NDArray[np.float32]:
        """Return entries [levels, horizon, n] by linear interpolation along the grid; n is 1 without channels."""
        table = self.others[None] if channels is None else self.channels[list(channels)]
        place = np.clip(np.searchsorted(self.levels, levels, side="right") - 1, 0, len(self.levels) - 2)
        start, end = self.levels[place], self.levels[place + 1]
        share = (np.asarray(levels) - start) / (end - start)
        # In float64, so that rounding to float32 keeps the order.
        low, high = table[..., place].astype(np.float64), table[..., place + 1].astype(np.float64)
        return np.ascontiguousarray((low + share * (high - low)).astype(np.float32).transpose(2, 1, 0))

    def packed(self, own: int = 0) -> bytes:
        """Return the table as the file of the folder of a model with so many quantiles of its own.

        It has golden vectors of its own.
        """
        levels = np.array([0, 0.013, 0.1, 0.5, 0.77, 0.9, 1])
        count = max(1, len(self.channels))
        random = np.random.default_rng(12)
        shape = (len(self.others), count)
        points = random.standard_normal((own, *shape) if own else shape).astype(np.float32)
        if own:
            points.sort(axis=0)
        scales = random.uniform(0.5, 2, count).astype(np.float32)
        file = io.BytesIO()
        np.savez_compressed(
            file,
            levels=self.levels,
            channels=self.channels,
            others=self.others,
            golden_levels=levels,
            golden_points=points,
            golden_scales=scales,
            golden_quantiles=self.quantiles(levels.tolist(), points, scales, range(count)),
            golden_other_quantiles=self.quantiles(levels.tolist(), points, scales, None),
        )
        return file.getvalue()


def at_places(own: NDArray[np.float32], places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what is at places [k, steps or 1, n or 1] among quantiles [levels, steps, n], float32 [k, steps, n].

    At a whole place that is the quantile itself. It ascends with the place.
    """
    low = np.clip(np.floor(places), 0, len(own) - 2).astype(np.intp)
    # In float64, so that rounding to float32 keeps the order.
    share = places.astype(np.float64) - low
    if low.size == len(low):
        below, above = own[low.ravel()], own[low.ravel() + 1]
    else:
        # By places in memory, a quarter of the time of an index for each axis.
        size = own[0].size
        low = low * size + np.arange(size).reshape(own.shape[1:])
        flat = own.reshape(-1)
        below, above = flat.take(low), flat.take(low + size)
    made: NDArray[np.float32] = (below * (1 - share) + above * share).astype(np.float32)
    return made


def places_of(own: NDArray[np.float32], values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the places [steps, n] of values among quantiles [levels, steps, n]: the inverse of :func:`at_places`.

    NaN or infinite where the quantiles around a value are one, or it is none.
    """
    low = np.clip((own <= values).sum(axis=0) - 1, 0, len(own) - 2)[None]
    below, above = (np.take_along_axis(own, at, 0)[0].astype(np.float64) for at in (low, low + 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        places: NDArray[np.float64] = low[0] + (values - below) / (above - below)
    return places


def own_table(levels: Sequence[float]) -> QuantileTable:
    """Return the places of the levels of a model that answers quantiles of these levels, as it says them."""
    halved = 0.5 ** np.arange(HALVINGS, 0, -1)
    grid = np.array([0, *(levels[0] * halved), *levels, *(1 - (1 - levels[-1]) * halved[::-1]), 1])
    last = len(levels) - 1 + HALVINGS
    places = np.array([[-HALVINGS, *range(-HALVINGS, last + 1), last]], np.float32)
    return QuantileTable(grid, places[:0, None], places)


def read_table(folder: ForecasterFolder, files: Mapping[str, bytes]) -> QuantileTable | None:
    """Return the table of a model; None where it has none, nor quantiles of its own.

    ``files`` are those that ``ModelFolder.read`` has returned. Raises ModelRefusedError for what is no table of the
    model's horizon and channels, or does not give its golden vectors.
    """
    if QUANTILES_FILE not in files:
        own = folder.manifest.quantile_levels
        return own_table(own) if own else None
    names, remedy = (*ARRAYS, *GOLDEN_ARRAYS), mend(folder.path, "calibrate the model again")
    read = arrays_of(folder, files, QUANTILES_FILE, "a table of quantiles", *names, remedy=remedy)
    arrays = dict(zip(names, read, strict=True))
    fault = _fault(folder, arrays) or _golden_fault(arrays)
    if fault:
        raise folder.refusal(fault, file=QUANTILES_FILE, remedy=remedy)
    return _table(arrays)


def _table(arrays: Mapping[str, NDArray[Any]]) -> QuantileTable:
    return QuantileTable(
        arrays["levels"].astype(np.float64),
        arrays["channels"].astype(np.float32, copy=False),
        arrays["others"].astype(np.float32, copy=False),
    )


def _fault(folder: ForecasterFolder, arrays: Mapping[str, NDArray[Any]]) -> str | None:
    """Return what is wrong with the arrays; they are computed with only where there is nothing."""
    manifest = folder.manifest
    own = len(manifest.quantile_levels)
    levels, channels, others = (arrays[name] for name in ARRAYS)
    golden, points, scales, *expected = (arrays[name] for name in GOLDEN_ARRAYS)
    if not (
        2 <= levels.size <= MOST_LEVELS
        and levels.shape == (levels.size,)
        and others.shape == (manifest.horizon, levels.size)
        and channels.shape in {(count, *others.shape) for count in (0, len(manifest.outputs.channels))}
        and points.shape == (*([own] if own else []), manifest.horizon, max(1, len(channels)))
        and scales.shape == points.shape[-1:]
        and golden.size
        and golden.shape == (golden.size,)
        and all(array.shape == (golden.size, *points.shape[-2:]) for array in expected)
    ):
        return "the table has another shape than the manifest says"
    if not all(np.isfinite(array).all() for array in arrays.values()):
        return "the table holds a NaN or an infinity"
    if levels[0] != 0 or levels[-1] != 1 or not (np.diff(levels) > 0).all():
        return "the levels do not ascend from 0 to 1"
    if golden.min() < 0 or golden.max() > 1 or scales.min() < 0:
        return "its golden vectors are none"
    if any((array[..., 1:] < array[..., :-1]).any() for array in (channels, others)):
        return "the quantiles do not ascend with the level"
    return None


def _golden_fault(arrays: Mapping[str, NDArray[Any]]) -> str | None:
    table = _table(arrays)
    levels, points, scales = (arrays[name] for name in GOLDEN_ARRAYS[:3])
    for name, channels in (("golden_quantiles", range(len(scales))), ("golden_other_quantiles", None)):
        try:
            made = table.quantiles(levels.tolist(), points, scales, channels)
        except InvalidValueError as error:
            return error.message
        worst = float(np.max(np.abs(made - arrays[name]) / (1 + np.abs(arrays[name]))))
        if not worst <= TOLERANCE:
            return f"the golden quantiles come out {worst:.3g} away, more than {TOLERANCE:g}"
    return None
