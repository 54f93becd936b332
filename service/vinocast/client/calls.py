"""What can be asked of a service, apart from how it travels: the fields of a request, and what its reply becomes."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import orjson

from vinocast.data.frames import Columns, inputs_of, is_frame
from vinocast.data.given import as_array, as_fields, as_inputs
from vinocast.errors import InvalidShapeError, ServiceUnreachableError, UnknownModelError, from_body, quote
from vinocast.requests import Candidate, Forgotten, Observed, Recognized
from vinocast.results import Forecast

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from vinocast.data.given import Frame, OneOfMany

T = TypeVar("T")
# Of a forecast: as numbers it takes twice the bytes, and ten times the time to write and to read.
IN_BASE64 = {"encoding_format": "base64"}


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and how its reply is read.

    Attributes:
        op: what is asked.
        fields: of the request, without ``op`` and ``request_id``.
        read: makes the answer of the reply's fields.
        repeatable: whether to ask again does no harm where it is unknown whether the service has answered.
    """

    op: str
    read: Callable[[Mapping[str, Any]], T]
    fields: Mapping[str, Any] = field(default_factory=dict)
    repeatable: bool = True

    @property
    def deadline(self) -> float | None:
        """Seconds after which the answer is not wanted."""
        deadline_ms = self.fields.get("deadline_ms")
        return deadline_ms / 1e3 if isinstance(deadline_ms, int | float) else None

    def text(self, after: float = 0.0, **more: object) -> bytes:
        """Return the request as JSON; what is left of its deadline after so many seconds is its deadline."""
        fields = {**self.fields, **more}
        if after and (deadline := self.deadline) is not None:
            fields["deadline_ms"] = max(0.0, (deadline - after) * 1e3)
        return orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY)


def forecast(
    window: ArrayLike | None, targets: Sequence[str | int] | None, stream: str | None, terms: Mapping[str, Any]
) -> Call[Forecast]:
    """Ask for the forecast of a window or of a stream; raises InvalidShapeError or InvalidValueError."""
    fields = as_fields({**terms, "targets": targets, "stream": stream})
    if window is not None:
        values = as_array(window, "window")
        if values.ndim != 2:
            raise InvalidShapeError(
                f"window: expected [rows, channels], got {list(values.shape)}; forecast_series takes single series",
                "window",
            )
        fields["past_values_b64"] = base64.b64encode(values.astype("<f4", copy=False).data).decode()
        fields["shape"] = list(values.shape)
    return Call("forecast", forecast_of, {**fields, **IN_BASE64})


def series(
    many: Mapping[Any, ArrayLike] | Sequence[OneOfMany] | Frame, columns: Columns, terms: Mapping[str, Any]
) -> Call[list[Forecast]]:
    """Ask for the forecasts of single series; raises RequestError for what is none."""
    if is_frame(many):
        inputs, terms = inputs_of(many, columns, terms)
    else:
        inputs = as_inputs(many)
    # In front, where the service looks for it.
    return Call("forecast", _outputs, {"inputs": inputs, **as_fields(terms), **IN_BASE64})


def channels_of(pong: Mapping[str, Any], model: str | None) -> Sequence[str]:
    """Return the channels of a model by what a ping has said; raises UnknownModelError."""
    name = model or pong["default_model"]
    for each in pong["models"]:
        known = (each["name"],) if each.get("default_version", True) else ()
        if name in (*known, f"{each['name']}/{each.get('version')}") and "channels" in each:
            channels: Sequence[str] = each["channels"]
            return channels
    raise UnknownModelError(f"model: expected a forecaster that is served, got {quote(name)}", "model")


def observe(stream: str, values: ArrayLike, timestamp_ms: int | None, model: str | None) -> Call[Observed]:
    """Append a row, or several, to a stream; raises InvalidValueError."""
    fields = as_fields({"stream": stream, "timestamp_ms": timestamp_ms, "model": model})
    fields["values"] = as_array(values, "values")
    return Call(
        "observe", lambda reply: Observed(reply["stream"], reply["rows"], reply["missing"]), fields, repeatable=False
    )


