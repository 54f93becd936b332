"""What answers ``forecast``: what is asked of a window or of series, what a reply may hold, and the job."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from vinocast.errors import InvalidRequestError, PayloadTooLargeError
from vinocast.forecast.computation import FLOAT32, computing_bytes
from vinocast.forecast.job import ForecastJob, WideForecastJob
from vinocast.forecast.kind import FORECASTER
from vinocast.forecast.manifest import SERIES_PER_PART
from vinocast.forecast.prepare import count_times, fill_gaps, follow, pad_front, step_of
from vinocast.forecast.series_job import SeriesJob
from vinocast.forecast.targets import choose_targets, name_columns
from vinocast.forecast.windows_job import WindowsJob
from vinocast.handlers.bars import COLUMNS, ClosedBars, find_bars, is_market, market_model
from vinocast.handlers.loaded import check_loaded
from vinocast.requests import StreamPosition
from vinocast.settings import REPLY_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vinocast import requests
    from vinocast.dataplane import DataPlane
    from vinocast.engine.ticket import Ticket
    from vinocast.forecast.kind import ServedForecaster
    from vinocast.forecast.manifest import ForecasterManifest
    from vinocast.forecast.stream import Stream
    from vinocast.forecast.targets import Columns

# What a number takes at most in a reply: -1234567900000000.0 with what stands around it, where it is a row of its own,
# takes up to 21 bytes.
NUMBER_BYTES = 24
# The same in base64.
BASE64_BYTES = 6
# What each list of a reply's numbers takes beside them, in memory, and in time by as many numbers' bytes.
LIST_BYTES = 240
# What one of the times takes at most: a text of 64 characters with what stands around it.
TIME_BYTES = 80
# How often a forecast is fed back at most, the first among them.
MOST_HORIZONS = 16


def forecast(plane: DataPlane, request: requests.Forecast, ticket: Ticket, bars: ClosedBars | None = None) -> None:
    """Put a forecast into the lane; raises RequestError where it is refused.

    ``bars`` are those of the market stream that the request names, where they are known.
    """
    if bars is None and request.stream is not None and is_market(request.stream):
        bars = find_bars(plane, request.stream)
    of_any = request.channels is not None or request.series is not None
    model = (
        plane.repository.find(FORECASTER, request.model, general=of_any)
        if bars is None
        else market_model(plane, request, bars)
    )
    check_loaded(model, ticket)
    manifest = model.manifest
    steps = manifest.horizon if request.prediction_length is None else _steps(request, manifest, model.label)
    if request.quantile_levels is not None and model.engine is not None:
        model.engine.check_quantiles()
    if request.series is not None:
        _forecast_series(plane, request, request.series, model, steps, ticket)
        return
    if request.windows is not None:
        _forecast_windows(plane, request, request.windows, model, steps, ticket)
        return
    columns = _columns(plane, request, model, bars)
    width = len(manifest.channels) if request.channels is None else len(request.channels)
    targets = choose_targets(request.targets, columns)
    beyond = request.beyond_a_window
    replied = _replied(request, steps, len(targets), apart=False) if beyond else steps * len(targets) * NUMBER_BYTES
    if replied > REPLY_BYTES:
        raise _too_long("targets", request, steps, len(targets), apart=False)
    stream = bars if bars or request.stream is None else plane.streams.find(request.stream)
    window = _window(request, stream, manifest.context, width)
    together = min(len(manifest.channels), SERIES_PER_PART)
    in_parts = (len(targets) > together and manifest.layout == "series") or steps > manifest.horizon
    held = manifest.context * width * FLOAT32
    if in_parts:
        whole = request.quantile_levels is not None
        held += computing_bytes(manifest, width, steps, whole=whole)
    ticket.claim.hold(ticket.claim.nbytes + held + replied)
    names = columns.channels
    job = ForecastJob(
        ticket,
        model,
        window,
        targets,
        names if request.targets is None else [names[index] for index in targets],
        steps,
        request.deadline,
        time.monotonic(),
        None if stream is None else StreamPosition(stream.newest_ms, stream.rows_since_newest),
    )
    job.known = targets if columns is manifest.outputs else None
    if beyond:
        _add_terms(plane, request, job, "stream" if request.source is None else request.source.field)
    if bars is not None:
        job.warnings = bars.warnings(model)
        if job.timestamps is None:
            job.timestamps = bars.times(steps)
    if stream is not None and not job.padded:
        job.expected = stream.expect(model.name, manifest.horizon, manifest.market)
        job.tally = None if job.expected is None else plane.tallies[model.label]
    if in_parts:
        plane.lane.submit_long(WideForecastJob(job))
        ticket.lasting = True
    else:
        plane.lane.submit(job)


def _columns(plane: DataPlane, request: requests.Forecast, model: ServedForecaster, bars: ClosedBars | None) -> Columns:
    """Return the columns of a window: the model's own, or others; raises RequestError where it takes no others."""
    if request.channels is None:
        if bars is None or model.manifest.market is not None:
            return model.manifest.outputs
        _check_series(model, "stream")
        return COLUMNS
    _check_series(model, "channels")
    if len(request.channels) > plane.queue_rows:
        most = f"at most {plane.queue_rows} names"
        raise PayloadTooLargeError(f"channels: expected {most}, got {len(request.channels)}", "channels")
    return name_columns(request.channels)


