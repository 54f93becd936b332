"""``vinocast calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vinocast.cli.options import Command, settings_options
from vinocast.engine.tuned import find_profile
from vinocast.settings import Settings

if TYPE_CHECKING:
    from vinocast.evaluation.calibration import Part
    from vinocast.forecast.manifest import Calibration

TABLES: dict[Part, str] = {"channels": "the table by channel", "others": "the table for any other series"}


@click.command(cls=Command)
@click.argument("model")
@click.option(
    "--data",
    type=click.Path(path_type=Path, allow_dash=True),
    required=True,
    metavar="FILE.csv",
    help="Past values like those to be forecast, which the model has not learned from: CSV or Parquet, wide or long.",
)
@click.option("--columns", metavar="A,B,…", help="Columns to forecast.  [default: all that hold numbers]")
@click.option(
    "--only",
    type=click.Choice(["channels", "others"]),
    help="Make one of the two tables.  [default: both, or the one for others where the columns are not the channels]",
)
@click.option(
    "--decay",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.999,
    help="What each step of age leaves of the weight of what was seen; 1 counts old and new alike.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR/NAME",
    help="Write a copy of the model instead of changing it; a bundled one is always copied.",
)
@settings_options(Settings, "profile")
def calibrate(
    model: str, data: Path, columns: str | None, only: Part | None, decay: float, output: Path | None, profile: str
) -> None:
    """Measure how sure the forecasts of MODEL are, a model's folder or the name of a bundled model.

    The model forecasts the past of FILE.csv, and what it was wrong by becomes a table of quantiles in its folder, by
    which it answers quantile_levels: by channel, where the columns have the names of the model's channels, and for any
    other series. The quantiles of a model that has some of its own are moved to where they cover that past. Says how
    well such a table covers values that it was not made of.
    """
    from vinocast.data.bundled import BUNDLED, bundled_models
    from vinocast.data.tables.read import read_table
    from vinocast.data.tables.table import TableOptions
    from vinocast.evaluation.calibration import calibrate
    from vinocast.evaluation.residuals import Values
    from vinocast.forecast.manifest import find_forecaster

    folder = find_forecaster(model, bundled_models())
    if output is None and folder.path.resolve().parent == bundled_models() and folder.path.name in BUNDLED:
        raise click.UsageError(f"{folder.path.name} came with Vinocast: name a folder for a copy, --output DIR/NAME")
    table = read_table(data, TableOptions(columns=tuple(columns.split(",")) if columns else ()))
    for note in table.notes:
        click.echo(note, err=True)
    values = Values(table.source, table.sha256, table.columns, [item.values for item in table.items])
    done = calibrate(folder, values, find_profile(profile), decay=decay, only=only, output=output)
    for part, made in done.made.items():
        click.echo(f"{TABLES[part]}: {_covers(made)}")
    click.echo(
        f"{done.path}: serve it with --models {done.path.parent}"
        if done.changed
        else f"{done.path} has been calibrated with this file and these options already: nothing to do",
        err=True,
    )


def _covers(made: Calibration) -> str:
    """Return how well a table covers what was held back."""
    held = made.held_back
    if not held:
        return "too few values to hold some back, so how well it covers is not known"

    def shares(name: str) -> str:
        narrow, middle, wide = (f"{100 * held[f'{name}_{band}']:.1f}" for band in (50, 80, 90))
        return f"{narrow}, {middle} and {wide} %"

    covers = f"of {held['forecasts']:.0f} forecasts held back, bands of 50, 80 and 90 % cover {shares('coverage')}"
    if "before_50" in held:
        return f"{covers}; by the model's own quantiles {shares('before')}"
    return (
        f"{covers}; quantile loss {held['quantile_loss']:.3f} deviations of the context, "
        f"{held['point_loss']:.3f} without"
    )
