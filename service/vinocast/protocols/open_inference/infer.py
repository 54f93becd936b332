"""What is asked with tensors, whatever they come over: of a forecaster windows or series, of a glyph model glyphs."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, InstanceOf, StrictBool, StrictInt, StrictStr

from vinocast.errors import InvalidRequestError, InvalidShapeError, RequestError, describe, quote
from vinocast.protocols.base import Asked, ByteProtocol, Message
from vinocast.protocols.fields import MOST
from vinocast.protocols.open_inference.results import (
    IDS,
    LABELS,
    PREDICTIONS,
    PROBABILITIES,
    QUANTILES,
    Answer,
    outputs_of,
    parameters_of,
)
from vinocast.protocols.open_inference.tensors import Grids, OneWindow, Rasters, SingleSeries, Tensor, Windows
from vinocast.protocols.standards import StandardPart
from vinocast.requests import Computed, Forecast, Glyphs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vinocast.dataplane import DataPlane, Op
    from vinocast.protocols.base import Outcome

PAST_VALUES, GRIDS, RASTERS = "past_values", "grids", "rasters"
# What an input holds, by its name, and how many dimensions it may have.
INPUTS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    PAST_VALUES: ("FP32", (3, 2)),
    GRIDS: ("INT64", (3,)),
    RASTERS: ("BYTES", (1,)),
}
# What is said of the shape of each where it has another number of dimensions.
SHAPES = {PAST_VALUES: "[n, context, channels] or [n, points]", GRIDS: "[n, 16, 16]", RASTERS: "[n]"}
FORECAST_OUTPUTS, GLYPH_OUTPUTS = (PREDICTIONS, QUANTILES), (IDS, LABELS, PROBABILITIES)
# Of a shape; no tensor here has more than three.
MOST_DIMENSIONS = 8
# Of a request; no model has more than three.
MOST_OUTPUTS = 16
# What is answered where quantiles are wanted and no levels are named.
LEVELS = (0.1, 0.5, 0.9)
MOST_LEVELS = 99


class InferParameters(StandardPart):
    """What any request may say beside its tensors."""

    timeout: Annotated[StrictInt, Field(ge=0)] = Field(
        default=0, description="an integer >= 0: microseconds after which the answer is not wanted; 0 for ever"
    )
    priority: StrictInt = Field(default=0, description="an integer; has no effect")
    binary_data_output: StrictBool = Field(
        default=False, description="true or false: whether outputs are sent as bytes"
    )


class ForecastParameters(InferParameters):
    """What a request for forecasts may say beside its tensors."""

    quantile_levels: Annotated[StrictStr, Field(max_length=MOST)] | InstanceOf[list[Any]] | None = Field(
        default=None, description="a string of 1 to 99 numbers from 0 to 1 with commas between them"
    )
    prediction_length: Annotated[StrictInt, Field(ge=1)] | None = Field(
        default=None, description="an integer >= 1, the number of steps; default: the model's horizon"
    )
    rollout: StrictBool = Field(
        default=False, description="true or false: whether more steps than the horizon are made of forecasts"
    )
    missing: Literal["refuse", "interpolate"] = Field(
        default="refuse", description='"refuse" or "interpolate": what becomes of values that are NaN, or null in JSON'
    )
    short: Literal["refuse", "pad"] = Field(
        default="refuse", description='"refuse" or "pad": what becomes of fewer points than the model\'s context'
    )


class GlyphParameters(InferParameters):
    """What a request for glyphs may say beside its tensors."""

    topk: Annotated[StrictInt, Field(ge=1)] = Field(
        default=5, description="an integer >= 1, the number of labels of each glyph"
    )
    normalize: StrictBool = Field(default=False, description="true or false: whether rasters are fitted first")


class TensorParameters(StandardPart):
    """What is said of an input."""

    binary_data_size: Annotated[StrictInt, Field(ge=0)] | None = Field(
        default=None, description="an integer >= 0, the bytes of its elements behind the JSON"
    )


class OutputParameters(StandardPart):
    """What is said of an output."""

    binary_data: bool | None = Field(default=None, description="true or false: whether it is sent as bytes")


@dataclass(slots=True)
class Wanted:
    """An output that a request names; ``binary`` is None where it does not say whether that is sent as bytes."""

    name: str
    binary: bool | None = None


@dataclass(slots=True)
class Infer:
    """A request, whatever it came over.

    Attributes:
        model, version: what is asked; without a version the one that is served.
        id: None where it has none.
        parameters: what it says beside its tensors.
        tensor: what comes in.
        outputs: those that it names; None where it names none.
        binary: whether outputs are bytes of which nothing else is said; None where a parameter says so.
        kept: bytes of memory that wait for the reply.
        deadline: the moment of ``time.monotonic`` after which the client has left; None where it waits for ever.
    """

    model: str
    version: str | None
    id: str | None
    parameters: ForecastParameters | GlyphParameters
    tensor: Tensor
    outputs: Sequence[Wanted] | None
    binary: bool | None
    kept: int
    deadline: float | None = None


class InferProtocol(ByteProtocol[Message]):
    """Requests with tensors, of which subclasses know the bytes.

    Args:
        plane: what answers.
        ops: the table of ops, by name.
    """

    needs_media_type = False
    nothing: Mapping[str, Any] = {}
    names: ClassVar[Mapping[str, str]] = {
        "prediction_length": "parameters.prediction_length",
        "quantile_levels": "parameters.quantile_levels",
        "topk": "parameters.topk",
        "deadline_ms": "parameters.timeout",
        "inputs": PAST_VALUES,
        "targets": PAST_VALUES,
    }

    def __init__(self, plane: DataPlane, ops: Mapping[str, Op]) -> None:
        super().__init__(plane)
        self._ops = ops
        self._ours = re.compile(rf"\b({'|'.join(self.names)})\b")

    @abstractmethod
    def input_name(self, message: Message) -> object:
        """Return the name of a request's first input, or anything else where it has none."""

    def named(self, message: Message) -> Op:
        """Return the op that a request is about."""
        return self._ops["glyphs" if self.input_name(message) in (GRIDS, RASTERS) else "forecast"]

    @abstractmethod
    def infer(self, message: Message, path: Mapping[str, str] | None) -> Infer:
        """Return what a request holds; raises RequestError."""

    @abstractmethod
    def write(self, answer: Answer) -> bytes:
        """Return a reply."""

    @abstractmethod
    def refused(self, message: str) -> bytes:
        """Return the reply to a request that is refused."""

    def failure(self, echoed: Mapping[str, Any], error: RequestError) -> bytes:  # noqa: ARG002 - nothing is echoed
        """Return the reply to a request that is refused before it is asked."""
        return self.refused(error.message)

    def ask(self, message: Message, received: float, op: Op, path: Mapping[str, str] | None, /) -> Asked:
        """Return what is asked for; raises RequestError."""
        infer = self.infer(message, path)
        model = self._plane.repository.named(infer.model, infer.version)
        tensor = infer.tensor
        wanted: dict[str, bool | None]
        request: Forecast | Glyphs
        parameters = infer.parameters
        if isinstance(parameters, ForecastParameters):
            wanted = _wanted(infer.outputs, FORECAST_OUTPUTS)
            if not wanted:
                wanted = {PREDICTIONS: None, **({} if parameters.quantile_levels is None else {QUANTILES: None})}
            request = _forecast(tensor, parameters, quantiles=QUANTILES in wanted)
        else:
            wanted = _wanted(infer.outputs, GLYPH_OUTPUTS) or dict.fromkeys(GLYPH_OUTPUTS)
            request = Glyphs(topk=parameters.topk, normalize=parameters.normalize, ids=IDS in wanted)
            if tensor.name == GRIDS:
                request.grids = Grids(tensor)
            else:
                request.rasters = Rasters(tensor)
        request.model = infer.model if infer.version is None else f"{infer.model}/{infer.version}"
        request.deadline = infer.deadline
        if parameters.timeout:
            request.deadline = min(received + parameters.timeout / 1e6, infer.deadline or math.inf)
        default = parameters.binary_data_output if infer.binary is None else infer.binary
        name, identity = model.name, infer.id

        def reply(outcome: Outcome) -> bytes:
            if isinstance(outcome, RequestError):
                return self.refused(self._ours.sub(lambda name: self.names[name[0]], outcome.message))
            made = outputs_of(outcome)
            outputs = [(made[name], default if binary is None else binary) for name, binary in wanted.items()]
            version = outcome.version if isinstance(outcome, Computed) else ""
            return self.write(Answer(name, version, identity, parameters_of(outcome), outputs))

        return Asked(op, request, reply, infer.kept)


