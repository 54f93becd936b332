"""Requests and replies. Pydantic validates the envelope; a window's numbers pass through it untouched."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError, WithJsonSchema

from service.errors import InvalidJsonError, InvalidRequestError, RequestError

# The elements are checked in bulk when the model's shape is known; here only the list itself is.
Rows = Annotated[
    list[Any],
    WithJsonSchema({"type": "array", "items": {"type": "array", "items": {"type": "number"}}}),
]
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
StreamName = Annotated[StrictStr, Field(min_length=1, max_length=256)]


class Envelope(BaseModel):
    """What every request may carry, echoed as sent."""

    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)

    request_id: RequestId | None = Field(default=None, description="a string or an integer, echoed in the reply")
    timestamp_ms: StrictInt | None = Field(default=None, description="an integer, echoed in the reply")


class ForecastRequest(Envelope):
    """One window to forecast, in exactly one of its forms."""

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
    targets: Annotated[list[StrictStr | StrictInt], Field(min_length=1)] | None = Field(
        default=None, description="a non-empty array of channel names or indices: only those are computed; default: all"
    )
    deadline_ms: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="a number >= 0: milliseconds from receipt after which the answer is not wanted"
    )


class ObserveRequest(Envelope):
    """New rows of a stream, which is created on first use. ``timestamp_ms`` is that of the last row."""

    stream: StreamName = Field(description="a non-empty string of at most 256 characters")
    values: Annotated[Rows, Field(min_length=1)] = Field(
        description="one row, or an array of rows, oldest first: one number a channel of the model"
    )
    model: StrictStr | None = Field(
        default=None, description="a string, the name of a model; default: the default model"
    )


class GlyphsRequest(Envelope):
    """Glyphs to recognize, in exactly one of their forms."""

    grids: Annotated[Grids, Field(min_length=1)] | None = Field(
        default=None, description="a non-empty array of grids, each 16 rows of 16 primitive ids from 0 to 1023"
    )
    rasters: Annotated[Rasters, Field(min_length=1)] | None = Field(
        default=None, description="a non-empty array of strings, each the base64 of a PNG of 128x128 pixels"
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
    success: bool


class ForecastReply(Reply):
    """A forecast, in the units of the input."""

    predictions: list[list[float]] = Field(description="[horizon][targets], in the order of targets")
    inference_time_ms: float = Field(description="the infer() call alone")
    queue_time_ms: float = Field(description="from the decoded request to its start")
    model: str


class ObserveReply(Reply):
    """What a stream holds after an observation."""

    stream: str
    rows: int = Field(description="rows held, at most the model's context")
    missing: int = Field(description="rows still to come before the stream can be forecast")


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


def parse_json(body: bytes | bytearray | memoryview) -> dict[str, Any]:
    """Return the object a request's bytes hold.

    Raises:
        InvalidJsonError: not JSON by RFC 8259, nested too deep, or not UTF-8.
        InvalidRequestError: JSON, but not an object.
    """
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidJsonError(f"expected a JSON object: {error}") from None
    if not isinstance(fields, dict):
        raise InvalidRequestError("expected a JSON object")
    return fields


def echo(fields: dict[str, Any]) -> dict[str, Any]:
    """Return ``request_id`` and ``timestamp_ms`` as sent, null where they are absent or unreadable."""
    request_id, timestamp = fields.get("request_id"), fields.get("timestamp_ms")
    return {
        "request_id": request_id if isinstance(request_id, str) or type(request_id) is int else None,
        "timestamp_ms": timestamp if type(timestamp) is int else None,
    }


def parse_forecast(fields: dict[str, Any]) -> ForecastRequest:
    """Validate the envelope of a forecast; raises InvalidRequestError with the path of the first fault."""
    try:
        request = ForecastRequest.model_validate(fields)
    except ValidationError as error:
        raise _first_fault(error, ForecastRequest) from None
    forms = (request.past_values, request.past_values_b64, request.stream)
    if sum(form is not None for form in forms) != 1:
        raise InvalidRequestError("expected exactly one of past_values, past_values_b64 and stream", "past_values")
    if request.past_values_b64 is not None and request.shape is None:
        raise InvalidRequestError("shape: expected [context, channels] beside past_values_b64", "shape")
    return request


def parse_observe(fields: dict[str, Any]) -> ObserveRequest:
    """Validate the envelope of an observation; raises InvalidRequestError with the path of the first fault."""
    try:
        return ObserveRequest.model_validate(fields)
    except ValidationError as error:
        raise _first_fault(error, ObserveRequest) from None


def parse_glyphs(fields: dict[str, Any]) -> GlyphsRequest:
    """Validate the envelope of a glyphs request; raises InvalidRequestError with the path of the first fault."""
    try:
        request = GlyphsRequest.model_validate(fields)
    except ValidationError as error:
        raise _first_fault(error, GlyphsRequest) from None
    if (request.grids is None) == (request.rasters is None):
        raise InvalidRequestError("expected exactly one of grids and rasters", "grids")
    return request


def _first_fault(error: ValidationError, schema: type[BaseModel]) -> InvalidRequestError:
    location = error.errors(include_url=False, include_input=False)[0]["loc"]
    name = str(location[0])
    # Behind a list's index come the branches of a union, which mean nothing to the sender.
    path = name + "".join(f"[{part}]" for part in location[1:2] if isinstance(part, int))
    expected = schema.model_fields[name].description
    return InvalidRequestError(f"{path}: expected {expected}", path)


def encode(reply: dict[str, Any]) -> bytes:
    """Return a reply as JSON bytes; float32 arrays are written with the shortest digits that read back the same."""
    return orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)


def failure(echoed: dict[str, Any], error: RequestError) -> bytes:
    """Return the error envelope as JSON bytes."""
    return encode({**echoed, "success": False, "error": error.body()})
