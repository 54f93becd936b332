"""``vinocast evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vinocast.cli.options import Command, settings_options
from vinocast.engine.tuned import find_profile
from vinocast.settings import Settings

if TYPE_CHECKING:
    from vinocast.data.splits import Split


@click.command(cls=Command)
@click.argument("model")
@click.option("--data", type=click.Path(path_type=Path), required=True, metavar="ETTh1.csv", help="The data set.")
@click.option("--split", type=click.Choice(["test", "validation"]), default="test", help="Windows to forecast.")
@settings_options(Settings, "profile")
@click.option("--json", is_flag=True, help="Print one JSON object instead of a table.")
def evaluate(model: str, data: Path, split: Split, profile: str, json: bool) -> None:
    """Measure the accuracy on ETTh1 of MODEL, a model's folder or the name of a bundled model.

    Any file of ETTh1's columns and rows is taken; one that is not the published file is called by its own name.
    """
    from vinocast.data.bundled import bundled_models
    from vinocast.data.etth1 import read_etth1
    from vinocast.evaluation.accuracy import evaluate
    from vinocast.forecast.manifest import find_forecaster

    metric = evaluate(find_forecaster(model, bundled_models()), read_etth1(data), split, find_profile(profile))
    if json:
        click.echo(metric.model_dump_json())
    else:
        width = max(8, len(metric.dataset)) + 2
        click.echo(f"{'dataset':{width}}{'split':12}{'windows':>8}{'MSE':>10}{'MAE':>10}")
        click.echo(
            f"{metric.dataset:{width}}{metric.split:12}{metric.windows:>8}{metric.mse:>10.5f}{metric.mae:>10.5f}"
        )
