"""``vinocast evaluate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vinocast.cli.dataset import COUNT, dataset_options, read_data
from vinocast.cli.options import Command, settings_options
from vinocast.engine.tuned import find_profile
from vinocast.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vinocast.data.splits import Split
    from vinocast.evaluation.accuracy import Accuracy


@click.command(cls=Command)
@click.argument("model")
@dataset_options
@click.option("--split", type=click.Choice(["test", "validation"]), default="test", help="Windows to forecast.")
@click.option("--stride", type=COUNT, default=1, help="Forecast every so many-th window of them.")
@settings_options(Settings, "profile")
@click.option("--json", is_flag=True, help="Print one JSON object instead of tables.")
def evaluate(model: str, split: Split, stride: int, profile: str, json: bool, **options: Any) -> None:
    """Measure the accuracy of MODEL on a table of series, beside forecasts that need no model.

    MODEL is a model's folder or the name of a bundled model. The model is asked in the unit of the file, as 'vinocast
    forecast' asks it; errors are in deviations of the training rows of each column, so that columns can be compared and
    the figures of several models too. MASE is in units of what repeating the last season errs by in the training rows.
    Weighted quantile loss and coverage are those of a model that has quantiles. A model whose channels share one net
    takes any columns.
    """
    from vinocast.data.bundled import bundled_models
    from vinocast.evaluation.accuracy import evaluate
    from vinocast.forecast.manifest import find_forecaster

    folder = find_forecaster(model, bundled_models())
    data = read_data(folder.manifest.context, **options)
    accuracy = evaluate(folder, data, split, find_profile(profile), stride)
    if json:
        click.echo(accuracy.model_dump_json())
    else:
        click.echo("\n".join(_tables(accuracy)))


def _tables(accuracy: Accuracy) -> Iterator[str]:
    width = max(8, len(accuracy.dataset)) + 2
    yield f"{'dataset':{width}}{'split':12}{'windows':>8}{'MSE':>10}{'MAE':>10}"
    yield (
        f"{accuracy.dataset:{width}}{accuracy.split:12}{accuracy.windows:>8}{accuracy.mse:>10.5f}{accuracy.mae:>10.5f}"
    )
    own, *others = accuracy.scores
    width = max(len(each.forecaster) for each in accuracy.scores) + 2
    yield f"\n{'':{width}}{'MSE':>10}{'MAE':>10}{'MASE':>10}"
    for each in (own, *others):
        yield f"{each.forecaster:{width}}{each.mse:>10.5f}{each.mae:>10.5f}{_number(each.mase)}"
    titles = "".join(f"{'in ' + interval:>10}" for interval in own.coverage or {})
    if len(own.columns) > 1 or titles:
        width = max(len(name) for name in ("column", "all of them", *own.columns)) + 2
        losses = f"{'WQL':>10}{titles}" if titles else ""
        yield f"\n{'column':{width}}{'MSE':>10}{'MAE':>10}{'MASE':>10}{losses}"
        for name, figures in {**own.columns, "all of them": own}.items():
            shares = "".join(f"{share:>10.1%}" for share in (figures.coverage or {}).values())
            loss = _number(figures.wql) if titles else ""
            yield f"{name:{width}}{figures.mse:>10.5f}{figures.mae:>10.5f}{_number(figures.mase)}{loss}{shares}"
    yield f"\n{accuracy.protocol}. Season: {accuracy.season} rows."


def _number(value: float | None) -> str:
    return f"{'':>10}" if value is None else f"{value:>10.5f}"
