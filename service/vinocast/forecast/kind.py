"""Forecasters as a kind of models."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from vinocast.data.bundled import BUNDLED_FORECASTER, BUNDLED_GENERAL
from vinocast.engine.kinds import Kind, ServedModel
from vinocast.forecast.manifest import ForecasterManifest

if TYPE_CHECKING:
    from vinocast.engine.manifest import ModelFolder
    from vinocast.forecast.engine import ForecastEngine

ServedForecaster: TypeAlias = "ServedModel[ForecasterManifest, ForecastEngine]"


def _create(folder: ModelFolder[ForecasterManifest]) -> ForecastEngine:
    # In the loading thread: importing openvino takes as long as compiling a model, and so happens beside the
    # transport's own start.
    from vinocast.forecast.engine import ForecastEngine  # noqa: PLC0415

    return ForecastEngine(folder)


FORECASTER: Kind[ForecasterManifest, ForecastEngine] = Kind(
    "forecaster",
    "forecaster",
    ForecasterManifest,
    _create,
    bundled=BUNDLED_FORECASTER,
    general=BUNDLED_GENERAL,
)
