"""What the protocols of other standards share: single series to forecast, and faults in the names of the standard.

Their clients know nothing of models: so short series are padded, gaps are interpolated, and a forecast longer than the
model's horizon is made of forecasts, where ours are asked for each of these.
"""

from __future__ import annotations

import difflib
import re
from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import orjson
from pydantic import BaseModel, Field, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema

from vinocast.errors import InvalidRequestError, PayloadTooLargeError, RequestError, describe, shorten
from vinocast.protocols.base import Asked, ByteProtocol
from vinocast.protocols.bounded import Bounded
from vinocast.protocols.json import parse_json
from vinocast.protocols.sizes import parsed_bytes
from vinocast.requests import Forecast, ForecastedSeries, Series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from vinocast.data.times.frequency import Frequency
    from vinocast.dataplane import DataPlane, Op
    from vinocast.protocols.base import Outcome

Part = TypeVar("Part", bound="StandardPart")
# Of what has a name or is one.
MOST_CHARACTERS = 256
Level = Field(ge=0, le=1)


class StandardPart(Bounded):
    """An object of a request."""

    @classmethod
    def tolerates(cls, name: str) -> bool:  # noqa: ARG003 - what some objects need
        """Whether a field that is not known may be there, and has no effect."""
        return False

    @classmethod
    def of(cls: type[Part], value: Any, path: str = "") -> Part:
        """Return the object that parsed JSON holds; raises InvalidRequestError with the path of the first fault."""
        if not isinstance(value, dict):
            raise InvalidRequestError(f"{path}: expected an object, got {describe(value)}", path)
        inside = f"{path}." if path else ""
        for name in value.keys() - cls.known:
            if not cls.tolerates(name):
                raise cls._unknown(name, inside + shorten(name))
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            name, *rest = fault["loc"]
            where = f"{inside}{name}" + "".join(f"[{index}]" for index in rest[:1] if isinstance(index, int))
            got = "nothing" if fault["type"] == "missing" else describe(fault["input"])
            description = cls.model_fields[str(name)].description
            raise InvalidRequestError(f"{where}: expected {description}, got {got}", where) from None

    @classmethod
    def _unknown(cls, name: str, path: str) -> InvalidRequestError:
        near = difflib.get_close_matches(name[:MOST_CHARACTERS].lower(), cls.known, n=1, cutoff=0.7)
        hint = f", did you mean {near[0]}?" if near else ";"
        but = f" but {', '.join(cls.model_fields)}" if cls.model_fields else ""
        return InvalidRequestError(f"{path}: no such field{hint} expected none{but}", path)


