"""Print how well the general model forecasts series that it has never seen; see ``--help``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from vinocast.data.bundled import bundled_models
from vinocast.forecast.manifest import find_forecaster

from benchmarks.zeroshot import tables
from benchmarks.zeroshot.bars import bars, time_bars
from benchmarks.zeroshot.figures import measure, measure_times
from benchmarks.zeroshot.methods import Served, others
from benchmarks.zeroshot.sets import find_sets


@click.command(context_settings={"show_default": True})
@click.option(
    "--data",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with ETTh1.csv, ETTh2.csv, ETTm1.csv, BTCUSD_1h.csv, or some of them; may be given several times.",
)
@click.option("--model", default="vinocast-general", help="The model: a folder, or a bundled model's name.")
@click.option("--beside", default="patchtst-etth1", help="A served model to compare it with.")
@click.option("--windows", type=click.IntRange(1), default=60, help="Windows of each column at most.")
@click.option("--turns", type=click.IntRange(1), default=20, help="Turns of two calls whose time is taken.")
@click.option("--times", "times_alone", is_flag=True, help="Take the times of the two models, and do nothing else.")
def main(data: tuple[Path, ...], model: str, beside: str, windows: int, turns: int, times_alone: bool) -> None:
    """Measure a model, zero-shot, on every data set that is found.

    Windows of 512 points and the 96 that follow, at even distances over the test part of each set. Errors are in units
    of the training part's deviations; MAE and weighted quantile loss (levels 0.1 to 0.9) are printed as parts of those
    of the seasonal naive and of the quantiles of its own residuals, with their geometric means. Prints Markdown, and
    exits with 1 where something does not hold that is to: the last table.
    """
    folders = [find_forecaster(name, bundled_models()) for name in (model, beside)]
    own, served = map(Served, folders)
    if times_alone:
        times = measure_times([own, served], turns)
        to_hold = list(time_bars(own.name, served.name, times))
        click.echo(tables.times_to_markdown(times, to_hold))
        sys.exit(not all(bar.holds for bar in to_hold))
    sets, missing = find_sets(data)
    rest, absent = others()
    compared = [served, *rest]
    for line in [*missing, *absent]:
        click.echo(f"left out: {line}", err=True)
    measured = []
    for found in sets:
        click.echo(found.data.name, err=True)
        measured.append(measure(found, own, compared, windows))
    times = measure_times([own, *compared], turns)
    to_hold = list(bars(measured, own.name, served.name, times))
    click.echo(tables.to_markdown(measured, own.name, times, to_hold))
    sys.exit(not all(bar.holds for bar in to_hold))


if __name__ == "__main__":
    main()
