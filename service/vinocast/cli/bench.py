"""``vinocast bench``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from vinocast.cli.options import Command, check_writable, settings_options
from vinocast.extras import missing_extra
from vinocast.settings import FiniteRange, Settings


@click.command(cls=Command)
@settings_options(Settings)
@click.option(
    "--stock",
    type=click.Path(exists=True, path_type=Path),
    metavar="IR",
    help="An IR to measure beside the model's own, or a folder with one: the stock graph of "
    "its source, as docs/performance.md exports it.",
)
@click.option(
    "--seconds",
    type=FiniteRange(0, 60, min_open=True),
    default=2.0,
    help="Time for each of about 65 loads; p99.9 wants more than the default.",
)
@click.option(
    "--rate",
    type=FiniteRange(0, 10000, min_open=True),
    multiple=True,
    default=(100.0, 300.0),
    help="Arrivals per second of an open loop; may be given more than once.",
)
@click.option("--quick", is_flag=True, help="A run of some 20 s, whatever --seconds says: a look, no measurement.")
@click.option(
    "--json",
    type=click.Path(allow_dash=True, dir_okay=False),
    metavar="FILE|-",
    help="Write the report as JSON; with - to standard output, in place of the table.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a page with charts; needs the extra 'bench'.",
)
def bench(
    stock: Path | None,
    seconds: float,
    rate: tuple[float, ...],
    quick: bool,
    json: str | None,
    plot: Path | None,
    **options: Any,
) -> None:
    """Measure the service as its clients see it, beside the model alone and the floor of its arithmetic.

    Starts the service over both transports with the same options, and takes two to three minutes in which the machine
    should do nothing else. docs/performance.md says what each figure means.
    """
    from vinocast.measure.bench.benchmark import QUICK, Plan, run
    from vinocast.measure.bench.report import to_json, to_text

    if plot is not None:
        try:
            from vinocast.measure.bench import (
                plot as charts,  # before the measurement, which would be lost without the extra
            )
        except ModuleNotFoundError as error:
            raise missing_extra("bench", error) from error
    check_writable("--json", Path(json) if json and json != "-" else None)
    check_writable("--plot", plot)
    plan = dataclasses.replace(QUICK, rates=rate) if quick else Plan(seconds=seconds, rates=rate)
    results = run(Settings(**options), stock, plan)
    if json != "-":
        click.echo(to_text(results))
    if json is not None:
        with click.open_file(json, "wb") as file:
            file.write(to_json(results))
    if plot is not None:
        plot.write_text(charts.to_html(results))
