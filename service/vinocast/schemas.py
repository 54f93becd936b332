"""Requests and replies. Pydantic validates the envelope; a window's numbers pass through it untouched."""

from __future__ import annotations

import difflib
import json
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    WithJsonSchema,
)

from vinocast.errors import InvalidJsonError, InvalidRequestError, RequestError, describe, quote, shorten

ROW = {"type": "array", "items": {"type": "number"}}
# The elements are checked in bulk when the model's shape is known; here only the list itself is.
Rows = Annotated[list[Any], WithJsonSchema({"type": "array", "items": ROW})]
RowOrRows = Annotated[list[Any], WithJsonSchema({"anyOf": [ROW, {"type": "array", "items": ROW}]})]
Grids = Annotated[
    list[Any],
    WithJsonSchema(
        {"type": "array", "items": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}}
    ),
]
Rasters = Annotated[
    list[Any],
    WithJsonSchema({"type": "array", "items": {"type": "string", "contentEncoding": "base64"}}),
]
RequestId = StrictStr | StrictInt
# JSON text, which parse_json has put in the place of the value: any that can be written again.
Metadata = Annotated[InstanceOf[orjson.Fragment], WithJsonSchema({})]
StreamName = Annotated[StrictStr, Field(min_length=1, max_length=256)]


