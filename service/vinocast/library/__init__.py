"""Forecasts from Python, in the process that asks for them: by the handler, and so by the rules, of the services."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from vinocast.data.bundled import BUNDLED_GENERAL, bundled_models
from vinocast.data.frames import Columns, inputs_of, is_frame, window_of
from vinocast.data.given import Terms, as_array, as_inputs
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.kinds import ServedModel
from vinocast.engine.profiles import DEFAULT_PROFILE
from vinocast.engine.tuned import find_profile
from vinocast.errors import InvalidShapeError, ServiceUnreachableError
from vinocast.evaluation.backtests import LEVELS
from vinocast.evaluation.baselines import usual_seasons
from vinocast.evaluation.history import backtest_values
from vinocast.forecast.kind import FORECASTER
from vinocast.forecast.manifest import find_forecaster
from vinocast.forecast.prepare import step_of
from vinocast.library.asked import Inputs, Window, expected, request_of
from vinocast.library.one_model import OneModel
from vinocast.requests import Computed, Forecasted, ForecastedSeries
from vinocast.results import Forecast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Unpack

    from numpy.typing import ArrayLike

    from vinocast import requests
    from vinocast.data.given import Frame, OneOfMany
    from vinocast.engine.in_force import Property
    from vinocast.evaluation.backtests import Backtest
    from vinocast.forecast.kind import ServedForecaster
    from vinocast.forecast.manifest import ForecasterFolder

Answer = TypeVar("Answer", bound=Computed)

# What says when the rows are, which windows of a backtest have each for themselves.
OF_TIMES = ("start", "freq", "timestamp_ms", "step_ms")


class Forecaster:
    """One forecast model in this process. For any thread: one computes, the others wait.

    It does not outlive a fork, as the threads of OpenVINO stay in the parent: a forked process is refused, and loads
    one of its own.

    Attributes:
        name: of the model.
        context: rows of a window.
        horizon: rows of a forecast.
        channels: the names of a window's columns, in their order.
        in_force: what was read back from the compiled model.
        warnings: how that differs from what the profile asks for; logged as well.
    """

    def __init__(self, model: ServedForecaster, general: Callable[[], ServedForecaster] | None = None) -> None:
        """Wrap a loaded model; :func:`vinocast.load` makes one.

        ``general`` loads the model that stands in for it with series and columns of any names.
        """
        engine, manifest = model.loaded(), model.manifest
        self._plane = OneModel(model, general)
        self._owner = os.getpid()
        self.name: str = model.label
        self.context: int = manifest.context
        self.horizon: int = manifest.horizon
        self.channels: tuple[str, ...] = tuple(manifest.channels)
        self.in_force: dict[str, Property] = engine.in_force
        self.warnings: list[str] = engine.warnings
        self._has_quantiles = engine.has_quantiles

    def forecast(
        self,
        window: ArrayLike | Frame,
        targets: Sequence[str | int] | None = None,
        **terms: Unpack[Terms],
    ) -> Forecast:
        """Forecast one window or several.

        Args:
            window: [context, channels] or [n, context, channels], oldest row first, in any unit; or a frame of pandas
                or polars with a column a channel, and perhaps one of dates or times.
            targets: names or indices of the channels that are wanted, each once; only those are computed. None for all.
            terms: see ``Terms``. By ``channels`` a window may have other columns than the model, by ``short="pad"``
                fewer rows, by ``missing="interpolate"`` gaps.

        Returns:
            The forecast, [steps, targets] or [n, steps, targets]; to numpy it is that array.

        Raises:
            InvalidShapeError: a window of another shape.
            InvalidValueError: a value that is no finite float32, or a forecast that came out beyond float32.
            UnknownTargetError: a target that is neither a channel's name nor its index.
            InvalidRequestError: no target, or one that is named twice; terms that are wrong, or do not go together.
            ServiceUnreachableError: another process has loaded the model.
        """
        self._check_owner()
        asked: Mapping[str, Any] = terms
        if is_frame(window):
            window, asked = window_of(window, terms, lambda: self.channels)
        windows = as_array(window, "window")
        if windows.ndim not in (2, 3):
            raise InvalidShapeError(expected([self.context, len(self.channels)], windows), "window")
        request = request_of({**asked, "targets": targets}, {"past_values": [[]]})
        if windows.ndim == 2:
            return _of_window(self._ask(request, Window(windows), Forecasted))
        answers = [self._ask(request, Window(each), Forecasted) for each in windows]
        if not answers:
            raise InvalidShapeError("window: expected one at least, got none", "window")
        return _of_windows(list(map(_of_window, answers)))

    def forecast_series(
        self,
        inputs: Mapping[Any, ArrayLike] | Sequence[OneOfMany] | Frame,
        *,
        id_column: str = Columns.item_id,
        time_column: str = Columns.timestamp,
        target_column: str = Columns.target,
        **terms: Unpack[Terms],
    ) -> list[Forecast]:
        """Forecast single series, each of its own length, of which the latest points count.

        Args:
            inputs: arrays of numbers, oldest first; or such by their ``item_id``; or mappings of ``item_id``,
                ``target`` and ``start``; or a long frame of pandas or polars.
            id_column: of a frame: what tells the series apart; without it the frame is one.
            time_column: of a frame: dates or times; without it the order of rows counts.
            target_column: of a frame: the numbers.
            terms: see ``Terms``; ``channels`` and ``start`` are for windows.

        Returns:
            One forecast for each series, [steps], in their order.

        Raises as :meth:`forecast` does, with the path of the series, such as ``inputs[17].target[3]``.
        """
        self._check_owner()
        asked: Mapping[str, Any] = terms
        if is_frame(inputs):
            items, asked = inputs_of(inputs, Columns(id_column, time_column, target_column), terms)
        else:
            items = as_inputs(inputs)
        request = request_of(asked, {"inputs": [{}] * len(items)})
        answer = self._ask(request, Inputs(items), ForecastedSeries)
        return [
            Forecast(
                output.points,
                (),
                answer.model,
                output.quantiles or {},
                output.timestamps,
                output.item_id,
                output.filled,
                output.padded,
                answer.rollout,
                round(answer.inference_seconds * 1e3, 4),
            )
            for output in answer.outputs
        ]

    def backtest(
        self, values: ArrayLike | Frame, windows: int = 10, *, season: int | None = None, **terms: Unpack[Terms]
    ) -> Backtest:
        """Say whether the model beats the naive on one's own history, and how sure that is.

        The last ``windows`` lengths of a forecast are forecast, each from what was before it, beside the last value,
        the seasonal naive and drift, as ``vinocast forecast --backtest`` does.

        Args:
            values: [rows, channels] as :meth:`forecast` takes them, but longer, or one series [rows].
            windows: how many; fewer than five say nothing of how sure it is.
            season: rows after which the series begin anew, 1 for none; None to find it.
            terms: see ``Terms``; ``quantile_levels`` are 0.1 to 0.9 unless they are given.

        Raises:
            InvalidShapeError: fewer rows than the windows need.
            InvalidRequestError: no window, or a season that is none.

        and as :meth:`forecast` does.
        """
        asked: dict[str, Any] = {**terms}
        if is_frame(values):
            values, asked = window_of(values, terms, lambda: self.channels)
        rows = as_array(values, "values")
        if rows.ndim == 1:
            rows, asked = rows[:, None], {**asked, "channels": asked.get("channels") or ["series"]}
        if rows.ndim != 2:
            raise InvalidShapeError(f"values: expected [rows] or [rows, channels], got {list(rows.shape)}", "values")
        request = request_of(asked, {"past_values": [[]]})
        freq, steps = step_of(request.freq), request.prediction_length or self.horizon
        levels = request.quantile_levels or LEVELS
        asked = {name: value for name, value in asked.items() if name not in OF_TIMES}
        if self._has_quantiles and steps <= self.horizon:
            asked["quantile_levels"] = levels
        return backtest_values(
            lambda past: self.forecast(past, **asked),
            rows,
            request.channels or self.channels,
            windows=windows,
            steps=steps,
            context=self.context,
            season=season,
            usual=usual_seasons(freq) if freq else (),
            levels=levels,
            pad=request.short == "pad",
        )

    def _check_owner(self) -> None:
        """Refuse before anything is waited for that a thread of the parent held when this process was forked."""
        if os.getpid() != self._owner:
            raise ServiceUnreachableError("the model belongs to another process: load one here", unsent=True)

    def _ask(self, request: requests.Forecast, source: Window | Inputs, kind: type[Answer]) -> Answer:
        """Put what was given in its place, and compute."""
        if isinstance(source, Window):
            request.source = source
        else:
            request.series = source
        answer = self._plane.answer(request)
        if not isinstance(answer, kind):
            raise TypeError(f"expected {kind}, got {type(answer)}")
        return answer


def load(
    model: str | os.PathLike[str] | None = None, *, profile: str = DEFAULT_PROFILE, strict: bool = False
) -> Forecaster:
    """Load a forecast model into this process, compiled, warm, and compared with its golden vectors.

    OpenVINO reads the cap on the instruction set once in a process: load the model before anything else compiles one.

    Args:
        model: a folder that ``vinocast convert`` has made, or the name of a bundled model; None for the bundled
            defaults: ``patchtst-etth1``, and for series and windows with ``channels`` ``vinocast-general``, which is
            loaded when it is first asked.
        profile: how to compile it; see ``vinocast serve --help``.
        strict: refuse the model where something else is in force than the profile asks for.

    Raises:
        SetupError: there is no such model, or no such profile.
        ModelRefusedError: the model is damaged, or fails its self-test; with ``strict``, a difference.
    """
    folder = find_forecaster(model, bundled_models())
    compiler = Compiler(find_profile(profile), cpu_budget(), strict=strict)

    def served(folder: ForecasterFolder) -> ServedForecaster:
        loaded = ServedModel(FORECASTER, folder)
        loaded.expect()
        loaded.load(compiler)
        loaded.loaded().load_rest(compiler)
        return loaded

    general = None if model is not None else lambda: served(find_forecaster(BUNDLED_GENERAL, bundled_models()))
    return Forecaster(served(folder), general)


def _of_window(answer: Forecasted) -> Forecast:
    return Forecast(
        answer.points,
        tuple(answer.channels),
        answer.model,
        answer.quantiles or {},
        answer.timestamps,
        None,
        answer.filled,
        answer.padded,
        answer.rollout,
        round(answer.inference_seconds * 1e3, 4),
    )


def _of_windows(forecasts: Sequence[Forecast]) -> Forecast:
    """Return the forecasts of several windows as one."""
    first = forecasts[0]
    return Forecast(
        np.stack([each.predictions for each in forecasts]),
        first.channels,
        first.model,
        {level: np.stack([each.quantiles[level] for each in forecasts]) for level in first.quantiles},
        first.timestamps,
        None,
        sum(each.filled for each in forecasts),
        sum(each.padded for each in forecasts),
        first.rollout,
        round(sum(each.inference_time_ms for each in forecasts), 4),
    )
