"""``vinocast train forecast``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click

from vinocast.cli.options import Command, settings_options, threads_option
from vinocast.extras import missing_extra
from vinocast.training.recipe import Recipe


@click.command(cls=Command, group="train_")
@click.option("--data", type=click.Path(path_type=Path), required=True, metavar="ETTh1.csv", help="The data set.")
@click.option("--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder to write.")
@threads_option()
@click.option(
    "--teacher-model",
    type=click.Path(path_type=Path),
    metavar="DIR",
    multiple=True,
    help="Folder of an earlier run, whose forecasts --teacher averages with a ridge regression's; may be repeated.",
)
@settings_options(Recipe)
def forecast(data: Path, output: Path, threads: int, teacher_model: tuple[Path, ...], **recipe: Any) -> None:
    """Train a forecaster of Granite's architecture on ETTh1's train rows.

    Writes a Hugging Face folder for 'vinocast convert', with a training.json that says how it was made. After an
    interruption the same command goes on from the last checkpoint.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    from vinocast.data.etth1 import read_etth1

    try:
        from vinocast.training.forecast import train_forecaster
    except ModuleNotFoundError as error:
        raise missing_extra("train", error) from error

    record = train_forecaster(read_etth1(data), output, Recipe(**recipe), threads, teacher_model)
    validation = record["validation"]
    click.echo(
        f"{output}: step {record['best']['step']} of {record['steps']}, "
        f"validation MSE {validation['mse']:.4f}, MAE {validation['mae']:.4f} over {validation['windows']} windows"
    )
