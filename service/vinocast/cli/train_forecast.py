"""``vinocast train forecast``."""

from __future__ import annotations

import logging
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from vinocast.cli.dataset import check_division, dataset_options, read_data
from vinocast.cli.options import Command, settings_options, threads_option
from vinocast.engine.bounds import MOST_STEPS
from vinocast.engine.tuned import find_profile
from vinocast.extras import missing_extra
from vinocast.training.recipe import FINE_TUNING, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# What measures the model that was trained: its figures are those of every profile in f32, to the sixth digit.
PROFILE = "native"
# What a market model takes.
DIVIDING = ("validation_share", "test_share", "validation_from", "test_from")
OF_MARKETS = {"data", "output", "features", "threads", *DIVIDING}
STEPS = click.IntRange(1, MOST_STEPS)
CHANGED = ", ".join(
    f"{field.name.replace('_', '-')} {getattr(FINE_TUNING, field.name)}"
    for field in fields(Recipe)
    if getattr(FINE_TUNING, field.name) != field.default
)


@click.command(cls=Command, group="train_", epilog=f"With --init, unless they are given: {CHANGED}.")
@dataset_options
@click.option("--output", type=click.Path(path_type=Path), required=True, metavar="DIR/NAME", help="Folder to write.")
@click.option(
    "--init",
    metavar="MODEL",
    help="Begin with the weights of a forecaster, in its architecture: the name of a bundled model, a model's folder "
    "that keeps its source, a Hugging Face folder or hub id.  [default: from scratch, in Granite's architecture]",
)
@click.option("--context-length", type=STEPS, show_default="512", help="Rows of a window, from scratch.")
@click.option("--prediction-length", type=STEPS, show_default="96", help="Rows of a forecast, from scratch.")
@threads_option()
@click.option(
    "--teacher-model",
    type=click.Path(path_type=Path),
    metavar="DIR",
    multiple=True,
    help="Folder of an earlier run, whose forecasts --teacher averages with a ridge regression's; may be repeated.",
)
@click.option(
    "--features",
    type=click.Choice(["columns", "market"]),
    default="columns",
    show_default=True,
    help="What a row is: the columns of the table, or a candle of one product, from which a model of its ranges, "
    "volumes and volatility is fitted in a minute.",
)
@settings_options(Recipe)
@click.pass_context
def forecast(
    context: click.Context,
    /,
    output: Path,
    features: str,
    init: str | None,
    context_length: int | None,
    prediction_length: int | None,
    threads: int,
    teacher_model: tuple[Path, ...],
    **options: Any,
) -> None:
    """Train a forecaster of single series on a table of them, from scratch or from another's weights.

    It trains on the oldest rows, chooses the best step and calibrates by those that follow, and is measured on the
    newest, which decide nothing. Writes a model's folder that 'vinocast serve --models' takes, with a card, README.md,
    that compares it with the last value, the seasonal naive, a ridge regression and the model it began with, and says
    where it loses; and training.json, which says how it was made. After an interruption the same command goes on from
    the last checkpoint.

    With --features market the file is of candles (open, high, low, close, volume), and the model one of market streams:
    of how far prices range, how much is traded and how wildly prices move, with bands for the prices. It takes --data,
    --output and the options that divide the rows by time.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    if features == "market":
        _train_market(context, output, options)
        return
    if init is not None and (context_length or prediction_length):
        raise click.UsageError("--init brings its own lengths: leave out --context-length and --prediction-length")
    from vinocast.data.bundled import bundled_models

    try:
        from vinocast.training.card import losses
        from vinocast.training.forecast import train_forecaster
        from vinocast.training.package import check_packable, package
        from vinocast.training.start import from_scratch, read_start
    except ModuleNotFoundError as error:
        raise missing_extra("train", error) from error

    told = {
        field.name: value
        for field in fields(Recipe)
        if (value := options.pop(field.name)) is not None
        and context.get_parameter_source(field.name) is not ParameterSource.DEFAULT
    }
    lengths = {"context": context_length, "horizon": prediction_length}
    start = (
        from_scratch(**{name: length for name, length in lengths.items() if length is not None})
        if init is None
        else read_start(init, bundled_models())
    )
    recipe = replace(Recipe() if init is None else FINE_TUNING, **told)
    data = read_data(start.context, **options)
    check_packable(output, data, start)
    record = train_forecaster(data, output, recipe, threads, teacher_model, start)
    validation = record["validation"]
    click.echo(
        f"{output}: step {record['best']['step']} of {record['steps']}, "
        f"validation MSE {validation['mse']:.4f}, MAE {validation['mae']:.4f} over {validation['windows']} windows"
    )
    test = package(output, data, recipe, start, record, find_profile(PROFILE))
    click.echo("\n".join(_summary(test.scores, len(losses(test.scores)), output)))


def _train_market(context: click.Context, output: Path, options: dict[str, Any]) -> None:
    for name in context.params:
        if name not in OF_MARKETS and context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--features market is fitted in one way: leave out --{name.replace('_', '-')}")
    divided = {name: options[name] for name in DIVIDING}
    check_division(divided)
    try:
        from vinocast.training.market.candles import read_market
        from vinocast.training.market.package import train_market
    except ModuleNotFoundError as error:
        raise missing_extra("train", error) from error

    data = read_market(options["data"], **divided)
    for note in data.notes:
        click.echo(f"{data.name}: {note}", err=True)
    record = train_market(data, output, find_profile(PROFILE))
    for score in record["test"]:
        figures = ", ".join(f"{name} {value:.4f}" for name, value in score["mse"].items() if name.startswith("log"))
        wild = f"volatility of the next 20 bars R2 {score['r2']:.3f}, QLIKE {score['qlike']:.3f}"
        click.echo(f"{score['forecaster']}: {f'MSE {figures}; ' if figures else ''}{wild}")
    click.echo(f"{output / 'README.md'} compares them, and says where this model loses")


def _summary(scores: Sequence[Any], lost: int, output: Path) -> Iterator[str]:
    for index, each in enumerate(scores):
        name = "on the test rows" if index == 0 else each.forecaster
        yield f"{name}: MSE {each.mse:.4f}, MAE {each.mae:.4f}"
    yield f"{output / 'README.md'} compares them; in {lost} of its figures another is better"
