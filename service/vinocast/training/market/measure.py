"""How good a market model is as it is served, beside what is simpler, and how much of what came its bands hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, Field

from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.evaluation.baselines import drift
from vinocast.evaluation.residuals import BANDS
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.market import CLOSE, Market
from vinocast.forecast.outcomes import Outcomes
from vinocast.progress import progress
from vinocast.training.market.candles import CONTEXT, HORIZON

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from vinocast.data.splits import Split
    from vinocast.engine.profiles import Profile
    from vinocast.forecast.manifest import ForecasterFolder
    from vinocast.training.market.candles import MarketData

# The volatility at this step is the deviation of the returns of all bars up to it, and of no earlier ones.
WHOLE = 20
EWMA = 0.94
# The levels at which bands end, ascending.
ENDS = sorted(level for band in BANDS for level in ((1 - band) / 2, (1 + band) / 2))
# Outcomes of each step that a stream keeps, the most there may be: of hourly bitcoin 1,000 hold 78.3 and 85.8 % of the
# validation part in bands of 80 and 90 %, and 720 hold 77.1 and 84.9. And how many windows apart bands are counted.
KEPT, BAND_STRIDE = 1000, 4


class Score(BaseModel):
    """Errors of one way to forecast, by output, in units of the training part's deviation.

    ``r2`` and ``qlike`` are of the volatility of the next 20 bars: the share of the variance of its logarithm that is
    explained, and the loss of the variance that is forecast.
    """

    forecaster: str
    mse: dict[str, float] = Field(default_factory=dict)
    mae: dict[str, float] = Field(default_factory=dict)
    r2: float | None = None
    qlike: float | None = None


class Bands(BaseModel):
    """What share of outcomes lay in bands of a nominal share, by that share in percent: in all, and by output."""

    kind: str
    every: dict[str, float]
    outputs: dict[str, dict[str, float]]


class Truth:
    """What came after the windows of a split, in units of the training part.

    Attributes:
        begins: int [n], the first target rows.
        series: float64 [rows, outputs], the outcomes of every row of the data.
        futures: float64 [n, horizon, outputs].
    """

    def __init__(self, market: Market, data: MarketData, split: Split) -> None:
        self.market = market
        self.begins = data.begins(split)
        self.series = scaled(market, market.outcomes(data.rows))
        self.futures = np.lib.stride_tricks.sliding_window_view(self.series, HORIZON, axis=0)[self.begins].transpose(
            0, 2, 1
        )

    def pasts(self) -> NDArray[np.float64]:
        """The outcomes [n, outputs, context] of the bars of each window."""
        return np.lib.stride_tricks.sliding_window_view(self.series, CONTEXT, axis=0)[self.begins - CONTEXT]

    def score(self, name: str, forecasts: NDArray[np.float64]) -> Score:
        """Return the errors of forecasts [n, horizon, outputs] in units of the training part."""
        squared, absolute = np.zeros(forecasts.shape[2]), np.zeros(forecasts.shape[2])
        for forecast, future in zip(forecasts, self.futures, strict=True):
            error = forecast - future
            squared += np.square(error).mean(axis=0)
            absolute += np.abs(error).mean(axis=0)
        names = self.market.channels
        count = len(forecasts)
        wild = self.market.places["log_volatility"]
        of = self.market.outputs["log_volatility"]
        r2, qlike = volatility_figures(
            of.undo(forecasts[:, WHOLE - 1, wild]), of.undo(self.futures[:, WHOLE - 1, wild])
        )
        return Score(
            forecaster=name,
            mse=dict(zip(names, (squared / count).tolist(), strict=True)),
            mae=dict(zip(names, (absolute / count).tolist(), strict=True)),
            r2=r2,
            qlike=qlike,
        )


def scaled(market: Market, values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return values [..., outputs] in units of the training part."""
    made = [market.outputs[name].apply(values[..., place]) for place, name in enumerate(market.outputs)]
    return np.stack(made, axis=-1)


def volatility_figures(forecast: NDArray[np.float64], actual: NDArray[np.float64]) -> tuple[float, float]:
    """Return R2 and QLIKE of logarithms of volatilities."""
    r2 = 1 - np.square(actual - forecast).sum() / np.square(actual - actual.mean()).sum()
    ratio = np.exp(2 * (actual - forecast))
    return float(r2), float((ratio - np.log(ratio) - 1).mean())


def load(folder: ForecasterFolder, profile: Profile) -> ForecastEngine:
    """Load a model as it is served."""
    engine = ForecastEngine(folder)
    engine.load(Compiler(profile, cpu_budget()))
    return engine


def ask(engine: ForecastEngine, data: MarketData, begins: NDArray[np.int64], what: str) -> NDArray[np.float32]:
    """Return what is served of the windows before some rows, float32 [n, horizon, outputs]."""
    outputs = range(len(engine.manifest.outputs.channels))
    made = np.empty((len(begins), HORIZON, len(outputs)), np.float32)
    with progress(len(begins), what) as bar:
        for index, begin in enumerate(begins.tolist()):
            made[index], _ = engine.forecast(data.rows[begin - CONTEXT : begin], outputs)
            bar.update(1)
    return made


