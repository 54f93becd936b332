"""What a market model takes and answers: the section ``market`` of its manifest.

It takes the seven channels of a market's bars as they are, in their own units, and answers other columns than it takes:
logarithms of how far prices range, of how much is traded and of how wildly prices move, which can be forecast, and
prices, which cannot, and of which it says how sure their last value is. What comes of a forecast is computed from the
channels of the bars that follow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

if TYPE_CHECKING:
    from numpy.typing import NDArray

Channel: TypeAlias = Literal["close", "high", "low", "volume", "rsi", "macd", "volatility"]
Answer: TypeAlias = Literal["close", "high", "low", "log_range", "log_volume", "log_volatility"]
CLOSE, HIGH, LOW, VOLUME, RSI, MACD, VOLATILITY = range(7)
CHANNELS: Sequence[Channel] = ("close", "high", "low", "volume", "rsi", "macd", "volatility")
PRICES: dict[Answer, int] = {"close": CLOSE, "high": HIGH, "low": LOW}

# Bars that a stream keeps, and no window has more.
MOST_CONTEXT = 900
UNITS = {"s": 1, "m": 60, "h": 3600}
BAR = re.compile(r"([1-9][0-9]{0,5})([smh])")
# Bars of a window whose returns say how wildly prices move, and the least that they are taken to.
RECENT = 96
LEAST_MOVE = 1e-5


class Normalization(BaseModel):
    """``(f(value) - mean) / deviation``, where f is nothing or log1p: the unit that errors are told in."""

    model_config = ConfigDict(extra="forbid")

    transform: Literal["none", "log1p"] = "none"
    mean: float = Field(allow_inf_nan=False)
    deviation: float = Field(gt=0, allow_inf_nan=False)

    def apply(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return values in the unit of errors."""
        wide = values.astype(np.float64)
        return ((np.log1p(wide) if self.transform == "log1p" else wide) - self.mean) / self.deviation

    def undo(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return what :meth:`apply` made these values of."""
        wide = values.astype(np.float64) * self.deviation + self.mean
        return np.expm1(wide) if self.transform == "log1p" else wide


class Market(BaseModel):
    """The section ``market``: which bars, how channels are normalized, and what is answered.

    ``floors`` are what the range of a bar, and the volatility, are taken to be at least before their logarithm is.
    """

    model_config = ConfigDict(extra="forbid")

    bar: str = Field(description="of the bars that it was trained on: a number with s, m or h")
    inputs: dict[Channel, Normalization] = Field(description="by channel")
    outputs: dict[Answer, Normalization] = Field(min_length=1, description="in their order in a forecast")
    floors: dict[Literal["log_range", "log_volatility"], float] = Field(default_factory=dict)

    @field_validator("bar")
    @classmethod
    def _length(cls, bar: str) -> str:
        if not BAR.fullmatch(bar):
            raise ValueError("expected a number with s, m or h, such as 5m")
        return bar

    @field_validator("inputs")
    @classmethod
    def _every(cls, inputs: dict[Channel, Normalization]) -> dict[Channel, Normalization]:
        if tuple(inputs) != CHANNELS:
            raise ValueError(f"expected {', '.join(CHANNELS)}, in this order")
        return inputs

    @field_validator("floors")
    @classmethod
    def _positive(cls, floors: dict[str, float]) -> dict[str, float]:
        if not all(0 < floor < 1 for floor in floors.values()):
            raise ValueError("a floor lies between 0 and 1")
        return floors

    @cached_property
    def channels(self) -> list[str]:
        """The names of what it answers, in their order."""
        return list(self.outputs)

    @cached_property
    def places(self) -> dict[str, int]:
        """The index of each by its name."""
        return {name: index for index, name in enumerate(self.outputs)}

    @cached_property
    def seconds(self) -> int:
        """The length of a bar."""
        count, unit = self.bar[:-1], self.bar[-1]
        return int(count) * UNITS[unit]

    def outcomes(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Return what it would have had to answer for bars [..., 7]: float32 [..., outputs]; NaN where a bar has it."""
        rows = rows.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            made = [self._outcome(name, rows) for name in self.outputs]
        return np.stack(made, axis=-1).astype(np.float32)

    def _outcome(self, name: Answer, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        if name in PRICES:
            return rows[..., PRICES[name]]
        if name == "log_volume":
            return np.log1p(np.maximum(rows[..., VOLUME], 0))
        if name == "log_range":
            ranges = (rows[..., HIGH] - rows[..., LOW]) / rows[..., LOW]
            return np.log(np.maximum(ranges, self.floors.get(name, LEAST_MOVE)))
        return np.log(np.maximum(rows[..., VOLATILITY], self.floors.get("log_volatility", LEAST_MOVE)))

    def scales(self, windows: NDArray[Any]) -> NDArray[np.float32]:
        """Return what errors are divided by, float32 [..., outputs] of windows [..., context, 7].

        Of a price that is its last value times the deviation of recent returns; of a logarithm, which is free of
        units, 1.
        """
        close = windows[..., -RECENT:, CLOSE].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            returns = np.diff(close) / close[..., :-1]
        moves = np.sqrt(np.nan_to_num(np.square(returns), posinf=0).mean(axis=-1))
        made = np.ones((*moves.shape, len(self.outputs)), np.float32)
        for index, name in enumerate(self.outputs):
            if name in PRICES:
                made[..., index] = np.abs(close[..., -1]) * np.maximum(moves, LEAST_MOVE)
        return np.maximum(made, np.finfo(np.float32).tiny)
