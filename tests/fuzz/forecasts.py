"""What a forecast must hold: gaps, padding, quantiles, times, told by numpy and the points of ``vinocast.load``."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import vinocast
from numpy.typing import NDArray
from support import MODEL, MODELS
from vinocast.data.bundled import BUNDLED_GENERAL

# Of requests that are computed together, or by kernels of another instruction set: relative to the largest value of a
# series, or to the least deviation that the model takes one for. A forecast that is fed back errs by more each time.
TOLERANCE, FED_BACK = 1e-5, 1e-3
LEAST_VARIANCE = 1e-5
FORM = "%Y-%m-%d %H:%M"
Numbers = NDArray[Any]


class Forecasts:
    """What the bundled forecaster itself answers."""

    def __init__(self) -> None:
        self._model = vinocast.load(MODEL)
        self._general = vinocast.load(BUNDLED_GENERAL)  # of as long a context and horizon
        with np.load(MODELS / MODEL / "quantiles.npz") as table:
            self._levels, self._channels, self._others = (table[name] for name in ("levels", "channels", "others"))
        self._kept: dict[bytes, Numbers] = {}

    def fault(self, fields: dict[str, Any], reply: dict[str, Any]) -> str | None:
        """Return what is wrong with a reply of success, or None; raises where the request could not have any."""
        steps = fields.get("prediction_length", self._model.horizon)
        if fields.get("encoding_format") == "base64":
            reply = _read(reply)
        if bool(reply.get("rollout")) != (steps > self._model.horizon):
            return "fed back where it was not asked for, or not said so"
        if "inputs" in fields:
            if len(reply["outputs"]) != len(fields["inputs"]):
                return "another number of outputs"
            for item, output in zip(fields["inputs"], reply["outputs"], strict=True):
                if output["item_id"] != item.get("item_id"):
                    return "the output of another series"
                series = np.array(item["target"], np.float64)[None]
                if fault := self._faults(fields, series, None, output, item.get("start"), flat=True):
                    return fault
            return None
        if "stream" in fields:
            right = np.shape(reply["predictions"]) == (steps, len(reply["channels"]))
            return None if right and np.isfinite(reply["predictions"]).all() else "predictions of another shape"
        if "past_values" in fields:
            window = np.array(fields["past_values"], np.float64)
        else:
            raw = base64.b64decode(fields["past_values_b64"], validate=True)
            window = np.frombuffer(raw, "<f4").reshape(fields["shape"]).astype(np.float64)
        names = fields.get("channels", list(self._model.channels))
        targets = [names.index(each) if isinstance(each, str) else each for each in fields.get("targets", names)]
        if reply["channels"] != [names[each] for each in targets] or window.shape[1] != len(names):
            return "other channels"
        known = None if "channels" in fields else targets
        return self._faults(fields, window.T[targets], known, reply, fields.get("start"), flat=False)

    def _faults(
        self,
        fields: dict[str, Any],
        series: Numbers,
        known: list[int] | None,
        output: dict[str, Any],
        start: str | None,
        *,
        flat: bool,
    ) -> str | None:
        """Return what is wrong with the forecast of some series [n, points] with NaN where one is missing."""
        context, horizon = self._model.context, self._model.horizon
        steps = fields.get("prediction_length", horizon)
        points = series.shape[1]
        series = series[:, -context:].astype(np.float32).astype(np.float64)
        gaps = np.isnan(series)
        if gaps.any() and fields.get("missing") != "interpolate":
            return "success with gaps"
        if series.shape[1] < context and fields.get("short") != "pad":
            return "success for what is short"
        if (output.get("filled", 0), output.get("padded", 0)) != (gaps.sum(), context - series.shape[1]):
            return "another count of what was made up"
        places = np.arange(series.shape[1])
        for each, gap in zip(series, gaps, strict=True):
            each[gap] = np.interp(places[gap], places[~gap], each[~gap])
        columns = "inputs" in fields or "channels" in fields
        general = fields.get("model", BUNDLED_GENERAL if columns else MODEL) == BUNDLED_GENERAL
        deviations = np.sqrt(series.var(axis=1) + LEAST_VARIANCE)
        scale = max(np.abs(series).max(), LEAST_VARIANCE**0.5)
        missing = context - series.shape[1]
        series = np.concatenate((series.mean(axis=1, keepdims=True).repeat(missing, axis=1), series), axis=1)
        right = self._points(series.astype(np.float32), steps, general=general)
        tolerance = scale * (TOLERANCE if steps <= horizon else FED_BACK)
        if not _near(output["predictions"], right, tolerance, flat=flat):
            return "another forecast than the model's own"
        levels = sorted(fields.get("quantile_levels", []))
        if list(output.get("quantiles", {})) != [_name(abs(level)) for level in levels]:
            return "quantiles of other levels"
        before = None
        own: Mapping[float, Numbers] = {}
        if general and levels:
            window = series.T.astype(np.float32)
            own = self._general.forecast(window, channels=_names(window), quantile_levels=levels).quantiles
        for level in levels:
            made = output["quantiles"][_name(abs(level))]
            if general:
                wanted, spread = own[level].T[:, :steps], tolerance
            else:
                table = self._others[None] if known is None else self._channels[known]
                residuals = np.array([[np.interp(level, self._levels, row) for row in each] for each in table])
                wanted = right + deviations[:, None] * residuals[:, :steps]
                spread = tolerance + 1e-5 * deviations.max() * (1 + np.abs(residuals).max())
            if not _near(made, wanted, spread, flat=flat):
                return f"other quantiles at {level} than the model's"
            if before is not None and (np.array(made, np.float32) < np.array(before, np.float32)).any():
                return "quantiles that fall with the level"
            before = made
        return _times_fault(fields, output.get("timestamps"), start, points, steps)

    def _points(self, series: Numbers, steps: int, *, general: bool) -> Numbers:
        """Return the model's own forecasts [n, steps] of series [n, context]."""
        key = series.tobytes() + b"%d %d" % (steps, general)
        if key not in self._kept:
            width, made = len(self._model.channels), []
            for first in range(0, len(series), width):
                part = series[first : first + width]
                window = np.zeros((self._model.context, width), np.float32)
                window[:, : len(part)] = part.T
                points = np.empty((0, width), np.float32)
                while len(points) < steps:
                    whole = np.concatenate((window, points))[-len(window) :]
                    if general:
                        answer = self._general.forecast(whole, channels=_names(whole))
                    else:
                        answer = self._model.forecast(whole)
                    points = np.concatenate((points, np.asarray(answer)))
                made.append(points[:steps, : len(part)].T)
            self._kept[key] = np.concatenate(made)
        return self._kept[key]


