"""What a context that is too short is best filled up with: ``python -m benchmarks.padding --etth1 ETTh1.csv``.

Windows of data that the bundled model was not trained on are cut to their last points, filled up in several ways, and
forecast. The errors stand beside those of the full context and of the last value on the same points. Coverage is that
of the 90 % band for series that the model does not know: made with the deviation of the filled context, and with that
of the known points alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from vinocast.data.bundled import BUNDLED_FORECASTER, bundled_models
from vinocast.data.etth1 import read_etth1
from vinocast.data.series import bundled_series
from vinocast.data.windows import windows
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.tuned import find_profile
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.manifest import open_forecaster
from vinocast.forecast.quantiles import deviations
from vinocast.training.general.validation import families

Floats = NDArray[np.float32]
KNOWN = (32, 64, 128, 256, 384)
# Series of each data set.
MOST = 500


def by_constant(constant: Callable[[Floats], Floats]) -> Callable[[Floats, int], Floats]:
    """Fill up with one value."""
    return lambda known, count: np.repeat(constant(known), count, axis=1).astype(np.float32)


by_first = by_constant(lambda known: known[:, :1])
by_mean = by_constant(lambda known: known.mean(axis=1, keepdims=True))


def mirrored(known: Floats, count: int) -> Floats:
    """Fill up with the known points backwards, and forwards again, as often as it takes."""
    return np.pad(known, ((0, 0), (count, 0)), "reflect")[:, :count]


def turned(known: Floats, count: int) -> Floats:
    """Mirrored about the first point, so that a trend goes on."""
    return np.pad(known, ((0, 0), (count, 0)), "reflect", reflect_type="odd")[:, :count]


def tiled(known: Floats, count: int) -> Floats:
    """The first period of the known points again, where their autocorrelation finds one; else their mean."""
    points = known.shape[1]
    result = by_mean(known, count)
    for row, series in enumerate(known.astype(np.float64) - known.mean(axis=1, keepdims=True)):
        correlation = np.correlate(series, series, "full")[points - 1 :]
        if correlation[0] <= 0:
            continue
        lags = np.arange(2, points // 2 + 1)
        found = correlation[lags] / correlation[0] * points / (points - lags)
        # Behind the first lag that goes the other way; what is near to 0 is alike without a period.
        away = np.flatnonzero(found < 0)
        if not away.size or found[away[0] :].max() < 0.3:
            continue
        period = int(lags[away[0] + found[away[0] :].argmax()])
        result[row] = np.resize(known[row, :period][::-1], count)[::-1]
    return result


PADDINGS: dict[str, Callable[[Floats, int], Floats]] = {
    "first value": by_first,
    "mean": by_mean,
    "zeros": by_constant(lambda known: known[:, :1] * 0),
    "mirrored": mirrored,
    "turned": turned,
    "tiled": tiled,
}


def forecast(engine: ForecastEngine, pasts: Floats) -> Floats:
    """Return the forecasts [n, horizon] of contexts [n, context]."""
    together = engine.most_series
    parts = [pasts[start : start + together] for start in range(0, len(pasts), together)]
    return np.concatenate(
        [engine.forecast_together([(np.ascontiguousarray(part.T), range(len(part)))])[0][0].T for part in parts]
    )


def cut(rows: NDArray[np.floating], context: int, horizon: int) -> tuple[Floats, Floats]:
    """At most MOST series of windows of rows, at even distances."""
    count = len(rows) - context - horizon + 1
    stride = max(1, count * rows.shape[1] // MOST)
    pasts, futures = windows(rows.astype(np.float32), context, horizon, stride)
    return pasts.reshape(-1, context), futures.reshape(-1, horizon)


def data_sets(etth1: Path | None, candles: Path | None, context: int, horizon: int) -> dict[str, tuple[Floats, Floats]]:
    """Return pasts [n, context] and futures [n, horizon] by the name of the data set, in its own unit."""
    sets = {}
    if etth1 is not None:
        rows = np.loadtxt(etth1, delimiter=",", skiprows=1, usecols=range(1, 8))
        read_etth1(etth1)
        sets["ETTh1, validation"] = cut(rows[8640 - context : 11520], context, horizon)
    if candles is not None:
        volume = np.loadtxt(candles, delimiter=",", skiprows=2, usecols=7)[::-1]
        sets["hourly log volume"] = cut(np.log1p(volume)[:, None], context, horizon)
    host = np.loadtxt(bundled_series(), delimiter=",", skiprows=1)[:, 1:]
    sets["host counters"] = cut(host, context, horizon)
    made = families()
    sets["simulated"] = np.concatenate([each.past for each in made]), np.concatenate([each.future for each in made])
    return sets


@click.command()
@click.option("--etth1", type=click.Path(path_type=Path), help="ETTh1.csv.")
@click.option("--candles", type=click.Path(path_type=Path), help="BTCUSD_1h.csv.")
def main(etth1: Path | None, candles: Path | None) -> None:
    """Print a table for each data set: mean absolute errors relative to the full context, and coverages."""
    engine = ForecastEngine(open_forecaster(bundled_models() / BUNDLED_FORECASTER))
    engine.load(Compiler(find_profile("epyc-7763"), cpu_budget()))
    context, horizon = engine.manifest.context, engine.manifest.horizon
    totals: dict[tuple[str, int], list[float]] = {}
    for name, (pasts, futures) in data_sets(etth1, candles, context, horizon).items():
        unit = pasts.std(axis=1, keepdims=True, dtype=np.float64)
        moving = unit[:, 0] > 0
        past, future, unit = pasts[moving], futures[moving], unit[moving]

        def error(points: Floats, future: Floats = future, unit: NDArray[np.float64] = unit) -> float:
            return float((np.abs(points.astype(np.float64) - future) / unit).mean())

        full, naive = error(forecast(engine, past)), error(past[:, -1:])
        click.echo(f"\n{name}: {len(past)} series; error with all {context} points {full:.3f}, last value {naive:.3f}")
        click.echo("| known points | " + " | ".join(PADDINGS) + " |")
        click.echo("| --- |" + " --- |" * len(PADDINGS))
        for points in KNOWN:
            known = past[:, -points:]
            cells = []
            for padding, fill in PADDINGS.items():
                window = np.concatenate((fill(known, context - points), known), axis=1)
                forecasts = forecast(engine, window)
                covered = []
                for scales in (deviations(window), deviations(known)):
                    low, high = engine.quantiles([0.05, 0.95], forecasts.T, scales, None)
                    covered.append(100 * float(((low <= future.T) & (high >= future.T)).mean()))
                ratio = error(forecasts) / full
                totals.setdefault((padding, points), []).append(ratio)
                cells.append(f"{ratio:.2f} ({covered[0]:.0f}, {covered[1]:.0f})")
            click.echo(f"| {points} | " + " | ".join(cells) + " |")
    click.echo("\nGeometric mean of all")
    for points in KNOWN:
        means = [float(np.exp(np.log(totals[padding, points]).mean())) for padding in PADDINGS]
        click.echo(f"| {points} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")


if __name__ == "__main__":
    main()
