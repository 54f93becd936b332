"""Replies in JSON, for those who describe or check them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from vinocast.protocols.fields import RequestId


class Described(BaseModel):
    """What a service sends, for those who describe or check it: it validates none, and builds no validator of any."""

    model_config = ConfigDict(defer_build=True)


class Reply(Described):
    """What every reply carries."""

    request_id: RequestId | None = Field(description="as sent; null when absent or unreadable")
    timestamp_ms: int | None = Field(description="as sent; null when absent or unreadable")
    metadata: Any = Field(default=None, description="as sent; absent when it was not sent")
    success: bool


class ForecastOfOne(Described):
    """The forecast of one series, in the units of the input."""

    item_id: str | int | None = Field(description="as sent; null where none was sent")
    predictions: list[float] | None = Field(default=None, description="[steps]; absent in base64")
    predictions_b64: str | None = Field(default=None, description="the same as base64, where that was asked for")
    shape: tuple[int] | None = Field(default=None, description="[steps], of each that is in base64")
    quantiles: dict[str, list[float]] | None = Field(default=None, description="[steps] by level, ascending")
    quantiles_b64: dict[str, str] | None = Field(default=None, description="the same as base64, each [steps]")
    timestamps: list[int] | list[str] | None = Field(default=None, description="of the steps")
    filled: int = Field(default=0, description="values that were missing and are interpolated; absent when 0")
    padded: int = Field(default=0, description="points that were missing and are made up; absent when 0")


class ForecastReply(Reply):
    """A forecast, in the units of the input: of a window predictions and channels, of inputs outputs."""

    predictions: list[list[float]] | None = Field(
        default=None, description="[steps][targets], in the order of targets; of a window"
    )
    predictions_b64: str | None = Field(
        default=None, description="the same as base64 of little-endian float32, where that was asked for"
    )
    shape: tuple[int, int] | None = Field(default=None, description="[steps, targets], of each that is in base64")
    channels: list[str] | None = Field(default=None, description="the names of the targets, in their order")
    quantiles_b64: dict[str, str] | None = Field(
        default=None, description="quantiles as base64, each of that shape, where that was asked for"
    )
    quantiles: dict[str, list[list[float]]] | None = Field(
        default=None, description="by level, ascending, each [steps][targets]; where quantile_levels were given"
    )
    timestamps: list[int] | list[str] | None = Field(
        default=None,
        description="of the steps: in milliseconds with step_ms, in the form of start with start and freq",
    )
    filled: int = Field(default=0, description="values that were missing and are interpolated; absent when 0")
    padded: int = Field(default=0, description="rows that were missing and are made up; absent when 0")
    outputs: list[ForecastOfOne] | None = Field(default=None, description="of inputs, in their order")
    rollout: bool = Field(default=False, description="true where forecasts were fed back; absent where not")
    inference_time_ms: float = Field(description="the infer() calls alone")
    queue_time_ms: float = Field(description="from the decoded request to its start")
    model: str
    newest_timestamp_ms: int | None = Field(
        default=None, description="of a stream alone: the newest timestamp_ms observed; null where none came with one"
    )
    rows_since_newest: int | None = Field(
        default=None, description="of a stream alone: rows observed since, which came without a timestamp_ms"
    )
    quantiles_from: Literal["stream", "model", "both"] | None = Field(
        default=None,
        description="of a stream alone, with --stream-residuals: whether quantiles are from its own outcomes, from the "
        "model's table, or from both, as there are enough outcomes of some steps alone",
    )
    warnings: list[str] = Field(
        default=[], description="of a market stream: what makes the forecast less than it could be; absent when nothing"
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