class Envelope(BaseModel):
    """What every request may carry, echoed as sent. A field that a request does not know is refused."""

    # What is not known is refused before, with the nearest name: pydantic need not look for it in every request.
    model_config = ConfigDict(
        extra="ignore",
        strict=True,
        hide_input_in_errors=True,
        json_schema_extra={"additionalProperties": False},
    )
    known: ClassVar[frozenset[str]]

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Collect the names of the fields once."""
        cls.known = frozenset(cls.model_fields)

    request_id: RequestId | None = Field(default=None, description="a string or an integer, echoed in the reply")
    timestamp_ms: StrictInt | None = Field(
        default=None, description="an integer of at most 64 bits, echoed in the reply"
    )
    metadata: Metadata | None = Field(
        default=None, description="any JSON of the sender's own, at most 254 levels deep, echoed in the reply"
    )


class PingRequest(Envelope):
    """A question for version, models and readiness."""

    op: Literal["ping"] = Field(description='"ping"')


class StatsRequest(Envelope):
    """A question for counters and quantiles."""

    op: Literal["stats"] = Field(description='"stats"')


class ForecastRequest(Envelope):
    """One window to forecast, in exactly one of its forms."""

    op: Literal["forecast"] | None = Field(default=None, description='"forecast", or nothing')
    past_values: Rows | None = Field(
        default=None, description="an array of rows, oldest first, each an array of one number a channel"
    )
    past_values_b64: StrictStr | None = Field(
        default=None, description="a string: base64 of little-endian float32 values, row by row; needs shape"
    )
    shape: Annotated[list[StrictInt], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="an array of two integers, [context, channels], for past_values_b64"
    )
    model: StrictStr | None = Field(
        default=None, description="a string, the name of a model; default: the default model"
    )
    stream: StreamName | None = Field(
        default=None,
        description="a non-empty string of at most 256 characters, the name of a stream that holds the window",
    )
    targets: Annotated[list[StrictStr | StrictInt], Field(min_length=1, fail_fast=True)] | None = Field(
        default=None, description="a non-empty array of channel names or indices: only those are computed; default: all"
    )
    deadline_ms: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="a number >= 0: milliseconds from receipt after which the answer is not wanted"
    )


class ObserveRequest(Envelope):
    """New rows of a stream, which is created on first use."""

    op: Literal["observe"] | None = Field(default=None, description='"observe", or nothing on the route of its own')
    timestamp_ms: StrictInt | None = Field(
        default=None,
        description="an integer of at most 64 bits, the time of the last row in milliseconds, which orders the rows of "
        "the stream; echoed in the reply",
    )
    stream: StreamName = Field(description="a non-empty string of at most 256 characters")
    values: Annotated[RowOrRows, Field(min_length=1)] = Field(
        description="one row, or an array of rows, oldest first: one number a channel of the model"
    )
    model: StrictStr | None = Field(
        default=None, description="a string, the name of a model; default: the default model"
    )


class ForgetRequest(Envelope):
    """A stream to drop, with all that it holds."""

    op: Literal["forget"] | None = Field(default=None, description='"forget", or nothing on the route of its own')
    stream: StreamName = Field(description="a non-empty string of at most 256 characters")


class GlyphsRequest(Envelope):
    """Glyphs to recognize, in exactly one of their forms."""

    op: Literal["glyphs"] | None = Field(default=None, description='"glyphs", or nothing on the route of its own')
    grids: Annotated[Grids, Field(min_length=1)] | None = Field(
        default=None, description="a non-empty array of grids, each 16 rows of 16 primitive ids from 0 to 1023"
    )
    rasters: Annotated[Rasters, Field(min_length=1)] | None = Field(
        default=None,
        description="a non-empty array of strings, each the base64 of a PNG of 128x128 pixels: one glyph in bright ink "
        "on black, scaled so that its larger side is 128 (64 for a diacritic), at the top left",
    )
    normalize: StrictBool = Field(
        default=False,
        description="true or false: whether to fit each raster, of up to 1024x1024 pixels, any colours and with a "
        "margin of background, to that geometry first",
    )
    topk: Annotated[StrictInt, Field(ge=1)] = Field(
        default=5, description="an integer >= 1: how many labels to return for each glyph, the best first"
    )
    model: StrictStr | None = Field(
        default=None, description="a string, the name of a glyph model; default: the only one there is"
    )


class Reply(BaseModel):
    """What every reply carries."""

    request_id: RequestId | None = Field(description="as sent; null when absent or unreadable")
    timestamp_ms: int | None = Field(description="as sent; null when absent or unreadable")
    metadata: Any = Field(default=None, description="as sent; absent when it was not sent")
    success: bool


class ForecastReply(Reply):
    """A forecast, in the units of the input."""

    predictions: list[list[float]] = Field(description="[horizon][targets], in the order of targets")
    inference_time_ms: float = Field(description="the infer() call alone")
    queue_time_ms: float = Field(description="from the decoded request to its start")
    model: str
    newest_timestamp_ms: int | None = Field(
        default=None, description="of a stream alone: the newest timestamp_ms observed; null where none came with one"
    )
    rows_since_newest: int | None = Field(
        default=None, description="of a stream alone: rows observed since, which came without a timestamp_ms"
    )


class ObserveReply(Reply):
    """What a stream holds after an observation."""

    stream: str
    rows: int = Field(description="rows held, at most the model's context")
    missing: int = Field(description="rows still to come before the stream can be forecast")


class ForgetReply(Reply):
    """The stream that was dropped, and what it held."""

    stream: str
    rows: int = Field(description="rows it held")
    newest_timestamp_ms: int | None = Field(description="the newest it had seen; null where none came with one")


class StreamState(BaseModel):
    """What a stream holds."""

    stream: str
    rows: int
    missing: int = Field(description="rows still to come before the stream can be forecast")
    timestamp_ms: int | None = Field(description="the newest; null where no row came with one")


class StreamsReply(BaseModel):
    """Every stream, the most recently observed last."""

    streams: list[StreamState]


class Candidate(BaseModel):
    """A label that a glyph may have."""

    rank: int = Field(description="1 for the best")
    label: str
    base: str = Field(description="the label's base character")
    prob: float = Field(description="its probability among all labels")


class GlyphResult(BaseModel):
    """What a glyph may be."""

    topk: list[Candidate]


class GlyphsReply(Reply):
    """Ranked labels of each glyph, in the order of the request."""

    results: list[GlyphResult]
    warnings: list[str] = Field(
        default=[], description="what looks wrong with which raster, and the mend; absent when nothing does"
    )
    inference_time_ms: float = Field(description="the infer() calls of both nets alone")
    queue_time_ms: float = Field(description="from the decoded request to its start")
    model: str


class ErrorBody(BaseModel):
    """What went wrong, where, and whether the same request may succeed later."""

    code: str
    message: str
    field: str | None = Field(description="path of the fault, such as past_values[3][0]")
    retryable: bool


class ErrorReply(Reply):
    """A refused request."""

    error: ErrorBody


Request = TypeVar("Request", bound=Envelope)
# What orjson makes of an integer beyond 64 bits, as it writes it: 1.8446744073709552e+19, where a value may stand.
ROUNDED = re.compile(rb"(?<![^\[,:])-?\d(?:\.\d+)?e\+?\d\d+(?![^\],}])")
BEYOND_64_BITS = 2.0**63


def parse_json(body: bytes) -> dict[str, Any]:
    """Return the object a request's bytes hold, past a byte order mark.

    A ``request_id`` that is an integer is exact, however large; ``metadata`` is left as JSON text, for the reply.

    Raises:
        InvalidJsonError: not JSON by RFC 8259, nested too deep, or not UTF-8.
        InvalidRequestError: JSON, but not an object.
    """
    text = body.removeprefix(BOM_UTF8)
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if text.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or b"\0" in text[:4]:
            raise InvalidJsonError("expected a JSON object in UTF-8: these bytes look like UTF-16 or UTF-32") from None
        raise InvalidJsonError(f"expected a JSON object: {error}") from None
    if not isinstance(fields, dict):
        raise InvalidRequestError("expected a JSON object")
    request_id = fields.get("request_id")
    if type(request_id) is float and abs(request_id) >= BEYOND_64_BITS:
        fields["request_id"] = _parse_exactly(text)["request_id"]
    if "metadata" in fields:
        try:
            raw = orjson.dumps(fields["metadata"])
        except orjson.JSONEncodeError:  # too deep to be written again, which the schema refuses
            return fields
        if ROUNDED.search(raw):
            exact = _parse_exactly(text)["metadata"]
            raw = json.dumps(exact, ensure_ascii=False, separators=(",", ":")).encode()
        fields["metadata"] = orjson.Fragment(raw)
    return fields


def _parse_exactly(text: bytes) -> dict[str, Any]:
    """Parse what orjson has taken once more, an order of magnitude slower, with integers of any size."""
    try:
        fields: dict[str, Any] = json.loads(text)
    except RecursionError:
        raise InvalidJsonError("expected a JSON object: it is nested too deep") from None
    return fields


def echo(fields: dict[str, Any]) -> dict[str, Any]:
    """Return what of a parsed request its reply repeats.

    ``request_id`` and ``timestamp_ms`` are null where they are absent or unreadable, ``metadata`` is left out.
    """
    request_id, timestamp = fields.get("request_id"), fields.get("timestamp_ms")
    if type(request_id) is int:
        if not -(2**63) <= request_id < 2**64:  # more than orjson writes
            request_id = orjson.Fragment(str(request_id))
    elif not isinstance(request_id, str):
        request_id = None
    echoed = {"request_id": request_id, "timestamp_ms": timestamp if type(timestamp) is int else None}
    if isinstance(metadata := fields.get("metadata"), orjson.Fragment):
        echoed["metadata"] = metadata
    return echoed


def validate(schema: type[Request], fields: dict[str, Any]) -> Request:
    """Validate the envelope of a request; raises InvalidRequestError with the path of the first fault."""
    if not fields.keys() <= schema.known:
        raise _unknown_field(next(name for name in fields if name not in schema.known), schema)
    try:
        return schema.model_validate(fields)
    except ValidationError as error:
        raise _first_fault(error, schema) from None


def parse_forecast(fields: dict[str, Any]) -> ForecastRequest:
    """Validate the envelope of a forecast; raises as :func:`validate` does."""
    request = validate(ForecastRequest, fields)
    forms = (request.past_values, request.past_values_b64, request.stream)
    if sum(form is not None for form in forms) != 1:
        raise InvalidRequestError("expected exactly one of past_values, past_values_b64 and stream", "past_values")
    if request.past_values_b64 is not None and request.shape is None:
        raise InvalidRequestError("shape: expected [context, channels] beside past_values_b64", "shape")
    return request


def parse_glyphs(fields: dict[str, Any]) -> GlyphsRequest:
    """Validate the envelope of a glyphs request; raises as :func:`validate` does."""
    request = validate(GlyphsRequest, fields)
    if (request.grids is None) == (request.rasters is None):
        raise InvalidRequestError("expected exactly one of grids and rasters", "grids")
    if request.normalize and request.rasters is None:
        raise InvalidRequestError("normalize: expected rasters beside it; grids have no geometry to fit", "normalize")
    return request


def with_stream(fields: dict[str, Any], in_path: str | None) -> dict[str, Any]:
    """Return the fields of a request whose path names its stream; raises InvalidRequestError where they name another.

    Without a path the stream is a field like the others.
    """
    if in_path is None:
        return fields
    if fields.get("stream") not in (None, in_path):
        got = describe(fields["stream"])
        raise InvalidRequestError(f"stream: expected {quote(in_path)}, as in the path, or nothing, got {got}", "stream")
    return {**fields, "stream": in_path}


def _unknown_field(name: str, schema: type[Envelope]) -> InvalidRequestError:
    field = shorten(name)
    near = difflib.get_close_matches(field.lower(), schema.known, n=1, cutoff=0.7)
    hint = f", did you mean {near[0]}?" if near else ";"
    names = ", ".join(schema.model_fields)
    return InvalidRequestError(f"{field}: no such field{hint} expected none but {names}", field)


def _first_fault(error: ValidationError, schema: type[BaseModel]) -> InvalidRequestError:
    fault = error.errors(include_url=False)[0]
    location = fault["loc"]
    name = str(location[0])
    # Behind a list's index come the branches of a union, which mean nothing to the sender.
    path = name + "".join(f"[{part}]" for part in location[1:2] if isinstance(part, int))
    got = "nothing" if fault["type"] == "missing" else describe(fault["input"])
    return InvalidRequestError(f"{path}: expected {schema.model_fields[name].description}, got {got}", path)


def encode(reply: dict[str, Any]) -> bytes:
    """Return a reply as JSON bytes; float32 arrays are written with the shortest digits that read back the same."""
    return orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)


def failure(echoed: dict[str, Any], error: RequestError) -> bytes:
    """Return the error envelope as JSON bytes."""
    return encode({**echoed, "success": False, "error": error.body()})
