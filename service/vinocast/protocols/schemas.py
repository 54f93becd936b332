"""Requests in JSON. Pydantic validates the envelope; a window's numbers pass through it untouched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StrictBool, StrictInt

from vinocast import requests
from vinocast.errors import InvalidRequestError
from vinocast.protocols.bounded import Bounded
from vinocast.protocols.fields import (
    MOST,
    Base64,
    Channels,
    Grids,
    Inputs,
    Levels,
    Metadata,
    Rasters,
    RequestId,
    RowOrRows,
    Shape,
    StreamName,
    Targets,
    Text,
    Time,
    Window,
)
from vinocast.protocols.glyphs import JsonGlyphs
from vinocast.protocols.numbers import Numbers
from vinocast.protocols.series import MOST_CHARACTERS, JsonSeries, SeriesText
from vinocast.protocols.windows import Base64Window, JsonRows, JsonWindow, may_hold_booleans
from vinocast.settings import METADATA_BYTES, MIB

# What can be asked of a forecast beyond a window and its targets.
TERMS = frozenset(
    ("inputs", "channels", "prediction_length", "rollout", "quantile_levels", "missing", "short", "start", "freq",
     "step_ms", "encoding_format")
)  # fmt: skip


class Envelope(Bounded):
    """What every request may carry, echoed as sent. A field that a request does not know is refused."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

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

    @classmethod
    def plain(cls, fields: Mapping[str, Any]) -> Any:  # noqa: ARG003 - what some requests need
        """Return what fields ask where that is plain to see; None where it takes a look at each, which takes 3 us."""
        return None

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

    op: Literal["stats"] | None = Field(default=None, description='"stats", or nothing on the route of its own')


class ForecastRequest(Envelope):
    """A window to forecast, in exactly one of its forms, or single series."""

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
    model: Text | None = Field(
        default=None, description="a string, the name of a model, or NAME/VERSION; default: the default model"
    )
    stream: StreamName | None = Field(
        default=None,
        description="a non-empty string of at most 256 characters, the name of a stream that holds the window",
    )
    inputs: Annotated[Inputs, Field(min_length=1)] | None = Field(
        default=None,
        description='a non-empty array of single series, each {"item_id": …, "target": [numbers, oldest first], '
        '"start": …}, of which target is required',
    )
    channels: Channels | None = Field(
        default=None,
        description="a non-empty array of names, each of 1 to 256 characters and once: the columns of the window, "
        "where they are others than the model's",
    )
    targets: Targets | None = Field(
        default=None, description="a non-empty array of channel names or indices: only those are computed; default: all"
    )
    prediction_length: Annotated[StrictInt, Field(ge=1)] | None = Field(
        default=None, description="an integer >= 1: how many steps are wanted; default: the model's horizon"
    )
    rollout: StrictBool | None = Field(
        default=None,
        description="true or false: whether more steps than the model's horizon are made by feeding forecasts back",
    )
    quantile_levels: Levels | None = Field(
        default=None, description="an array of 1 to 99 numbers from 0 to 1, each once: quantiles that are wanted"
    )
    missing: Literal["refuse", "interpolate"] | None = Field(
        default=None, description='"refuse" or "interpolate": what becomes of values that are null, or NaN in base64'
    )
    short: Literal["refuse", "pad"] | None = Field(
        default=None, description='"refuse" or "pad": what becomes of fewer points than the model\'s context'
    )
    start: Time | None = Field(
        default=None,
        description=f"a string of at most {MOST_CHARACTERS} characters, the time of the window's first row; needs freq",
    )
    freq: Time | None = Field(
        default=None,
        description=f"a string of at most {MOST_CHARACTERS} characters, the step between two points, such as h or "
        "15min; needs start",
    )
    step_ms: Annotated[StrictInt, Field(ge=1)] | None = Field(
        default=None,
        description="an integer >= 1, the milliseconds between two points; needs timestamp_ms, that of the last",
    )
    encoding_format: Literal["float", "base64"] | None = Field(
        default=None,
        description='"float" or "base64": whether the forecast comes as numbers, or as base64 of little-endian float32',
    )
    deadline_ms: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="a number >= 0: milliseconds from receipt after which the answer is not wanted"
    )

    def ask(self, text: bytes, received: float) -> requests.Forecast:
        """Return what is asked; raises InvalidRequestError for fields that do not go together."""
        if (self.past_values, self.past_values_b64, self.stream, self.inputs).count(None) != 3:
            raise InvalidRequestError(
                "expected exactly one of past_values, past_values_b64, stream and inputs", "past_values"
            )
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
        request = requests.Forecast(source, self.stream, self.model, self.targets, deadline)
        if not self.model_fields_set.isdisjoint(TERMS):
            self._add_terms(request, text)
        return request

    def _add_terms(self, request: requests.Forecast, text: bytes) -> None:
        """Add what can be asked beyond a window; raises InvalidRequestError for fields that do not go together."""
        if self.inputs is not None:
            request.series = self.inputs if isinstance(self.inputs, SeriesText) else JsonSeries(self.inputs, text)
        for name, there, needed in (
            ("targets", self.inputs is None, "a window, not inputs, each of which is forecast"),
            ("channels", request.source is not None, "past_values or past_values_b64"),
            ("start", request.source is not None, "past_values or past_values_b64; one of inputs has its own"),
            ("start", self.freq is not None, "freq"),
            ("freq", self.start is not None or self.inputs is not None, "start"),
            ("step_ms", self.timestamp_ms is not None, "timestamp_ms"),
            ("step_ms", self.freq is None, "timestamp_ms alone, not freq"),
        ):
            if getattr(self, name) is not None and not there:
                raise InvalidRequestError(f"{name}: expected beside {needed}", name)
        request.quantile_levels = sorted_levels(self.quantile_levels)
        request.channels = self.channels
        request.prediction_length = self.prediction_length
        request.rollout = bool(self.rollout)
        request.missing = self.missing or "refuse"
        request.short = self.short or "refuse"
        request.start, request.freq = self.start, self.freq
        request.step_ms, request.timestamp_ms = self.step_ms, self.timestamp_ms
        request.in_base64 = self.encoding_format == "base64"


def sorted_levels(levels: list[float] | None) -> list[float] | None:
    """Return levels of quantiles, ascending; raises InvalidRequestError for one that stands twice."""
    if levels is None:
        return None
    if len(set(levels)) < len(levels):
        index = next(index for index, level in enumerate(levels) if level in levels[:index])
        path = f"quantile_levels[{index}]"
        raise InvalidRequestError(f"{path}: expected each level once, got {levels[index]:g} again", path)
    # Of -0.0 the sign is dropped.
    return sorted(abs(level) for level in levels)


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
    model: Text | None = Field(
        default=None, description="a string, the name of a model, or NAME/VERSION; default: the default model"
    )

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
