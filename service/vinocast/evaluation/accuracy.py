"""The accuracy of a model as it is served: its IR, compiled by a profile, over every window of a split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vinocast.data import etth1
from vinocast.data.windows import windows
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.errors import SetupError
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.manifest import ForecasterFolder, Metric
from vinocast.progress import progress

if TYPE_CHECKING:
    from vinocast.data.splits import Split
    from vinocast.engine.profiles import Profile

PROTOCOL = (
    "MSE and MAE over all windows (stride 1), steps and channels; channels standardised with the mean and the biased "
    "deviation of the train rows; context {context}, horizon {horizon}"
)


def evaluate(folder: ForecasterFolder, data: etth1.Etth1, split: Split, profile: Profile) -> Metric:
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
    forecaster = ForecastEngine(folder)
    pasts, futures = windows(data.rows(split, manifest.context), manifest.context, manifest.horizon)
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