def _forecast_series(
    plane: DataPlane,
    request: requests.Forecast,
    source: requests.SeriesSource,
    model: ServedForecaster,
    steps: int,
    ticket: Ticket,
) -> None:
    """Put forecasts of series into the lane; raises RequestError where they are refused."""
    _check_series(model, "inputs")
    count = len(source)
    if count > plane.queue_rows:
        raise PayloadTooLargeError(f"inputs: expected at most {plane.queue_rows}, got {count}", "inputs")
    replied = _replied(request, steps, count, apart=True)
    if replied > REPLY_BYTES:
        raise _too_long("inputs", request, steps, count, apart=True)
    count_times(request, steps)
    job = SeriesJob(ticket, model, source, request, step_of(request.freq), plane.max_missing_share)
    ticket.claim.hold(ticket.claim.nbytes + job.nbytes + replied)
    plane.lane.submit_long(job)
    ticket.lasting = True


def _forecast_windows(
    plane: DataPlane,
    request: requests.Forecast,
    source: requests.WindowsSource,
    model: ServedForecaster,
    steps: int,
    ticket: Ticket,
) -> None:
    """Put forecasts of several windows into the lane; raises RequestError where they are refused."""
    manifest, field = model.manifest, source.field
    width, names = len(manifest.channels), manifest.outputs.channels
    source.check(manifest.context, width, fewer=request.short == "pad")
    if len(source) * width > plane.queue_rows:
        most = f"at most {plane.queue_rows // width} windows of {width} channels"
        raise PayloadTooLargeError(f"{field}: expected {most}, got {len(source)}", field)
    replied = _replied(request, steps, len(source) * len(names), apart=False)
    if replied > REPLY_BYTES:
        raise _too_long(field, request, steps, len(source) * len(names), apart=False)
    targets = range(len(names))

    def prepare(window: NDArray[np.float32], path: str) -> ForecastJob:
        job = ForecastJob(ticket, model, window, targets, names, steps, request.deadline, time.monotonic())
        job.known = targets
        if request.beyond_a_window:
            _add_terms(plane, request, job, path)
        return job

    many = WindowsJob(ticket, model, source, request, steps, prepare)
    ticket.claim.hold(ticket.claim.nbytes + many.nbytes + replied)
    plane.lane.submit_long(many)
    ticket.lasting = True


def _window(
    request: requests.Forecast, stream: Stream | ClosedBars | None, context: int, channels: int
) -> NDArray[np.float32]:
    """Return the window as it came, or as the stream has it at this moment."""
    fewer, gaps = request.short == "pad", request.missing == "interpolate"
    if request.source is not None:
        return request.source.window(context, channels, fewer=fewer, gaps=gaps)
    if stream is None:
        raise InvalidRequestError("expected past_values, past_values_b64 with shape, stream or inputs", "past_values")
    return stream.window(context, channels, fewer=fewer, gaps=gaps)