def _read(reply: dict[str, Any]) -> dict[str, Any]:
    """Return a reply with numbers in the place of base64; raises where they are not those of its shape."""
    if "outputs" in reply:
        return {**reply, "outputs": [_read(output) for output in reply["outputs"]]}
    shape = reply["shape"]

    def numbers(text: str) -> Any:
        return np.frombuffer(base64.b64decode(text, validate=True), "<f4").reshape(shape)

    quantiles = {level: numbers(text) for level, text in reply.get("quantiles_b64", {}).items()}
    return {**reply, "predictions": numbers(reply["predictions_b64"]), "quantiles": quantiles}


def _near(answer: Any, right: Numbers, tolerance: float, *, flat: bool) -> bool:
    array = np.array(answer, np.float64)
    wanted = right[0] if flat else right.T
    return array.shape == wanted.shape and bool(np.abs(array - wanted).max() <= tolerance)


def _names(window: Numbers) -> list[str]:
    """Return a name for each column."""
    return [f"column {place}" for place in range(window.shape[1])]


def _name(level: float) -> str:
    return repr(float(level)).removesuffix(".0")


def _times_fault(fields: dict[str, Any], times: Any, start: str | None, points: int, steps: int) -> str | None:
    """Return what is wrong with the times of the steps; those of any but hours are counted alone."""
    if "step_ms" in fields:
        first = fields["timestamp_ms"] + fields["step_ms"]
        right = [first + fields["step_ms"] * step for step in range(steps)]
        return None if times == right else "other times in milliseconds"
    if start is None:
        return None if times is None else "times that nobody asked for"
    if len(times) != steps:
        return "another number of times"
    try:
        begun = datetime.strptime(start, FORM).replace(tzinfo=UTC)
    except ValueError:
        return None
    right_texts = [(begun + timedelta(hours=points + step)).strftime(FORM) for step in range(steps)]
    return None if fields["freq"] != "h" or times == right_texts else "other times"