def read_parameters(given: Mapping[str, Any], name: str) -> ForecastParameters | GlyphParameters:
    """Return the parameters of a request with an input of a name; raises InvalidRequestError."""
    schema = ForecastParameters if name == PAST_VALUES else GlyphParameters
    return schema.of(given, "parameters") if given else _usual(schema)


@lru_cache
def _usual(schema: type[ForecastParameters] | type[GlyphParameters]) -> ForecastParameters | GlyphParameters:
    """Return the parameters of a request that has none."""
    return schema.of({})


def check_count(inputs: int) -> None:
    """Raise InvalidRequestError where a request has another number of inputs than one."""
    if inputs != 1:
        raise InvalidRequestError(f"inputs: expected one tensor, got {inputs}", "inputs")


def check_input(name: Any, datatype: Any, shape: Sequence[int], path: str) -> None:
    """Raise InvalidRequestError or InvalidShapeError for what is no input of any model, by its path in the request."""
    if name not in INPUTS:
        raise InvalidRequestError(
            f"{path}.name: expected one of {', '.join(INPUTS)}, got {quote(name)}", f"{path}.name"
        )
    expected, dimensions = INPUTS[name]
    if datatype != expected:
        where = f"{path}.datatype"
        raise InvalidRequestError(f"{where}: expected {expected} for {name}, got {quote(datatype)}", where)
    if len(shape) not in dimensions or min(shape) < 1:
        raise InvalidShapeError(f"{path}.shape: expected {SHAPES[name]}, got {list(shape)}", f"{path}.shape")