def _steps(request: requests.Forecast, manifest: ForecasterManifest, name: str) -> int:
    """Return how many steps are wanted; raises InvalidRequestError where they are too many."""
    horizon = manifest.horizon
    steps = request.prediction_length or horizon
    if steps <= horizon:
        return steps
    if manifest.market is not None:
        raise InvalidRequestError(
            f"prediction_length: expected 1 to {horizon}, the horizon of model {name}, whose forecasts are no bars to "
            f"forecast from, got {steps}",
            "prediction_length",
        )
    most = MOST_HORIZONS * horizon
    if not request.rollout or steps > most:
        hint = "" if request.rollout else f'; "rollout": true feeds forecasts back, up to {most}'
        wanted = f"at most {most}, {MOST_HORIZONS} times" if request.rollout else f"1 to {horizon},"
        raise InvalidRequestError(
            f"prediction_length: expected {wanted} the horizon of model {name}, got {steps}{hint}", "prediction_length"
        )
    if request.quantile_levels is not None:
        raise InvalidRequestError(
            f"quantile_levels: expected a prediction_length of at most {horizon} beside it, got {steps}: how sure a "
            "forecast of forecasts is, nothing tells",
            "quantile_levels",
        )
    return steps


def _check_series(model: ServedForecaster, field: str) -> None:
    """Raise InvalidRequestError where the channels of a model cannot stand for each other, nor for any other series."""
    if model.manifest.layout != "series":
        raise InvalidRequestError(
            f"{field}: expected none with model {model.label}, which forecasts all of its channels together: send its "
            "own as a window",
            field,
        )


def _replied(request: requests.Forecast, steps: int, count: int, *, apart: bool) -> int:
    """Return how many bytes so many series take at most in a reply, in one list or ``apart``, each in its own."""
    lists = 1 + len(request.quantile_levels or ())
    number = BASE64_BYTES if request.in_base64 else NUMBER_BYTES
    numbers = lists * count * (steps * number + (LIST_BYTES if apart else 0))
    times = (count if apart else 1) * steps * TIME_BYTES if request.freq or request.step_ms else 0
    return numbers + times


def _too_long(field: str, request: requests.Forecast, steps: int, count: int, *, apart: bool) -> PayloadTooLargeError:
    """Return the refusal of more series than a reply may hold."""
    most = count * REPLY_BYTES // _replied(request, steps, count, apart=apart)
    levels = f" and {len(request.quantile_levels)} quantiles" if request.quantile_levels else ""
    return PayloadTooLargeError(
        f"{field}: expected at most {most} of {steps} steps{levels} for a reply, got {count}; ask for the others in "
        "another request",
        field,
    )


def _add_terms(plane: DataPlane, request: requests.Forecast, job: ForecastJob, path: str) -> None:
    """Fill and pad the window of a job, which has a path, and add what else is asked for; raises RequestError."""
    manifest, window = job.model.manifest, job.window
    rows = len(window)
    job.levels = request.quantile_levels
    job.timestamps = count_times(request, job.steps)
    if request.start is not None and (freq := step_of(request.freq)) is not None:
        job.timestamps = follow(request.start, freq, rows, job.steps, "start")
    gaps = request.missing == "interpolate" and np.isnan(window).any()
    if not gaps and rows == manifest.context:
        return
    if manifest.layout == "series":  # the others are not looked at
        window = window[:, list(job.targets)]
        job.targets, names = range(len(job.targets)), job.channels
    else:
        window, names = window.copy(), manifest.channels
    if gaps:
        job.filled = fill_gaps(window, plane.max_missing_share, path, names)
    if rows < manifest.context:
        job.padded = manifest.context - rows
        window = pad_front(window, manifest.context)
    job.window = window
