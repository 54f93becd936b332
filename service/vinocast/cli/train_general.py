"""``vinocast train general``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click

from vinocast.cli.options import Command, settings_options, threads_option
from vinocast.cli.variables import variable
from vinocast.extras import missing_extra
from vinocast.settings import FiniteRange
from vinocast.training.general.recipe import GeneralRecipe


@click.command(cls=Command, group="train_")
@click.option("--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder to write.")
@click.option(
    "--from",
    "start",
    type=click.Path(path_type=Path),
    metavar="FILE",
    envvar=variable("train_general", "from"),
    help="Begin with these weights and at their step, as an earlier part's weights.safetensors holds them.",
)
@click.option("--hours", type=FiniteRange(0, min_open=True), help="Stop after this time; the same command goes on.")
@threads_option()
@settings_options(GeneralRecipe)
def general(output: Path, start: Path | None, hours: float | None, threads: int, **recipe: Any) -> None:
    """Train the forecaster of series that it has never seen, on synthetic series alone.

    Writes weights.safetensors, curve.json and a checkpoint every few minutes. SIGTERM ends it with a checkpoint, and
    the same command goes on from there.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        from vinocast.training.general.run import train_general
    except ModuleNotFoundError as error:
        raise missing_extra("train", error) from error

    record = train_general(output, GeneralRecipe(**recipe), threads, start, hours)
    last = record["history"][-1] if record["history"] else None
    figures = f", validation WQL {last['wql']:.4f}, MAE {last['mae']:.4f} of the seasonal naive's MAE" if last else ""
    click.echo(f"{output}: step {record['step']} of {record['recipe']['steps']}{figures}")
