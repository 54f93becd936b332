"""KServe's protocol of time series: ``POST /v1/timeseries/forecast``.

Written by kserve 0.21.0 (``kserve/protocol/rest/timeseries``, of the wheel) and by KServe's "TimeSeries LLM Forecast
API" of 2025-07-24 (``docs/reference/time_series/api.md`` of kserve/website). Both let a request and a reply hold
further fields; see :class:`Extensible` for what becomes of them.
"""

from __future__ import annotations

import sys
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

import numpy as np
import orjson
from pydantic import Field, InstanceOf, StrictInt, StrictStr, WithJsonSchema

from vinocast.errors import InvalidRequestError, InvalidShapeError, PayloadTooLargeError, RequestError, describe
from vinocast.protocols.fields import MOST, Metadata
from vinocast.protocols.replies import Described
from vinocast.protocols.schemas import ForecastRequest
from vinocast.protocols.standards import (
    MOST_CHARACTERS,
    Level,
    ListedSeries,
    Parts,
    StandardMessage,
    StandardPart,
    StandardProtocol,
    forecast_of,
    level_names,
    read_step,
    time_after,
)
from vinocast.protocols.windows import fault_in, numbers_of, rows_to_array

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from vinocast.protocols.base import Asked
    from vinocast.requests import ForecastedSeries, ForecastOfOne

UNIVARIATE, MULTIVARIATE = "univariate_time_series", "multivariate_time_series"
# Its words for a step, as ISO 8601 has them: a month after the 31st is the last day of a shorter one.
STEPS: Final[dict[str, str]] = {
    **dict.fromkeys(("second", "S"), "PT1S"),
    **dict.fromkeys(("minute", "T"), "PT1M"),
    **dict.fromkeys(("hour", "H"), "PT1H"),
    **dict.fromkeys(("day", "D"), "P1D"),
    **dict.fromkeys(("week", "W"), "P1W"),
    **dict.fromkeys(("month", "M"), "P1M"),
    **dict.fromkeys(("quarter", "Q"), "P3M"),
    **dict.fromkeys(("year", "Y"), "P1Y"),
}
# What would change a forecast, by names of ours and of others: a request that has one is refused and not misunderstood.
MEANT = (ForecastRequest.known - {"op", "request_id", "timestamp_ms", "metadata"}) | {
    "covariates", "past_covariates", "future_covariates", "static_covariates", "item_id", "target", "quantile",
}  # fmt: skip
NUMBERS = {"type": "array", "items": {"type": "number"}}


class Extensible(StandardPart):
    """An object that may hold further fields, which have no effect, as in KServe."""

    @classmethod
    def tolerates(cls, name: str) -> bool:
        """Whether a field asks for nothing that is known here by that name."""
        return name not in MEANT


class TimeSeriesInput(Extensible):
    """A series, or several that were measured together."""

    type: Literal["univariate_time_series", "multivariate_time_series"] = Field(
        description=f"{UNIVARIATE} or {MULTIVARIATE}"
    )
    name: Annotated[StrictStr, Field(max_length=MOST_CHARACTERS)] = Field(
        description=f"a string of at most {MOST_CHARACTERS} characters, repeated in the reply"
    )
    series: Annotated[
        InstanceOf[list[Any]],
        WithJsonSchema({"anyOf": [NUMBERS, {"type": "array", "items": NUMBERS}]}),
    ] = Field(description="an array of numbers, oldest first, or of rows of them, one for each moment")
    frequency: Annotated[StrictStr, Field(max_length=MOST_CHARACTERS)] = Field(description="one of " + ", ".join(STEPS))
    start_timestamp: Annotated[StrictStr, Field(max_length=MOST_CHARACTERS)] | None = Field(
        default=None, description="a string, the time of the first point in ISO 8601"
    )


class ForecastOptions(Extensible):
    """What to forecast."""

    horizon: Annotated[StrictInt, Field(ge=1)] = Field(description="an integer >= 1, the number of steps")
    quantiles: Annotated[list[Annotated[float, Level]], Field(max_length=MOST, fail_fast=True)] | None = Field(
        default=None, description="an array of numbers from 0 to 1"
    )


