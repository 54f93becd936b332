"""What ``manifest.json`` says of a forecaster."""

from __future__ import annotations

import operator
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, FailFast, Field, field_validator, model_validator

from vinocast.data.bundled import BUNDLED_FORECASTER
from vinocast.engine.bounds import MOST_CHANNELS, MOST_STEPS, MOST_WINDOW_VALUES
from vinocast.engine.folders import MANIFEST_FILE, versions_of
from vinocast.engine.manifest import (
    GOLDEN_FILE,
    IR_FILE,
    WEIGHTS_FILE,
    Manifest,
    ModelFolder,
    TensorSpec,
    read_manifest,
)
from vinocast.errors import SetupError
from vinocast.forecast.market import CHANNELS, MOST_CONTEXT, Market

if TYPE_CHECKING:
    from vinocast.forecast.targets import Columns

# A number of 17 digits with sign, point, exponent and comma takes 25; there is room for an indent.
BYTES_PER_NUMBER = 32
BYTES_BESIDE = 1 << 16

# Series of a forecast that are computed at a time; more are a long job, so that nothing waits for all of them. Beyond a
# few windows together nothing is gained by more, and each batch size that is compiled takes memory in proportion.
SERIES_PER_PART = 32

QUANTILES_FILE = "quantiles.npz"
# Of a grid of quantiles; a table that is made here has a tenth.
MOST_LEVELS = 1024
# What the scalers of published models add to the variance.
MINIMUM_VARIANCE = 1e-5

Precision = Literal["f32", "f16", "int8"]


class Metric(BaseModel):
    """An accuracy figure and the protocol it was measured by."""

    model_config = ConfigDict(extra="forbid")

    dataset: str
    split: str
    protocol: str
    windows: int
    mse: float
    mae: float


class Calibration(BaseModel):
    """What a table of quantiles was made from, and how well one made without them fits values that were held back."""

    model_config = ConfigDict(extra="forbid")

    data: str = Field(description="name of the file")
    sha256: str = Field(description="its hash")
    options: dict[str, str] = Field(description="options that decide the result")
    held_back: dict[str, float] = Field(description="forecasts, coverages, and losses in deviations of the context")


