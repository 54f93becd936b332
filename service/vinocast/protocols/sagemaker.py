"""SageMaker's protocol of a container, ``POST /invocations``, with the payload of its Chronos endpoints.

Written by the API specification in ``notebooks/deploy-chronos-to-amazon-sagemaker.ipynb`` (Chronos-2) of
amazon-science/chronos-forecasting, that of Chronos-Bolt at its version 1.5.3, and SageMaker's developer guide on
inference code in containers of one's own. None of them says what the body of an error holds: it is that of TorchServe,
which SageMaker's containers of PyTorch run.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import ConfigDict, Field, InstanceOf, StrictBool, StrictInt, StrictStr, WithJsonSchema

from vinocast.errors import InvalidJsonError, InvalidRequestError, InvalidShapeError
from vinocast.protocols.fields import MOST
from vinocast.protocols.replies import Described
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
from vinocast.protocols.windows import fault_in, numbers_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from vinocast.data.times.frequency import Frequency
    from vinocast.errors import RequestError
    from vinocast.protocols.base import Asked
    from vinocast.requests import ForecastedSeries

# A gap as Python's writer of JSON has it, and a string, which may hold the same letters.
NAN, STRING = b"NaN", re.compile(rb'("(?:[^"\\]|\\.)*+"?)', re.DOTALL)
# What a request gets that names no levels.
LEVELS = (0.1, 0.5, 0.9)
COVARIATES = ("past_covariates", "future_covariates")


class ChronosInput(StandardPart):
    """A series."""

    target: Annotated[InstanceOf[list[Any]], WithJsonSchema({"type": "array", "items": {"type": "number"}})] = Field(
        description="an array of numbers, oldest first"
    )
    item_id: Annotated[StrictStr, Field(max_length=MOST_CHARACTERS)] | StrictInt | None = Field(
        default=None,
        description=f"a string of at most {MOST_CHARACTERS} characters or an integer of at most 64 bits",
    )
    start: Annotated[StrictStr, Field(max_length=MOST_CHARACTERS)] | None = Field(
        default=None, description="a string, the time of the first point in ISO 8601; needs freq"
    )

    @classmethod
    def tolerates(cls, name: str) -> bool:
        """Whether a field is one of covariates, which the protocol refuses unless there are none in it."""
        return name in COVARIATES


class ChronosParameters(StandardPart):
    """What to forecast."""

    prediction_length: Annotated[StrictInt, Field(ge=1)] = Field(
        default=1, description="an integer >= 1, the number of steps"
    )
    quantile_levels: Annotated[list[Annotated[float, Level]], Field(max_length=MOST, fail_fast=True)] = Field(
        default=list(LEVELS), description="an array of numbers from 0 to 1; of none, the mean comes alone"
    )
    freq: Annotated[StrictStr, Field(max_length=MOST_CHARACTERS)] | None = Field(
        default=None, description="a string, the step as pandas writes it, such as 1h; needs start in each series"
    )
    batch_size: Annotated[StrictInt, Field(ge=1)] = Field(
        default=256, description="an integer >= 1; has no effect: series are computed as suits the CPU"
    )
    predict_batches_jointly: StrictBool = Field(default=False, description="false: each series is forecast by itself")


class ChronosRequest(StandardPart):
    """Series to forecast."""

    inputs: Annotated[InstanceOf[list[Any]], Parts(ChronosInput, many=True)] = Field(description="an array of series")
    parameters: Annotated[InstanceOf[dict[str, Any]], Parts(ChronosParameters)] = Field(
        default={}, description="an object"
    )


class ChronosForecast(Described):
    """The forecast of a series; beside these, its quantiles by level, such as ``0.1``."""

    model_config = ConfigDict(extra="allow")

    mean: list[float]
    item_id: str | int | None = Field(default=None, description="as sent; absent when it was not sent")
    start: str | None = Field(default=None, description="the time of the first step; absent where start was not sent")


class ChronosReply(Described):
    """Forecasts, in the order of the inputs."""

    predictions: list[ChronosForecast]


class ChronosRefusal(Described):
    """A refused request."""

    code: int = Field(description="the status of HTTP")
    type: str = Field(description="a code of the service, such as invalid_value")
    message: str = Field(description="what is wrong, behind its path, such as inputs[0].target[3]")


class SageMakerProtocol(StandardProtocol):
    """Requests and replies as SageMaker's endpoints of Chronos have them."""

    name = "sagemaker"
    path = "/invocations"
    summary = "Forecast series, as Chronos on SageMaker does"
    request, reply, refusal = ChronosRequest, ChronosReply, ChronosRefusal
    names: ClassVar[Mapping[str, str]] = {
        "prediction_length": "parameters.prediction_length",
        "quantile_levels": "parameters.quantile_levels",
    }

    def read(self, text: bytes) -> StandardMessage:
        """Return a request; raises as :func:`parse_json` does.

        A gap may be ``NaN``, which is no JSON: Python's writer of JSON, and so SageMaker's client, writes one so.
        """
        try:
            return super().read(text)
        except InvalidJsonError:
            if NAN not in text:
                raise
        return super().read(with_nulls(text))

    def ask(self, message: StandardMessage, /, *_: object) -> Asked:
        """Return what is asked for; raises RequestError."""
        request = ChronosRequest.of(message.fields)
        parameters = ChronosParameters.of(request.parameters, "parameters")
        if parameters.predict_batches_jointly:
            where = "parameters.predict_batches_jointly"
            raise InvalidRequestError(f"{where}: expected false: each series is forecast by itself, got true", where)
        step = None if parameters.freq is None else read_step(parameters.freq, "parameters.freq")
        self.check_count(request.inputs)
        lists: list[list[Any]] = []
        repeated: list[dict[str, Any]] = []
        for index, item in enumerate(request.inputs):
            each = f"inputs[{index}]"
            if isinstance(item, dict):
                _refuse_covariates(item, each)
            one = ChronosInput.of(item, each)
            if not one.target:
                raise InvalidShapeError(f"{each}.target: expected one value at least, got none", f"{each}.target")
            lists.append(one.target)
            repeats = {} if one.item_id is None else {"item_id": one.item_id}
            if (one.start is None) != (step is None):
                if step is None:
                    where, expected = "parameters.freq", f"the step of the series, beside {each}.start"
                else:
                    where, expected = f"{each}.start", "the time of the first point, beside parameters.freq"
                raise InvalidRequestError(f"{where}: expected {expected}, got nothing", where)
            if one.start is not None:
                repeats["start"] = one.start
            repeated.append(repeats)
        paths = [f"inputs[{index}].target" for index in range(len(lists))]
        series = ListedSeries(message.text, paths, lambda: _read(lists, repeated, step))
        asked = forecast_of(series, parameters.prediction_length, parameters.quantile_levels, None)

        def write(result: ForecastedSeries) -> dict[str, Any]:
            predictions = [
                {"mean": output.points, **level_names(output.quantiles), **repeats}
                for output, repeats in zip(result.outputs, repeated, strict=True)
            ]
            return {"predictions": predictions}

        kept = sum(sys.getsizeof(repeats) + sum(map(sys.getsizeof, repeats.values())) for repeats in repeated)
        return self.asked(asked, write, kept)

    def refused(self, error: RequestError, message: str, field: str | None) -> Mapping[str, Any]:  # noqa: ARG002 - the message begins with it
        """Return the reply to a request that is refused."""
        return {"code": error.status, "type": error.code, "message": message}

    def example(self, context: int) -> dict[str, Any]:
        """Return a request for a daily wave."""
        wave = np.sin(np.arange(context) * (2 * np.pi / 24)).round(4).tolist()
        inputs = [{"target": wave, "item_id": "wave", "start": "2026-01-01T00:00:00"}]
        return {"inputs": inputs, "parameters": {"prediction_length": 4, "freq": "1h", "quantile_levels": []}}


def with_nulls(text: bytes) -> bytes:
    """Return a text with ``null`` for each ``NaN`` outside of its strings, as fast for two million as for one."""
    pieces = STRING.split(text)  # every other one is a string
    pieces[::2] = [piece.replace(NAN, b"null") for piece in pieces[::2]]
    return b"".join(pieces)


def _refuse_covariates(item: Mapping[str, Any], path: str) -> None:
    for name in COVARIATES:
        if item.get(name):
            where = f"{path}.{name}"
            raise InvalidRequestError(
                f"{where}: expected none: a model of this service forecasts a series from itself alone", where
            )


def _read(
    lists: Sequence[list[Any]], repeated: Sequence[dict[str, Any]], step: Frequency | None
) -> Iterator[NDArray[np.float32]]:
    """Return the series, each when its turn comes, and put the time of its forecast in the place of its own."""
    for index, (values, repeats) in enumerate(zip(lists, repeated, strict=True)):
        numbers = numbers_of(values, gaps=True)
        if numbers is None:
            raise fault_in(values, f"inputs[{index}].target", gaps=True)
        if step is not None:
            repeats["start"] = time_after(repeats["start"], step, len(values), f"inputs[{index}].start")
        yield numbers