class TimeSeriesRequest(Extensible):
    """Series to forecast."""

    model: Annotated[StrictStr, Field(max_length=MOST)] = Field(description="a string, the name of a model")
    inputs: Annotated[InstanceOf[list[Any]], Parts(TimeSeriesInput, many=True)] = Field(
        description="an array of series"
    )
    options: Annotated[InstanceOf[dict[str, Any]], Parts(ForecastOptions)] = Field(description="an object with horizon")
    metadata: Metadata | None = Field(default=None, description="any JSON, repeated in the reply")


class TimeSeriesForecast(Described):
    """The forecast of an input."""

    type: str
    name: str
    mean_forecast: list[float] | list[list[float]] = Field(description="[horizon], or [horizon][variables]")
    frequency: str
    start_timestamp: str = Field(description="of the first step, in the form of the input's; empty where that has none")
    quantiles: dict[str, list[float] | list[list[float]]] | None = Field(
        description="by level; null where none are asked"
    )
    filled: int = Field(default=0, description="values that were null and are interpolated; absent when 0")
    padded: int = Field(default=0, description="points that were lacking in front and are made up; absent when 0")


class ForecastOutput(Described):
    """What came of an input."""

    type: Literal["time_series_forecast"]
    id: str
    status: Literal["completed"]
    content: list[TimeSeriesForecast] = Field(description="one")
    error: None


