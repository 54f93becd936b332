"""From weights that were trained here to a model that is served: converted, calibrated, measured, with a card."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from vinocast.engine.bounds import MOST_CHANNELS, MOST_WINDOW_VALUES
from vinocast.engine.folders import MANIFEST_FILE
from vinocast.engine.manifest import write_manifest
from vinocast.errors import SetupError, shown
from vinocast.evaluation.accuracy import Accuracy, cut, evaluate, score, settle
from vinocast.evaluation.calibration import Part, calibrate
from vinocast.evaluation.residuals import Values
from vinocast.export.convert import convert_forecaster
from vinocast.export.folder import replace_folder, workspace
from vinocast.forecast.manifest import open_forecaster
from vinocast.training.card import CARD_FILE, write_card
from vinocast.training.forecast import RECORD_FILE, split_windows
from vinocast.training.regress import forecast_windows
from vinocast.training.teacher import fit_best_ridge, forecast_by

if TYPE_CHECKING:
    from pathlib import Path

    from vinocast.data.splits import Dataset
    from vinocast.engine.profiles import Profile
    from vinocast.evaluation.accuracy import Scores
    from vinocast.training.recipe import Recipe
    from vinocast.training.start import Start

RIDGE = "ridge, one regression a column and step"


def check_packable(output: Path, data: Dataset, start: Start) -> None:
    """Refuse, before any training, what could not become a model's folder; raises SetupError that names the mend."""
    steps, channels = max(start.context, start.horizon), len(data.columns)
    if channels > MOST_CHANNELS or steps * channels > MOST_WINDOW_VALUES:
        raise SetupError(
            f"{data.name}: {channels} columns of {steps} rows are beyond what is served: name fewer with --columns"
        )
    if strange := [column for column in data.columns if not column.isprintable()]:
        raise SetupError(f"{data.name}: a column's name must be printable, got {strange[0]!a}: rename it")
    if not output.resolve().name.isprintable():
        raise SetupError(
            f"{shown(output)}: a model is named after its folder, in printable UTF-8: name another --output"
        )


def package(
    output: Path, data: Dataset, recipe: Recipe, start: Start, record: dict[str, Any], profile: Profile
) -> Accuracy:
    """Make a run that has ended, in the folder ``output``, a model's folder that is served; all at once.

    What the run wrote is its ``source``; beside it stand the IR, golden vectors, quantiles from the validation rows,
    the accuracy on validation and test in the manifest, and a card, README.md, that compares it on the test rows.
    Nothing is done where that is there already.

    Returns:
        The accuracy on the test rows beside that of others; training.json holds it under ``test``.

    Raises:
        SetupError: a split has too few rows, the model cannot be converted, or the folder cannot be written.
    """
    if (output / MANIFEST_FILE).is_file():
        try:
            return Accuracy.model_validate(json.loads((output / RECORD_FILE).read_bytes())["test"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SetupError(f"{output / RECORD_FILE} cannot be read ({error}): name another --output") from error
    output, data = output.resolve(), settle(data)
    with workspace(output) as folder:
        made = folder / output.name
        convert_forecaster(
            str(output), made, channels=list(data.columns), keep_source=True, command=str(record["command"])
        )
        values = Values(data.name, data.sha256, data.columns, [data.asked("validation", start.context)])
        _calibrate(made, values, profile)
        click.echo("measure it on validation and test", err=True)
        validation = evaluate(open_forecaster(made), data, "validation", profile)
        test = evaluate(open_forecaster(made), data, "test", profile)
        test = test.model_copy(update={"scores": _compared(test, data, recipe, start)})
        manifest = open_forecaster(made).manifest.model_copy(update={"metrics": [validation.metric, test.metric]})
        write_manifest(made, manifest)
        packaged = record | {"test": test.model_dump(mode="json")}
        (made / RECORD_FILE).write_text(json.dumps(packaged, indent=2) + "\n")
        (made / CARD_FILE).write_text(write_card(manifest, data, record, test))
        try:
            replace_folder(output, made)
        except OSError as error:
            raise SetupError(
                f"{shown(output)} cannot be written: {error}; make room, or name another --output"
            ) from error
    return test


def _calibrate(made: Path, values: Values, profile: Profile) -> None:
    """Make quantiles by channel, of fewer rows those of all together, and of too few none, which is told."""
    parts: tuple[Part | None, ...] = (None, "others")
    for only in parts:
        try:
            calibrate(open_forecaster(made), values, profile, only=only)
        except SetupError as error:
            fault = error
        else:
            return
    click.echo(f"the model has no quantiles, as the validation rows are too few: {fault}", err=True)


def _compared(test: Accuracy, data: Dataset, recipe: Recipe, start: Start) -> list[Scores]:
    """Return the model's own scores, then those of the model it began with, of ridge and of what needs no model."""
    windows = cut(data, "test", start.context, start.horizon)
    own, *baselines = test.scores
    compared = [own]
    if start.weights is not None:
        forecasts = forecast_windows(start.model(recipe).eval(), split_windows(data, "test", start))
        raw = forecasts * data.deviation[:, None] + data.mean[:, None]
        compared.append(score(f"{start.name}, before training", data, windows, raw))
    weights = fit_best_ridge(split_windows(data, "train", start), split_windows(data, "validation", start))
    compared.append(score(RIDGE, data, windows, forecast_by(weights, windows.pasts)))
    return compared + baselines