class ForecasterManifest(Manifest):
    """``manifest.json`` of a forecaster. Shapes are counts of time steps, channels in the order of a window's columns.

    ``layout`` is ``series`` where channels are independent and share one net: the IR maps [n, context] to
    [n, horizon] for any n series. It is ``window`` where they cannot stand for each other: [b, context, channels] to
    [b, horizon, channels]. With ``quantile_levels`` it answers quantiles, [n, horizon, levels]; those of 0.5 are its
    points. With ``market``, of layout ``window``, it takes a market's seven channels and answers ``outputs`` instead:
    [b, horizon, outputs]. ``golden_tolerance`` is relative to a series' deviation.
    """

    required = (IR_FILE, WEIGHTS_FILE, GOLDEN_FILE)
    computes = (IR_FILE, WEIGHTS_FILE)
    optional = (QUANTILES_FILE,)

    kind: Literal["forecaster"] = "forecaster"
    layout: Literal["series", "window"]
    context: int = Field(gt=0, le=MOST_STEPS)
    horizon: int = Field(gt=0, le=MOST_STEPS)
    channels: Annotated[list[str], FailFast()] = Field(min_length=1, max_length=MOST_CHANNELS)
    precision: Precision = Field(description="of the stored weights; int8 computes in 8 bits too")
    quantile_levels: list[float] = Field(
        default_factory=list,
        max_length=MOST_LEVELS,
        description="of the model's own quantiles, which ascend; none where it answers points alone",
    )
    minimum_variance: float = Field(
        default=MINIMUM_VARIANCE,
        gt=0,
        allow_inf_nan=False,
        description="what the model's scaler adds to the variance of a context, and so whatever is scaled by it",
    )
    market: Market | None = Field(default=None, description="of a model of a market's bars; see there")
    parity: dict[str, float] = Field(
        default_factory=dict,
        description="largest difference from the source model by kind of window, relative to its scale",
    )
    metrics: list[Metric] = Field(default_factory=list)
    calibration: dict[Literal["channels", "others"], Calibration] = Field(
        default_factory=dict, description="of the tables of quantiles, which say how sure a forecast is"
    )

    @field_validator("channels")
    @classmethod
    def _distinct(cls, channels: list[str]) -> list[str]:
        if len(set(channels)) != len(channels):
            raise ValueError("each channel needs a name of its own")
        return channels

    @field_validator("quantile_levels")
    @classmethod
    def _ascending(cls, levels: list[float]) -> list[float]:
        if levels and not (0.5 in levels[1:-1] and all(map(operator.lt, [0.0, *levels], [*levels, 1.0]))):
            raise ValueError("the levels must ascend within 0 and 1, with 0.5 between others")
        return levels

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.quantile_levels and self.layout != "series":
            raise ValueError("a model of layout window has no quantiles of its own")
        if self.market and (self.layout != "window" or self.channels != list(CHANNELS)):
            raise ValueError(f"a market model has the layout window, and the channels {', '.join(CHANNELS)}")
        if self.market and self.context > MOST_CONTEXT:
            raise ValueError(
                f"context: expected at most {MOST_CONTEXT} of a market model, as many bars as a stream keeps, got "
                f"{self.context}"
            )
        steps, channels = max(self.context, self.horizon * max(1, len(self.quantile_levels))), len(self.channels)
        if steps * channels > MOST_WINDOW_VALUES:
            raise ValueError(f"{steps} steps of {channels} channels are more than {MOST_WINDOW_VALUES} values")
        return self

    @cached_property
    def places(self) -> dict[str, int]:
        """The index of each channel by its name."""
        return {name: index for index, name in enumerate(self.channels)}

    @property
    def outputs(self) -> Columns:
        """The columns of what it answers: of a market model those of its section, of any other its channels."""
        return self.market or self

    @property
    def request_bytes(self) -> int:
        """The most bytes that a request with one window takes as text."""
        return self.context * len(self.channels) * BYTES_PER_NUMBER + BYTES_BESIDE

    def described(self) -> dict[str, Any]:
        """Return what a client must know to ask."""
        own = {"outputs": self.market.channels, "bar": self.market.bar} if self.market else {}
        return {"context": self.context, "horizon": self.horizon, "channels": self.channels, **own}

    @property
    def has_quantiles(self) -> bool:
        """Whether the model knows how sure it is."""
        return bool(self.quantile_levels) or QUANTILES_FILE in self.files

    def tensors(self) -> tuple[list[TensorSpec], list[TensorSpec]]:
        """Return windows, and what is forecast of each; quantiles are [windows, levels, steps, channels]."""
        answered = len(self.outputs.channels)
        outputs = [TensorSpec("predictions", "FP32", [-1, self.horizon, answered])]
        if self.has_quantiles:
            outputs.append(TensorSpec("quantiles", "FP32", [-1, -1, self.horizon, answered]))
        return [TensorSpec("past_values", "FP32", [-1, self.context, len(self.channels)])], outputs


ForecasterFolder: TypeAlias = ModelFolder[ForecasterManifest]


def open_forecaster(path: Path, place: str | None = None) -> ForecasterFolder:
    """Read the manifest of a forecaster; raises ModelRefusedError also when it is one of another kind.

    ``place`` is NAME or NAME/VERSION, where it was found among others.
    """
    return read_manifest(path, {"forecaster": ForecasterManifest}, place)


def check_columns(folder: ForecasterFolder) -> None:
    """Raise SetupError for a market model, which answers other columns than a table of its channels has."""
    market = folder.manifest.market
    if market is not None:
        raise SetupError(
            f"{folder.label} is a model of a market's bars, and answers {', '.join(market.channels)}, which are no "
            "columns of a table: ask it by windows, or by market streams"
        )


def find_forecaster(name: str | os.PathLike[str] | None, bundled: Path) -> ForecasterFolder:
    """Open a forecaster by its folder, or by its name among the bundled models; without a name, their default.

    Of a folder of versions it is the newest.

    Raises:
        SetupError: there is none.
        ModelRefusedError: it is no forecaster, or its manifest cannot be read.
    """
    name = BUNDLED_FORECASTER if name is None else name
    for folder in (Path(name), bundled / name):
        for place in (folder, *versions_of(folder)[:1]):
            if (place / MANIFEST_FILE).is_file():
                return open_forecaster(place)
    names = ", ".join(path.parent.name for path in sorted(bundled.glob(f"*/{MANIFEST_FILE}")))
    raise SetupError(
        f"{name} is neither a folder with a {MANIFEST_FILE} nor a bundled model ({names or 'there are none'}); "
        f"make one with 'vinocast convert SOURCE --output {name}'"
    )