def _wanted(outputs: Sequence[Wanted] | None, there: Sequence[str]) -> dict[str, bool | None]:
    """Return the outputs that a request names, and of each whether it is bytes; raises InvalidRequestError."""
    wanted: dict[str, bool | None] = {}
    for index, output in enumerate(outputs or ()):
        path = f"outputs[{index}].name"
        if output.name not in there:
            raise InvalidRequestError(f"{path}: expected one of {', '.join(there)}, got {quote(output.name)}", path)
        if output.name in wanted:
            raise InvalidRequestError(f"{path}: expected each output once, got {output.name} again", path)
        wanted[output.name] = output.binary
    return wanted


def _forecast(tensor: Tensor, parameters: ForecastParameters, *, quantiles: bool) -> Forecast:
    """Return what is asked of a forecaster; raises InvalidRequestError or InvalidShapeError."""
    levels = None
    if quantiles:
        levels = LEVELS if parameters.quantile_levels is None else _levels(parameters.quantile_levels)
    elif parameters.quantile_levels is not None:
        path = "parameters.quantile_levels"
        raise InvalidRequestError(f"{path}: expected quantiles among outputs beside it", path)
    request = Forecast(
        prediction_length=parameters.prediction_length,
        rollout=parameters.rollout,
        quantile_levels=levels,
        missing=parameters.missing,
        short=parameters.short,
    )
    if len(tensor.shape) == 2:
        request.series = SingleSeries(tensor)
        return request
    windows = Windows(tensor)
    if len(windows) == 1:
        request.source = OneWindow(windows)
    else:
        request.windows = windows
    return request


def _levels(given: str | list[Any]) -> list[float]:
    """Return the levels that a text holds, or an array of numbers, ascending; raises InvalidRequestError."""
    path = "parameters.quantile_levels"
    parts = given.split(",") if isinstance(given, str) else given
    if not 1 <= len(parts) <= MOST_LEVELS:
        raise InvalidRequestError(f"{path}: expected 1 to {MOST_LEVELS} numbers, got {len(parts)}", path)
    levels = set()
    for part in parts:
        try:
            level = math.nan if isinstance(part, bool) else float(part)
        except (TypeError, ValueError):
            level = math.nan
        if not 0 <= level <= 1:
            raise InvalidRequestError(f"{path}: expected numbers from 0 to 1, got {describe(part)}", path)
        levels.add(level)
    return sorted(levels)
