"""What ``vinocast forecast`` does once its options are read."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from vinocast import pictures
from vinocast.data.atomic import whole_file
from vinocast.data.tables.read import read_table
from vinocast.data.tables.table import TableOptions
from vinocast.errors import SetupError
from vinocast.evaluation.backtests import LEVELS
from vinocast.files import backtest, output, plot
from vinocast.files.forecasts import TableForecaster, Wishes, load_forecaster

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Literal

    from vinocast.data.tables.figures import Decimal
    from vinocast.data.tables.moment_parts import DayOrder
    from vinocast.data.tables.table import Duplicates, Table
    from vinocast.files.forecasts import ItemForecast
    from vinocast.files.output import Format

# Of the bands of a picture for which no quantiles are asked.
BANDS = (0.1, 0.25, 0.75, 0.9)


@dataclass(frozen=True)
class Asked:
    """The options of the command, by their names; see its help."""

    file: Path
    columns: tuple[str, ...] | None
    target: str | None
    time: str | None
    item: str | None
    prediction_length: int | None
    rollout: bool
    quantiles: tuple[float, ...] | None
    missing: Literal["refuse", "interpolate"]
    short: Literal["refuse", "pad"]
    dates: DayOrder | None
    decimal: Decimal | None
    duplicates: Duplicates
    output: Path | None
    form: Format | None
    plot: Path | None
    backtest: int | None
    season: int | None
    json: bool
    models: Path | None
    default_model: str | None
    profile: str
    strict_profile: bool
    max_missing_share: float


def run(asked: Asked) -> None:
    """Read the table, forecast it or look back, and write what came of it; raises SetupError."""
    form = _format(asked)
    _check_kept(asked)
    output.check_extra(form)
    if asked.plot is not None:
        pictures.check(asked.plot)
    columns = (asked.target,) if asked.target is not None else asked.columns or ()
    options = TableOptions(columns, asked.time, asked.item, asked.dates, asked.decimal, asked.duplicates)
    table = read_table(asked.file, options)
    for note in table.notes:
        _say(table, note)
    engine = load_forecaster(asked.models, asked.default_model, asked.profile, strict=asked.strict_profile)
    levels = asked.quantiles or ()
    if not levels and engine.has_quantiles and (asked.prediction_length or 0) <= engine.manifest.horizon:
        levels = LEVELS if asked.backtest else BANDS if asked.plot else ()
    wishes = Wishes(asked.prediction_length, levels, asked.missing, asked.max_missing_share, asked.short, asked.rollout)
    forecaster = TableForecaster(engine, table, wishes)
    if asked.backtest is not None:
        scored = backtest.run(forecaster, asked.backtest, asked.season, levels or LEVELS, pad=asked.short == "pad")
        click.echo(backtest.to_json(scored) if asked.json else str(scored), nl=not asked.json)
        return
    output.check(form, table, asked.quantiles or (), forecaster.steps)
    forecasts = list(forecaster.forecast([(item, len(item.lines)) for item in table.items]))
    _say_what_was_made_up(table, forecasts)
    count = f"{forecaster.steps} step{'s' * (forecaster.steps != 1)}"
    title = f"{count} of {table.step} by model {forecaster.name}"
    _say(table, f"{title}, for {len(table.items) * len(table.columns)} series")
    if asked.plot is not None:
        _draw(asked.plot, title, table, levels, forecasts)
    if levels != (asked.quantiles or ()):  # those that only the picture has
        forecasts = [replace(forecast, quantiles=forecast.quantiles[:0]) for forecast in forecasts]
    data = output.encode(form, forecaster.name, table, asked.quantiles or (), forecasts)
    if _is_stdout(asked.output):
        click.echo(data, nl=False)
    elif asked.output is not None:
        with whole_file(asked.output) as part:
            part.write_bytes(data)


def _say(table: Table, text: str) -> None:
    click.echo(f"{table.source}: {text}", err=True)


def _say_what_was_made_up(table: Table, forecasts: Sequence[ItemForecast]) -> None:
    filled = sum(forecast.window.filled for forecast in forecasts)
    short = [forecast.window.padded for forecast in forecasts if forecast.window.padded]
    if filled:
        _say(table, f"{filled} values interpolated among the steps that are read")
    if short:
        which = "shorter than" if table.item is None else f"{len(short)} of {len(forecasts)} series are shorter than"
        _say(table, f"{which} the model reads: {sum(short)} steps of their mean put before them")


def _draw(path: Path, title: str, table: Table, levels: Sequence[float], forecasts: Sequence[ItemForecast]) -> None:
    drawn = plot.panels(table, levels, forecasts)
    with whole_file(path) as part:
        part.write_bytes(pictures.to_file(path, f"{table.source}: {title}", drawn))
    if (rest := len(table.items) * len(table.columns) - len(drawn)) > 0:
        _say(table, f"{path} has the first {len(drawn)} series; {rest} are not drawn")


def _is_stdout(path: Path | None) -> bool:
    return path is None or str(path) == "-"


def _check_kept(asked: Asked) -> None:
    """Raise SetupError where what comes of a file would be written over something that is read, or that is written."""
    written = {"--output": asked.output, "--plot": asked.plot}
    taken = {} if str(asked.file) == "-" else {asked.file.resolve(): "FILE"}
    for option, path in written.items():
        if path is None or str(path) == "-":
            continue
        if (other := taken.setdefault(path.resolve(), option)) != option:
            raise SetupError(f"{option} {path} is {other} itself: name another file")


def _format(asked: Asked) -> Format:
    if asked.form is not None:
        form = asked.form
    elif asked.output is None or _is_stdout(asked.output):
        form = "csv"
    elif (suffix := asked.output.suffix.lower()) in output.FORMATS:
        form = output.FORMATS[suffix]
    else:
        raise SetupError(
            f"--output {asked.output}: expected a name that ends with {', '.join(output.FORMATS)}, or --format"
        )
    if form == "parquet" and _is_stdout(asked.output) and sys.stdout.isatty():
        raise SetupError("--format parquet is no text for a terminal: name a file with --output")
    return form
