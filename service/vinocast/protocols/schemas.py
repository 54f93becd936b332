"""Requests and replies in JSON. Pydantic validates the envelope; a window's numbers pass through it untouched."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    InstanceOf,
    StrictBool,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)
from pydantic_core import CoreSchema

from vinocast import requests
from vinocast.errors import InvalidRequestError
from vinocast.protocols.bounded import check_bounded
from vinocast.protocols.glyphs import JsonGlyphs
from vinocast.protocols.numbers import Numbers
from vinocast.protocols.windows import Base64Window, JsonRows, JsonWindow, may_hold_booleans
from vinocast.settings import METADATA_BYTES, MIB

# Of a text, in characters, and of an array that is looked into here, in elements.
MOST = 1 << 16
ROW = {"type": "array", "items": {"type": "number"}}
# What holds numbers or pictures is not looked into here: who reads it knows the model's shape, and checks it in bulk.
Window = Annotated[InstanceOf[list[Any]] | InstanceOf[Numbers], WithJsonSchema({"type": "array", "items": ROW})]
RowOrRows = Annotated[InstanceOf[list[Any]], WithJsonSchema({"anyOf": [ROW, {"type": "array", "items": ROW}]})]
Base64 = Annotated[InstanceOf[str], WithJsonSchema({"type": "string", "contentEncoding": "base64"})]
Grids = Annotated[
    InstanceOf[list[Any]],
    WithJsonSchema(
        {"type": "array", "items": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}}
    ),
]
Rasters = Annotated[
    InstanceOf[list[Any]],
    WithJsonSchema({"type": "array", "items": {"type": "string", "contentEncoding": "base64"}}),
]
Text = Annotated[StrictStr, Field(max_length=MOST)]
RequestId = Text | StrictInt
# JSON text, which parse_json has put in the place of the value: any that can be written again.
Metadata = Annotated[InstanceOf[orjson.Fragment], WithJsonSchema({})]
StreamName = Annotated[StrictStr, Field(min_length=1, max_length=256)]
Targets = Annotated[list[Text | StrictInt], Field(min_length=1, max_length=MOST, fail_fast=True)]
Shape = Annotated[list[StrictInt], Field(min_length=2, max_length=2, fail_fast=True)]


class Envelope(BaseModel):
    """What every request may carry, echoed as sent. A field that a request does not know is refused."""

    # What is not known is refused before, with the nearest name: pydantic need not look for it in every request.
    model_config = ConfigDict(
        extra="ignore",
        strict=True,
        hide_input_in_errors=True,
        json_schema_extra={"additionalProperties": False},
        # At the first request of its kind, which comes while the models load; a forecast has no need of the others.
        defer_build=True,
    )
    known: ClassVar[frozenset[str]]

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Collect the names of the fields once."""
        cls.known = frozenset(cls.model_fields)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Build the schema, before it takes its first request; raises TypeError for a field that is not bounded."""
        schema = handler(source)
        check_bounded(handler.resolve_ref_schema(schema), cls.__name__)
        return schema

    request_id: RequestId | None = Field(
        default=None, description=f"a string or an integer, echoed in the reply; a string of at most {MOST} characters"
    )
    timestamp_ms: StrictInt | None = Field(
        default=None, description="an integer of at most 64 bits, echoed in the reply"
    )
    metadata: Metadata | None = Field(
        default=None,
        description="any JSON of the sender's own, at most 254 levels deep and "
        f"{METADATA_BYTES // MIB} MiB long, echoed in the reply",
    )

    def ask(self, text: bytes, received: float) -> Any:  # noqa: ARG002 - what some requests need
        """Return what is asked, typed; raises InvalidRequestError where fields do not go together.

        Args:
            text: the JSON that the request was parsed from.
            received: ``time.monotonic`` of its receipt, from which a deadline counts.
        """
        return self


class PingRequest(Envelope):
    """A question for version, models and readiness."""

    op: Literal["ping"] = Field(description='"ping"')


class StatsRequest(Envelope):
    """A question for counters and quantiles."""

    op: Literal["stats"] = Field(description='"stats"')


class ForecastRequest(Envelope):
    """One window to forecast, in exactly one of its forms."""

    op: Literal["forecast"] | None = Field(default=None, description='"forecast", or nothing')
    past_values: Window | None = Field(
        default=None, description="an array of rows, oldest first, each an array of one number a channel"
    )
    past_values_b64: Base64 | None = Field(
        default=None, description="a string: base64 of little-endian float32 values, row by row; needs shape"
    )
    shape: Shape | None = Field(
        default=None, description="an array of two integers, [context, channels], for past_values_b64"
    )
    model: Text | None = Field(default=None, description="a string, the name of a model; default: the default model")
    stream: StreamName | None = Field(
        default=None,
        description="a non-empty string of at most 256 characters, the name of a stream that holds the window",
    )
    targets: Targets | None = Field(
        default=None, description="a non-empty array of channel names or indices: only those are computed; default: all"
    )
    deadline_ms: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="a number >= 0: milliseconds from receipt after which the answer is not wanted"
    )

    def ask(self, text: bytes, received: float) -> requests.Forecast:
        """Return what is asked; raises InvalidRequestError for none or several forms of the window."""
        forms = (self.past_values, self.past_values_b64, self.stream)
        if sum(form is not None for form in forms) != 1:
            raise InvalidRequestError("expected exactly one of past_values, past_values_b64 and stream", "past_values")
        source: requests.WindowSource | None = None
        if self.past_values is not None:
            values = self.past_values
            source = values if isinstance(values, Numbers) else JsonWindow(values, may_hold_booleans(text))
        elif self.past_values_b64 is not None:
            if self.shape is None:
                raise InvalidRequestError("shape: expected [context, channels] beside past_values_b64", "shape")
            source = Base64Window(self.past_values_b64, (self.shape[0], self.shape[1]))
        if self.shape is not None and self.past_values_b64 is None:
            raise InvalidRequestError("shape: expected beside past_values_b64 alone", "shape")
        deadline = None if self.deadline_ms is None else received + self.deadline_ms / 1e3
        return requests.Forecast(source, self.stream, self.model, self.targets, deadline)


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
    model: Text | None = Field(default=None, description="a string, the name of a model; default: the default model")

    def ask(self, text: bytes, received: float) -> requests.Observe:  # noqa: ARG002 - the base's signature
        """Return what is asked."""
        source = JsonRows(self.values, may_hold_booleans(text))
        return requests.Observe(self.stream, source, self.timestamp_ms, self.model)


class ForgetRequest(Envelope):
    """A stream to drop, with all that it holds."""

    op: Literal["forget"] | None = Field(default=None, description='"forget", or nothing on the route of its own')
    stream: StreamName = Field(description="a non-empty string of at most 256 characters")

    def ask(self, text: bytes, received: float) -> requests.Forget:  # noqa: ARG002 - the base's signature
        """Return what is asked."""
        return requests.Forget(self.stream)


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
    model: Text | None = Field(
        default=None, description="a string, the name of a glyph model; default: the only one there is"
    )

    def ask(self, text: bytes, received: float) -> requests.Glyphs:  # noqa: ARG002 - the base's signature
        """Return what is asked; raises InvalidRequestError for none or both forms, and for ``normalize`` of grids."""
        if (self.grids is None) == (self.rasters is None):
            raise InvalidRequestError("expected exactly one of grids and rasters", "grids")
        if self.rasters is not None:
            rasters = JsonGlyphs("rasters", self.rasters, text)
            return requests.Glyphs(rasters=rasters, normalize=self.normalize, topk=self.topk, model=self.model)
        if self.normalize:
            raise InvalidRequestError(
                "normalize: expected rasters beside it; grids have no geometry to fit", "normalize"
            )
        grids = JsonGlyphs("grids", self.grids or [], text, may_hold_booleans=may_hold_booleans(text))
        return requests.Glyphs(grids=grids, topk=self.topk, model=self.model)


class Described(BaseModel):
    """What a service sends, for those who describe or check it: it validates none, and builds no validator of any."""

    model_config = ConfigDict(defer_build=True)


class Reply(Described):
    """What every reply carries."""

    request_id: RequestId | None = Field(description="as sent; null when absent or unreadable")
    timestamp_ms: int | None = Field(description="as sent; null when absent or unreadable")
    metadata: Any = Field(default=None, description="as sent; absent when it was not sent")
    success: bool


class ForecastReply(Reply):
    """A forecast, in the units of the input."""

    predictions: list[list[float]] = Field(description="[horizon][targets], in the order of targets")
    channels: list[str] = Field(description="the names of the targets, in their order")
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


class StreamState(Described):
    """What a stream holds."""

    stream: str
    rows: int
    missing: int = Field(description="rows still to come before the stream can be forecast")
    timestamp_ms: int | None = Field(description="the newest; null where no row came with one")


class StreamsReply(Described):
    """Every stream, the most recently observed last."""

    streams: list[StreamState]


class Candidate(Described):
    """A label that a glyph may have."""

    rank: int = Field(description="1 for the best")
    label: str
    base: str = Field(description="the label's base character")
    prob: float = Field(description="its probability among all labels")


class GlyphResult(Described):
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


class PingReply(Reply):
    """Version, models and readiness."""

    version: str
    ready: bool = Field(description="whether the default model answers")
    degraded: list[dict[str, str]] = Field(description="the models that are there but not served, and why")
    default_model: str
    profile: str
    max_request_bytes: int
    max_waiting_bytes: int
    models: list[dict[str, Any]] = Field(description="what is known of each: name, kind, state, error, shapes, …")


class StatsReply(Reply):
    """Counters since the start, and quantiles of the recent times; null before the first."""

    model_config = ConfigDict(extra="allow")

    answered: dict[str, int] = Field(description="how many were answered with success, by op")
    failed: dict[str, int] = Field(description="how many were refused, by code")
    inference_time_ms: dict[str, float] | None = Field(description="of forecasts")
    queue_time_ms: dict[str, float] | None = Field(description="of forecasts")
    queued_requests: int
    queued_rows: int


class ErrorBody(Described):
    """What went wrong, where, and whether the same request may succeed later."""

    code: str
    message: str
    field: str | None = Field(description="path of the fault, such as past_values[3][0]")
    retryable: bool


class ErrorReply(Reply):
    """A refused request."""

    error: ErrorBody