class Usage(Described):
    """What was read and made, counted in values of series."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TimeSeriesReply(Described):
    """Forecasts, in the order of the inputs."""

    id: str
    created_at: int = Field(description="in seconds since 1970")
    status: Literal["completed"]
    error: None
    model: str
    outputs: list[ForecastOutput]
    usage: Usage
    metadata: Any = Field(default=None, description="as sent; absent when it was not sent")


class TimeSeriesFault(Described):
    """What is wrong with a request."""

    code: str = Field(description="the status of HTTP")
    message: str
    param: str | None = Field(description="the path of the fault, such as inputs[0].series[3]")
    type: str = Field(description="a code of the service, such as invalid_value")


class TimeSeriesRefusal(Described):
    """A refused request."""

    error: TimeSeriesFault


@dataclass(slots=True)
class _Input:
    """What the reply repeats of an input; ``variables`` is None where it has but one."""

    type: str
    name: str
    frequency: str
    start: str | None
    variables: int | None


class KServeProtocol(StandardProtocol):
    """Requests and replies as KServe has them."""

    name = "kserve"
    path = "/v1/timeseries/forecast"
    summary = "Forecast time series, as KServe does"
    request, reply, refusal = TimeSeriesRequest, TimeSeriesReply, TimeSeriesRefusal
    names: ClassVar[Mapping[str, str]] = {
        "prediction_length": "options.horizon",
        "quantile_levels": "options.quantiles",
    }

    def ask(self, message: StandardMessage, /, *_: object) -> Asked:
        """Return what is asked for; raises RequestError."""
        request = TimeSeriesRequest.of(message.fields)
        options = ForecastOptions.of(request.options, "options")
        inputs: list[_Input] = []
        lists: list[list[Any]] = []
        paths: list[str] = []
        values = 0
        self.check_count(request.inputs)
        for index, item in enumerate(request.inputs):
            each = f"inputs[{index}]"
            one = TimeSeriesInput.of(item, each)
            variables = _variables(one, f"{each}.series")
            if len(paths) + (variables or 1) > self.most_series:
                most = f"expected at most {self.most_series} series in all"
                raise PayloadTooLargeError(
                    f"{each}.series: {most}, got {len(paths) + (variables or 1)}", f"{each}.series"
                )
            _check_frequency(one.frequency, f"{each}.frequency")
            inputs.append(_Input(one.type, one.name, one.frequency, one.start_timestamp, variables))
            lists.append(one.series)
            if variables is None:
                paths.append(f"{each}.series")
            else:
                paths += [f"{each}.series[*][{place}]" for place in range(variables)]
            values += len(one.series) * (variables or 1)
        series = ListedSeries(message.text, paths, lambda: _read(lists, inputs))
        asked = forecast_of(series, options.horizon, options.quantiles, request.model)
        metadata = request.metadata
        kept = sum(sys.getsizeof(text) for one in inputs for text in (one.name, one.start or ""))
        if metadata is not None:
            kept += len(orjson.dumps(metadata))

        def write(result: ForecastedSeries) -> dict[str, Any]:
            written = _reply(result, inputs, values)
            return written if metadata is None else {**written, "metadata": metadata}

        return self.asked(asked, write, kept)

    def refused(self, error: RequestError, message: str, field: str | None) -> Mapping[str, Any]:
        """Return the reply to a request that is refused."""
        return {"error": {"code": str(error.status), "message": message, "param": field, "type": error.code}}

    def example(self, context: int) -> dict[str, Any]:
        """Return a request for a daily wave."""
        wave = np.sin(np.arange(context) * (2 * np.pi / 24)).round(4).tolist()
        one = {
            "type": UNIVARIATE,
            "name": "wave",
            "series": wave,
            "frequency": "H",
            "start_timestamp": "2026-01-01T00:00:00Z",
        }
        return {"model": self._plane.general_model.name, "inputs": [one], "options": {"horizon": 4}}


def _variables(one: TimeSeriesInput, path: str) -> int | None:
    """Return how many variables a series has, None for but one; raises InvalidShapeError or InvalidValueError."""
    if not one.series:
        raise InvalidShapeError(f"{path}: expected one value at least, got none", path)
    if one.type == UNIVARIATE:
        return None
    first = one.series[0]
    if not isinstance(first, list) or not first:
        got = "an empty one" if first == [] else describe(first)
        raise InvalidShapeError(f"{path}[0]: expected a row of numbers, one for each variable, got {got}", f"{path}[0]")
    return len(first)


def _check_frequency(frequency: str, path: str) -> None:
    if frequency not in STEPS:
        expected = TimeSeriesInput.model_fields["frequency"].description
        raise InvalidRequestError(f"{path}: expected {expected}, got {describe(frequency)}", path)


def _read(lists: Sequence[list[Any]], inputs: Sequence[_Input]) -> Iterator[NDArray[np.float32]]:
    """Return the series of inputs, each when its turn comes, those of several variables one behind the other.

    The time of its forecast is put in the place of an input's own.
    """
    for index, (values, one) in enumerate(zip(lists, inputs, strict=True)):
        path = f"inputs[{index}].series"
        if one.start is not None:
            where = f"inputs[{index}].start_timestamp"
            one.start = time_after(one.start, read_step(STEPS[one.frequency], where), len(values), where)
        if one.variables is None:
            numbers = numbers_of(values, gaps=True)
            if numbers is None:
                raise fault_in(values, path, gaps=True)
            yield numbers
        else:
            yield from rows_to_array(values, one.variables, may_hold_booleans=True, field=path, gaps=True).T


def _reply(result: ForecastedSeries, inputs: Sequence[_Input], values: int) -> dict[str, Any]:
    outputs: list[dict[str, Any]] = []
    rest = iter(result.outputs)
    made = 0
    for one in inputs:
        of_one = [next(rest) for _ in range(one.variables or 1)]
        made += sum(len(output.points) for output in of_one)
        content: dict[str, Any] = {
            "type": one.type,
            "name": one.name,
            "mean_forecast": _joined([output.points for output in of_one], one),
            "frequency": one.frequency,
            "start_timestamp": one.start or "",
            "quantiles": _quantiles(of_one, one),
        }
        if filled := sum(output.filled for output in of_one):
            content["filled"] = filled
        if padded := max(output.padded for output in of_one):
            content["padded"] = padded
        output = {"type": "time_series_forecast", "id": _new_id(), "status": "completed"}
        outputs.append({**output, "content": [content], "error": None})
    return {
        "id": _new_id(),
        "created_at": int(time.time()),
        "status": "completed",
        "error": None,
        "model": result.model,
        "outputs": outputs,
        "usage": {"prompt_tokens": values, "completion_tokens": made, "total_tokens": values + made},
    }


def _quantiles(outputs: Sequence[ForecastOfOne], one: _Input) -> dict[str, NDArray[np.float32]] | None:
    by_level = [level_names(output.quantiles) for output in outputs]
    if not by_level[0]:
        return None
    return {level: _joined([quantiles[level] for quantiles in by_level], one) for level in by_level[0]}


def _joined(columns: Sequence[NDArray[np.float32]], one: _Input) -> NDArray[np.float32]:
    """Return [steps], or [steps, variables] of series that were measured together."""
    return columns[0] if one.variables is None else np.stack(columns, axis=1)


def _new_id() -> str:
    return str(uuid.uuid4())
