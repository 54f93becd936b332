"""The card of a market model, in Markdown: what it is, how it came about, how it compares, and where it loses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vinocast.data.splits import SPLITS
from vinocast.training.market.candles import CONTEXT, HORIZON
from vinocast.training.market.features import LOGS
from vinocast.training.market.measure import KEPT, Bands, Score

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vinocast.forecast.manifest import ForecasterManifest
    from vinocast.training.market.candles import MarketData


def write_card(manifest: ForecasterManifest, data: MarketData, record: dict[str, Any]) -> str:
    """Return the text of a card; ``record`` is what training.json holds."""
    return "\n".join(_lines(manifest, data, record)) + "\n"


def _lines(manifest: ForecasterManifest, data: MarketData, record: dict[str, Any]) -> Iterator[str]:
    market = manifest.market
    assert market is not None  # noqa: S101 - a market model
    scores = [Score.model_validate(each) for each in record["test"]]
    yield f"# {manifest.name}"
    yield ""
    yield (
        f"A model of a market's bars of {market.bar}: from the seven channels of {CONTEXT} closed bars, as a market "
        f"stream has them, to {HORIZON} bars ahead. It answers, in this order:"
    )
    yield from ("", "| output | what it is |", "| --- | --- |")
    yield "| `close`, `high`, `low` | their last values, as nothing here forecasts a price better, for the bands |"
    yield "| `log_range` | of each bar, the logarithm of (high - low) / low |"
    yield "| `log_volume` | of each bar, log(1 + volume), volume in coins |"
    yield (
        "| `log_volatility` | the logarithm of the deviation of the 20 logarithmic returns up to that bar; at step 20 "
        "it is of the next 20 bars alone |"
    )
    yield ""
    yield (
        f"A range below {market.floors['log_range']:g} and a volatility below {market.floors['log_volatility']:g} are "
        "taken to be that. Whatever the unit of prices, the forecast is the same; volumes are those of the product it "
        "was trained on."
    )
    yield from ("", "## How it works", "")
    yield (
        "It is linear in logarithms: of the range and the volume of each bar, and of the root mean square of the "
        f"newest returns, of 2 to {CONTEXT - 1} of them. A ridge regression of each output and step, for changes "
        "against the window's own level, trusts levels over many bars more than single bars; how much more, and the "
        "penalty, validation has chosen:"
    )
    yield from ("", "| output | weight of single bars | penalty | MSE on validation |", "| --- | ---: | ---: | ---: |")
    for choice in record["choices"]:
        yield f"| `{choice['output']}` | {choice['bar_weight']:g} | {choice['penalty']:.2g} | {choice['mse']:.4f} |"
    yield from ("", "## Data", "", "| | |", "| --- | --- |")
    yield f"| file | {data.name}, sha256 `{data.sha256}` |"
    for split in SPLITS:
        first, last = data.span(split)
        yield f"| {split} | {first} to {last}, {len(data.begins(split))} windows |"
    yield ""
    yield "Means, deviations and weights come from the training bars alone; the test bars decide nothing. Of the file:"
    yield ""
    yield from (f"- {note}" for note in data.notes)
    yield from ("", "```", str(record["command"]), "```")
    yield from ("", "## On the test bars", "")
    yield (
        f"MSE over {len(data.begins('test'))} windows and {HORIZON} steps, in units of the training bars' deviation. "
        "R2 and QLIKE are of the volatility of the next 20 bars: of its logarithm, and of the variance that it says."
    )
    yield from ("", *_table(scores, "mse"), "", "MAE:", "", *_table(scores, "mae", figures=False))
    yield from ("", "## Bands", "")
    yield from _bands([Bands.model_validate(each) for each in record["bands"]])
    yield from ("", "## Where it loses", "")
    yield from _losses(scores)


def _table(scores: Sequence[Score], figure: str, *, figures: bool = True) -> Iterator[str]:
    names = list(scores[0].mse)
    more = ["R2", "QLIKE"] if figures else []
    yield f"| | {' | '.join([*(f'`{name}`' for name in names), *more])} |"
    yield f"| --- |{' ---: |' * (len(names) + len(more))}"
    for index, score in enumerate(scores):
        values = getattr(score, figure)
        if not values and not figures:
            continue
        cells = [f"{values[name]:.4f}" if name in values else "" for name in names]
        cells += [f"{value:.3f}" if value is not None else "" for value in (score.r2, score.qlike) if figures]
        yield f"| {f'**{score.forecaster}**' if index == 0 else score.forecaster} | {' | '.join(cells)} |"


def _bands(bands: Sequence[Bands]) -> Iterator[str]:
    yield (
        "What share of outcomes on the test bars lay in bands of 50, 80 and 90 %, at every fourth window. A stream "
        f"with `--stream-residuals {KEPT}` has bands from its own outcomes, once there are 100 of a step. Before that, "
        "and without it, they are from the model's table, which is of the validation bars and knows of no other time."
    )
    shares = list(bands[0].every)
    yield from (
        "",
        f"| | | {' | '.join(f'{share} %' for share in shares)} |",
        f"| --- | --- |{' ---: |' * len(shares)}",
    )
    for band in bands:
        yield f"| {band.kind} | all | {' | '.join(f'{100 * band.every[share]:.1f}' for share in shares)} |"
        for name, held in band.outputs.items():
            yield f"| | `{name}` | {' | '.join(f'{100 * held[share]:.1f}' for share in shares)} |"


def _losses(scores: Sequence[Score]) -> Iterator[str]:
    own, *others = scores
    found = [
        (name, figure.upper(), other.forecaster, getattr(other, figure)[name], getattr(own, figure)[name])
        for figure in ("mse", "mae")
        for name in own.mse
        for other in others
        if name in other.mse and getattr(other, figure)[name] < getattr(own, figure)[name]
    ]
    for name, figure, forecaster, theirs, ours in found:
        yield f"- In `{name}`, {forecaster} has a lower {figure}: {theirs:.4f}, this {ours:.4f}."
    for other in others:
        if other.r2 is not None and own.r2 is not None and other.r2 > own.r2:
            yield f"- {other.forecaster} explains more of the volatility of the next 20 bars: {other.r2:.3f}."
        if other.qlike is not None and own.qlike is not None and other.qlike < own.qlike:
            yield f"- {other.forecaster} has a lower QLIKE: {other.qlike:.3f}, this {own.qlike:.3f}."
    if not found:
        yield "- Nowhere in MSE or MAE on these bars."
    logs = ", ".join(f"`{name}`" for name in LOGS)
    yield (
        f"- It forecasts no direction: its prices are the last ones. {logs} of another market, another product "
        "or another length of bars are not what it has learned; a stream of another length is answered with a warning."
    )
