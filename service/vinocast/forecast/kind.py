"""Forecasters as a kind of models."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from vinocast.data.bundled import BUNDLED_FORECASTER
from vinocast.engine.kinds import Kind, ServedModel
from vinocast.forecast.manifest import ForecasterManifest

if TYPE_CHECKING:
    from vinocast.engine.manifest import ModelFolder
    from vinocast.forecast.forecaster import Forecaster

ServedForecaster: TypeAlias = "ServedModel[ForecasterManifest, Forecaster]"


def _create(folder: ModelFolder[ForecasterManifest]) -> Forecaster:
    # In the loading thread: importing openvino takes as long as compiling a model, and so happens beside the
    # transport's own start.
    from vinocast.forecast.forecaster import Forecaster  # noqa: PLC0415

    return Forecaster(folder)


FORECASTER: Kind[ForecasterManifest, Forecaster] = Kind(
    "forecaster", "forecaster", ForecasterManifest, _create, bundled=BUNDLED_FORECASTER
)