def simpler(truth: Truth, data: MarketData) -> Iterator[Score]:
    """Yield the scores of what needs no training."""
    pasts = truth.pasts()
    last = np.repeat(pasts[:, None, :, -1], HORIZON, axis=1)
    yield truth.score("last value", last)
    yield truth.score("drift", drift(pasts, HORIZON).transpose(0, 2, 1))
    yield truth.score("mean of the window", np.repeat(pasts.mean(axis=2)[:, None], HORIZON, axis=1))
    close = data.rows[:, CLOSE].astype(np.float64)
    squares = np.concatenate(([0.0], np.square(np.diff(close) / close[:-1])))
    variance = np.empty(len(squares))
    level = squares[1:WHOLE].mean()
    for row, square in enumerate(squares.tolist()):
        level = EWMA * level + (1 - EWMA) * square
        variance[row] = level
    wild = truth.market.outputs["log_volatility"]
    actual = wild.undo(truth.futures[:, WHOLE - 1, truth.market.places["log_volatility"]])
    r2, qlike = volatility_figures(np.log(np.maximum(variance[truth.begins - 1], 1e-12)) / 2, actual)
    yield Score(forecaster=f"EWMA of squared returns, {EWMA}", r2=r2, qlike=qlike)


def by_series(folder: ForecasterFolder, truth: Truth, profile: Profile) -> Score:
    """Return the score of a forecaster of single series, which is asked for each output by itself."""
    engine = load(folder, profile)
    pasts = truth.pasts().astype(np.float32).transpose(0, 2, 1)
    columns = range(pasts.shape[2])
    made = np.empty((len(pasts), HORIZON, len(columns)))
    with progress(len(pasts), folder.path.name) as bar:
        for index, past in enumerate(pasts):
            made[index] = engine.forecast(np.ascontiguousarray(past), columns)[0]
            bar.update(1)
    return truth.score(f"{folder.path.name}, each output by itself", made)


def rolling(
    market: Market, data: MarketData, points: NDArray[np.float32], begins: NDArray[np.int64], since: int
) -> Bands:
    """Return how much the bands of a stream hold, which come from the outcomes that it has seen.

    A forecast is made at every bar, as a pushed one is; outcomes are kept from the first on, and bands are counted at
    every BAND_STRIDE-th forecast from row ``since`` on.

    Args:
        market: the section of the manifest.
        data: candles.
        points: float32 [n, horizon, outputs], what is served of the windows before ``begins``.
        begins: of one window after the other, a bar apart.
        since: a row.
    """
    came, columns = market.outcomes(data.rows), range(len(market.outputs))
    outcomes, none = Outcomes(KEPT, HORIZON, len(columns)), np.empty((0, len(columns)), np.float32)
    held, counted = np.zeros((len(BANDS), len(columns))), 0
    with progress(len(begins), "bands") as bar:
        for index, begin in enumerate(begins.tolist()):
            scales = market.scales(data.rows[begin - CONTEXT : begin])
            if begin >= since and (begin - since) % BAND_STRIDE == 0:
                made, enough = outcomes.quantiles(ENDS, HORIZON, columns)
                if enough.all():
                    held += _inside(points[index] + made * scales, came[begin : begin + HORIZON])
                    counted += 1
            outcomes.remember(begin, points[index], scales, columns, none)
            outcomes.observe(begin, came[begin : begin + 1])
            bar.update(1)
    kind = f"from the last {KEPT} outcomes of each step"
    return _bands(kind, market.channels, held / max(1, counted))


def fixed(engine: ForecastEngine, data: MarketData, points: NDArray[np.float32], begins: NDArray[np.int64]) -> Bands:
    """Return how much the bands of the model's own table hold, of every BAND_STRIDE-th forecast."""
    market = engine.manifest.market
    assert market is not None  # noqa: S101 - a market model
    came, columns = market.outcomes(data.rows), range(len(market.outputs))
    held, chosen = np.zeros((len(BANDS), len(columns))), range(0, len(begins), BAND_STRIDE)
    for index in chosen:
        begin = int(begins[index])
        scales = market.scales(data.rows[begin - CONTEXT : begin])
        held += _inside(engine.quantiles(ENDS, points[index], scales, columns), came[begin : begin + HORIZON])
    return _bands("from the model's table, of validation", market.channels, held / len(chosen))


def _inside(ends: NDArray[np.float32], actual: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the share of steps in each band, [bands, outputs], given the quantiles [ENDS, horizon, outputs]."""
    low, high = ends[: len(BANDS)][::-1], ends[len(BANDS) :]
    return np.asarray(((low <= actual) & (actual <= high)).mean(axis=1))


def _bands(kind: str, names: Sequence[str], held: NDArray[np.float64]) -> Bands:
    shares = [f"{100 * band:.0f}" for band in BANDS]
    return Bands(
        kind=kind,
        every=dict(zip(shares, held.mean(axis=1).tolist(), strict=True)),
        outputs={name: dict(zip(shares, held[:, place].tolist(), strict=True)) for place, name in enumerate(names)},
    )
