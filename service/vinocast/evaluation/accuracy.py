"""The accuracy of a model as it is served: its IR, compiled by a profile, over every window of a split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vinocast.data import etth1
from vinocast.data.bundled import bundled_models
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.manifest import MANIFEST_FILE
from vinocast.errors import SetupError
from vinocast.forecast.forecaster import Forecaster
from vinocast.forecast.manifest import ForecasterFolder, Metric, open_forecaster
from vinocast.progress import progress

if TYPE_CHECKING:
    from vinocast.engine.profiles import Profile

PROTOCOL = (
    "MSE and MAE over all windows (stride 1), steps and channels; channels standardised with the mean and the biased "
    "deviation of the train rows; context {context}, horizon {horizon}"
)


def find_model(name: str) -> ForecasterFolder:
    """Open a model by its folder, or by its name among the bundled models; raises SetupError."""
    bundled = bundled_models()
    for folder in (Path(name), bundled / name):
        if (folder / MANIFEST_FILE).is_file():
            return open_forecaster(folder)
    names = ", ".join(path.parent.name for path in sorted(bundled.glob(f"*/{MANIFEST_FILE}")))
    raise SetupError(
        f"{name} is neither a folder with a {MANIFEST_FILE} nor a bundled model ({names or 'there are none'}); "
        f"make one with 'vinocast convert SOURCE --output {name}'"
    )


def evaluate(folder: ForecasterFolder, data: etth1.Etth1, split: etth1.Split, profile: Profile) -> Metric:
    """Forecast every window of a split and return the errors, in standardised units.

    A window's channels go through the model together, as a client's would: a larger batch is hardly faster, and what
    is measured is what is served. Shows its progress on standard error.

    Raises:
        SetupError: the model has other channels than the data set, a window longer than the split, or is refused.
    """
    manifest = folder.manifest
    if len(manifest.channels) != len(etth1.CHANNELS):
        raise SetupError(
            f"{folder.path}: a model of {len(manifest.channels)} channels cannot be scored on {etth1.NAME}, "
            f"which has {len(etth1.CHANNELS)}"
        )
    pasts, futures = etth1.windows(data.rows(split, manifest.context), manifest.context, manifest.horizon)
    forecaster = Forecaster(folder)
    forecaster.load(Compiler(profile, cpu_budget()))
    channels = range(len(manifest.channels))
    squared = absolute = 0.0
    with progress(len(pasts), split) as bar:
        for past, future in zip(pasts, futures, strict=True):
            forecast, _ = forecaster.forecast(past.T, channels)
            error = (forecast.T - future).astype(np.float64)
            squared += float(np.square(error).sum())
            absolute += float(np.abs(error).sum())
            bar.update(1)
    return Metric(
        dataset=data.name,
        split=split,
        protocol=PROTOCOL.format(context=manifest.context, horizon=manifest.horizon),
        windows=len(pasts),
        mse=squared / futures.size,
        mae=absolute / futures.size,
    )
