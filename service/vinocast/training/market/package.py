"""From candles to a market model that is served: fitted, written as a graph, measured, with bands and a card."""

from __future__ import annotations

import json
import platform
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from vinocast import __version__
from vinocast.data.bundled import BUNDLED_FORECASTER, BUNDLED_GENERAL, bundled_models
from vinocast.data.windows import Windows
from vinocast.engine.folders import MANIFEST_FILE
from vinocast.engine.manifest import write_manifest
from vinocast.errors import SetupError, shown
from vinocast.export.folder import check_output, replace_folder, workspace
from vinocast.forecast.manifest import Metric, open_forecaster
from vinocast.training.card import CARD_FILE
from vinocast.training.market import measure
from vinocast.training.market.candles import CONTEXT, HORIZON
from vinocast.training.market.card import write_card
from vinocast.training.market.fit import HAR, fit, forecast_logs, scale, scaled_logs
from vinocast.training.market.write import section, write_bands, write_model
from vinocast.training.teacher import fit_best_ridge, forecast_by

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from vinocast.data.splits import Split
    from vinocast.engine.profiles import Profile
    from vinocast.training.market.candles import MarketData
    from vinocast.training.market.features import Scaling

RECORD_FILE = "training.json"
HELD: tuple[Split, ...] = ("validation", "test")
# What is written at most.
MOST_BYTES = 1 << 23
PROTOCOL = (
    "MSE and MAE over all windows (stride 1), steps and outputs, in units of the training bars' deviation; "
    f"context {CONTEXT}, horizon {HORIZON}"
)


def train_market(data: MarketData, output: Path, profile: Profile) -> dict[str, Any]:
    """Fit a market model to candles and write its folder, all at once; the test bars decide nothing.

    Returns:
        What training.json holds. A folder that holds the same run already is left as it is.

    Raises:
        SetupError: the folder holds something else, or cannot be written.
    """
    output = output.resolve()
    identity = {"features": "market", "data": data.identity, "vinocast": __version__}
    if (done := _finished(output, identity)) is not None:
        click.echo(f"{shown(output)} holds this run already: nothing to do", err=True)
        return done
    check_output(output, set(), MOST_BYTES)
    click.echo("fit the training bars, choose by the validation bars", err=True)
    scaling = scale(data)
    market = section(data, scaling)
    fitted = fit(data, scaling, scaled_logs(market, data))
    words = ["vinocast", "train", "forecast", "--features", "market", *data.options, "--output", output.name]
    with workspace(output) as folder:
        made = folder / output.name
        made.mkdir()
        manifest = write_model(made, data, market, scaling, fitted, shlex.join(words))
        write_manifest(made, manifest)
        engine = measure.load(open_forecaster(made), profile)
        points = {split: measure.ask(engine, data, data.begins(split), split) for split in HELD}
        manifest = write_bands(made, data, manifest, points["validation"])
        write_manifest(made, manifest)
        record = {
            "command": manifest.command,
            **identity,
            "notes": data.notes,
            "scaling": asdict(scaling),
            "choices": [asdict(choice) for choice in fitted.choices],
            **_measured(made, data, scaling, points, profile),
            "tools": manifest.tools | {"python": platform.python_version()},
        }
        metrics = [_metric(data, split, measure.Score.model_validate(record[split][0])) for split in HELD]
        manifest = manifest.model_copy(update={"metrics": metrics})
        write_manifest(made, manifest)
        (made / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n")
        (made / CARD_FILE).write_text(write_card(manifest, data, record))
        try:
            replace_folder(output, made)
        except OSError as error:
            raise SetupError(
                f"{shown(output)} cannot be written: {error}; make room, or name another --output"
            ) from error
    return record


def _finished(output: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Return the record of the same run; raises SetupError for a folder that holds another model."""
    if not (output / MANIFEST_FILE).is_file():
        return None
    try:
        record: dict[str, Any] = json.loads((output / RECORD_FILE).read_bytes())
        same = {name: record[name] for name in identity} == json.loads(json.dumps(identity))
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise SetupError(f"{shown(output)} holds another model: name another --output, or remove it")
    return record


def _measured(
    made: Path, data: MarketData, scaling: Scaling, points: dict[Split, NDArray[np.float32]], profile: Profile
) -> dict[str, Any]:
    """Return the scores of the model and of others on validation and test, and what its bands hold of the test part."""
    engine = measure.load(open_forecaster(made), profile)
    market = engine.manifest.market
    assert market is not None  # noqa: S101 - it is written here
    logs = scaled_logs(market, data)
    har = fit(data, scaling, logs, HAR)
    truths = {split: measure.Truth(market, data, split) for split in ("train", *HELD)}
    ridges = fit_best_ridge(_windows(truths["train"]), _windows(truths["validation"]))
    found: dict[str, Any] = {}
    for split in HELD:
        truth = truths[split]
        scores = [truth.score("this model", measure.scaled(market, points[split]))]
        prices = np.repeat(truth.pasts()[:, None, :3, -1], HORIZON, axis=1)
        simple = forecast_logs(data, scaling, har, truth.begins)
        scores.append(truth.score("HAR, levels alone", np.concatenate([prices, simple], axis=2)))
        made_by_ridge = forecast_by(ridges, truth.pasts().astype(np.float32)).transpose(0, 2, 1)
        scores.append(truth.score("ridge, each output by itself", made_by_ridge.astype(np.float64)))
        if split == "test":
            others = (open_forecaster(bundled_models() / name) for name in (BUNDLED_FORECASTER, BUNDLED_GENERAL))
            scores += [measure.by_series(other, truth, profile) for other in others]
        scores += measure.simpler(truth, data)
        found[split] = [score.model_dump(mode="json") for score in scores]
    # Windows whose steps lie in both parts are of neither, and a stream has forecasts of them too.
    validated, tested = (truths[split].begins for split in HELD)
    between = np.arange(validated[-1] + 1, tested[0])
    parts = [points["validation"], measure.ask(engine, data, between, "between"), points["test"]]
    every = np.concatenate([validated, between, tested])
    found["bands"] = [
        measure.rolling(market, data, np.concatenate(parts), every, int(tested[0])).model_dump(mode="json"),
        measure.fixed(engine, data, points["test"], tested).model_dump(mode="json"),
    ]
    return found


def _windows(truth: measure.Truth) -> Windows:
    """Return the outcomes as windows, [n, outputs, context] and [n, outputs, horizon]."""
    return Windows(truth.pasts().astype(np.float32), truth.futures.transpose(0, 2, 1).astype(np.float32))


def _metric(data: MarketData, split: Split, score: measure.Score) -> Metric:
    options = " ".join(data.options[2:])
    return Metric(
        dataset=data.name,
        split=split,
        protocol=f"{PROTOCOL}; {options}",
        windows=len(data.begins(split)),
        mse=float(np.mean(list(score.mse.values()))),
        mae=float(np.mean(list(score.mae.values()))),
    )