def forget(stream: str) -> Call[Forgotten]:
    """Drop a stream."""
    return Call(
        "forget",
        lambda reply: Forgotten(reply["stream"], reply["rows"], reply["newest_timestamp_ms"]),
        as_fields({"stream": stream}),
        repeatable=False,
    )


def glyphs(
    rasters: Sequence[bytes] | None,
    grids: ArrayLike | None,
    topk: int | None,
    normalize: bool | None,
    model: str | None,
) -> Call[Recognized]:
    """Ask what glyphs are, of PNGs or of grids of primitive ids."""
    fields = as_fields({"topk": topk, "normalize": normalize, "model": model})
    if rasters is not None:
        fields["rasters"] = [base64.b64encode(raster).decode() for raster in rasters]
    if grids is not None:
        fields["grids"] = np.asarray(grids).tolist()
    return Call("glyphs", _recognized, fields)


def ping() -> Call[dict[str, Any]]:
    """Ask what is served."""
    return Call("ping", dict)


def stats() -> Call[dict[str, Any]]:
    """Ask what was counted."""
    return Call("stats", dict)


def read_reply(text: bytes, source: str) -> dict[str, Any]:
    """Return the fields of a reply, an error's too; raises ServiceUnreachableError for what is no reply."""
    try:
        reply = orjson.loads(text)
    except orjson.JSONDecodeError:
        reply = None
    if not isinstance(reply, dict):
        raise ServiceUnreachableError(
            f"{source}: expected a reply of Vinocast, got {quote(text[:80].decode(errors='replace'))}"
        )
    return reply


def read_answer(call: Call[T], reply: Mapping[str, Any], source: str, retry_after: int = 0) -> T:
    """Return what a reply answers.

    Raises RequestError where it is a refusal, ServiceUnreachableError where it is no reply to this request.
    """
    if isinstance(error := reply.get("error"), dict) and not reply.get("success"):
        raise from_body(error, retry_after)
    try:
        return call.read(reply)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ServiceUnreachableError(f"{source}: its reply to {call.op} is none of Vinocast: {error!r}") from error


def forecast_of(reply: Mapping[str, Any]) -> Forecast:
    """Return the forecast of a window that a reply holds."""
    return _output(reply, reply, tuple(reply["channels"]))


def _outputs(reply: Mapping[str, Any]) -> list[Forecast]:
    return [_output(output, reply, ()) for output in reply["outputs"]]


def _output(output: Mapping[str, Any], reply: Mapping[str, Any], channels: tuple[str, ...]) -> Forecast:
    """Return a forecast, of which a reply of many series holds a part for each."""
    if "predictions_b64" in output:
        shape = output["shape"]
        points = _floats(output["predictions_b64"], shape)
        levels = {float(level): _floats(values, shape) for level, values in output.get("quantiles_b64", {}).items()}
    else:  # what another client has had pushed
        points = np.array(output["predictions"], np.float32)
        levels = {float(level): np.array(values, np.float32) for level, values in output.get("quantiles", {}).items()}
    return Forecast(
        points,
        channels,
        reply["model"],
        levels,
        output.get("timestamps"),
        output.get("item_id"),
        output.get("filled", 0),
        output.get("padded", 0),
        reply.get("rollout", False),
        reply["inference_time_ms"],
        reply["queue_time_ms"],
        reply.get("newest_timestamp_ms"),
        reply.get("rows_since_newest"),
        reply.get("quantiles_from"),
        reply.get("warnings", ()),
    )


def _floats(text: str, shape: Sequence[int]) -> NDArray[np.float32]:
    """Return numbers of a reply, which may be written to; raises ValueError for what does not hold so many."""
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").reshape(shape).astype(np.float32)


def _recognized(reply: Mapping[str, Any]) -> Recognized:
    return Recognized(
        reply["model"],
        reply["inference_time_ms"] / 1e3,
        reply["queue_time_ms"] / 1e3,
        [
            [Candidate(each["rank"], each["label"], each["base"], each["prob"]) for each in result["topk"]]
            for result in reply["results"]
        ],
        reply.get("warnings", ()),
    )