@dataclass(frozen=True)
class Parts:
    """In the annotation of a field that is not looked into: what the reference says of it.

    Attributes:
        part: the schema of the object, or of each in an array.
        many: whether it is an array of them.
    """

    part: type[StandardPart]
    many: bool = False

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the schema, which is made when the reference is asked for."""
        schema = self.part.model_json_schema()
        return {"type": "array", "minItems": 1, "items": schema} if self.many else schema


class StandardMessage:
    """A request of another standard as parsed JSON; its refusal repeats nothing of it."""

    __slots__ = ("fields", "text")
    echoed: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, text: bytes, fields: dict[str, Any]) -> None:
        self.text = text
        self.fields = fields


class StandardProtocol(ByteProtocol[StandardMessage]):
    """A protocol of another standard, which has one route for forecasts.

    Attributes:
        path: of the route.
        summary: a few words for the reference.
        request, reply, refusal: the schemas of its bodies, for the reference.
        names: what it calls what a forecast asks for.

    Args:
        plane: what answers.
        op: the op that forecasts.
    """

    needs_media_type = False
    path: ClassVar[str]
    summary: ClassVar[str]
    request: ClassVar[type[BaseModel]]
    reply: ClassVar[type[BaseModel]]
    refusal: ClassVar[type[BaseModel]]
    names: ClassVar[Mapping[str, str]]

    def __init__(self, plane: DataPlane, op: Op) -> None:
        super().__init__(plane)
        self.op = op
        self.nothing = {}
        self._ours = re.compile(rf"\b({'|'.join(self.names)})\b")

    def read(self, text: bytes) -> StandardMessage:
        """Return a request; raises as :func:`parse_json` does."""
        return StandardMessage(text, parse_json(text))

    def named(self, message: StandardMessage) -> Op:  # noqa: ARG002 - the route says it
        """Return the op that forecasts."""
        return self.op

    def failure(self, echoed: Mapping[str, Any], error: RequestError) -> bytes:  # noqa: ARG002 - nothing is echoed
        """Return the reply to a request that is refused."""
        return orjson.dumps(self.refused(error, error.message, error.field))

    @abstractmethod
    def refused(self, error: RequestError, message: str, field: str | None) -> Mapping[str, Any]:
        """Return the reply to a request that is refused; the message begins with the field."""

    @abstractmethod
    def example(self, context: int) -> dict[str, Any]:
        """Return a request that this service answers with success whose default model has such a context."""

    def asked(self, request: Forecast, write: Callable[[ForecastedSeries], object], kept: int) -> Asked:
        """Return what is asked for; ``write`` makes the reply, and holds ``kept`` bytes of the request."""

        def reply(outcome: Outcome) -> bytes:
            if isinstance(outcome, RequestError):
                field = None if outcome.field is None else self._in_names(outcome.field)
                return orjson.dumps(self.refused(outcome, self._in_names(outcome.message), field))
            if isinstance(outcome, ForecastedSeries):
                return orjson.dumps(write(outcome), option=orjson.OPT_SERIALIZE_NUMPY)
            raise TypeError(f"no forecast of series: {type(outcome).__name__}")

        return Asked(self.op, request, reply, kept)

    def _in_names(self, text: str) -> str:
        return self._ours.sub(lambda name: self.names[name[0]], text)

    @property
    def most_series(self) -> int:
        """How many series may be asked for at once."""
        return self._plane.queue_rows

    def check_count(self, inputs: Sequence[Any]) -> None:
        """Raise InvalidRequestError for no inputs, and PayloadTooLargeError for too many, before any is looked into."""
        if not inputs:
            raise InvalidRequestError("inputs: expected one series at least, got none", "inputs")
        if len(inputs) > self.most_series:
            raise PayloadTooLargeError(f"inputs: expected at most {self.most_series}, got {len(inputs)}", "inputs")


class ListedSeries:
    """Series as parsed JSON, each read when its turn comes; see ``requests.SeriesSource``.

    Args:
        text: the request.
        paths: of the numbers of each.
        read: returns them in their order, float32 [points], NaN where one is null.
    """

    def __init__(self, text: bytes, paths: Sequence[str], read: Callable[[], Iterator[NDArray[np.float32]]]) -> None:
        self.nbytes = parsed_bytes(text)
        self.path = paths.__getitem__
        self._count = len(paths)
        self._read = read

    def __len__(self) -> int:
        return self._count

    def read(self, *, gaps: bool = False) -> Iterator[Series]:  # noqa: ARG002 - in these protocols always
        """Return the series."""
        return map(Series, self._read())


def forecast_of(series: ListedSeries, steps: int, levels: Sequence[float] | None, model: str | None) -> Forecast:
    """Return what is asked: forecasts of so many steps, of any series."""
    return Forecast(
        series=series,
        model=model,
        prediction_length=steps,
        rollout=True,
        quantile_levels=sorted(set(levels)) if levels else None,
        missing="interpolate",
        short="pad",
    )


def read_step(text: str, path: str) -> Frequency:
    """Return the step that a text says; raises InvalidRequestError."""
    from vinocast.data.times.steps import read_frequency  # noqa: PLC0415 - few ask for times, and a service starts fast

    try:
        return read_frequency(text)
    except ValueError as error:
        raise InvalidRequestError(f"{path}: {error}", path) from None


def time_after(start: str, step: Frequency, points: int, path: str) -> str:
    """Return the time of the first step of a forecast, in the form of ``start``, which is that of the first point.

    Raises InvalidRequestError, with the path of ``start``, for what is no time or leads to none.
    """
    try:
        return _time_after(start, step, points)
    except ValueError as error:
        raise InvalidRequestError(f"{path}: {error}", path) from None


@lru_cache(maxsize=16)  # the series of a request mostly begin together
def _time_after(start: str, step: Frequency, points: int) -> str:
    from vinocast.data.times.moment import read_moment  # noqa: PLC0415 - see above

    (time,) = read_moment(start).after(step, points, 1)
    return time


def level_names(quantiles: Mapping[float, NDArray[np.float32]] | None) -> dict[str, NDArray[np.float32]]:
    """Return quantiles by the names that both standards have for their levels."""
    return {str(level): values for level, values in (quantiles or {}).items()}
