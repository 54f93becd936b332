"""From the weights of a run to the model that is served: as a checkpoint that conversion takes, and its folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vinocast.data.regular import read_regular
from vinocast.errors import SetupError, shown
from vinocast.export.convert import convert_forecaster
from vinocast.export.families.checkpoint import Checkpoint, Signature
from vinocast.training.card import CARD_FILE
from vinocast.training.general.graph import build_graph
from vinocast.training.general.model import (
    CONTEXT,
    CURVE_FILE,
    HORIZON,
    MINIMUM_VARIANCE,
    QUANTILES,
    WEIGHTS_FILE,
    GeneralForecaster,
    standardise,
)

if TYPE_CHECKING:
    from pathlib import Path

    import openvino as ov
    from numpy.typing import NDArray

    from vinocast.export.families.checkpoint import Weights

# Of a window without `channels`; as any series is forecast alike, the number decides nothing but what is compiled.
CHANNELS = 7
COMMAND = "vinocast train general --output RUN"


@dataclass(frozen=True)
class GeneralCheckpoint(Checkpoint):
    """The weights of a run of ``vinocast train general``."""

    family = "general"
    runner = "torch"

    @classmethod
    def recognises(cls, config: dict[str, Any]) -> bool:  # noqa: ARG003 - the base's signature
        """Return False: it has no ``config.json``."""
        return False

    @property
    def signature(self) -> Signature:
        """Any series, and quantiles that never cross."""
        return Signature(
            "series", CONTEXT, HORIZON, CHANNELS, QUANTILES, ascending=True, minimum_variance=MINIMUM_VARIANCE
        )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the name and shape of every weight."""
        state = GeneralForecaster().state_dict()
        return {name: tuple(tensor.shape) for name, tensor in state.items() if tensor.is_floating_point()}

    def build_graph(self, weights: Weights) -> ov.Model:
        """Return the rewritten graph; see ``vinocast.training.general.graph``."""
        return build_graph(weights)

    def torch_model(self, weights: Weights) -> _Windows:
        """Return the model as it was trained, in eval."""
        model = GeneralForecaster()
        # Not strict: the counts of batches that batchnorms keep in training are no weights of ours.
        model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()}, strict=False)
        return _Windows(model).eval()

    def scale(self, series: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the deviations that the model scales by."""
        return np.asarray(np.sqrt(series.var(1, keepdims=True) + MINIMUM_VARIANCE))


class _Windows(torch.nn.Module):
    """The model on windows [b, context, channels], in their units: [b, horizon, channels, levels]."""

    def __init__(self, model: GeneralForecaster) -> None:
        super().__init__()
        self.model = model

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Return the quantiles."""
        standard, mean, deviation = standardise(windows.transpose(1, 2).flatten(0, 1))
        quantiles: torch.Tensor = self.model(standard) * deviation[..., None] + mean[..., None]
        return quantiles.view(len(windows), -1, HORIZON, len(QUANTILES)).transpose(1, 2)


def is_general_run(folder: Path) -> bool:
    """Whether a folder holds the weights of a run of ``vinocast train general``."""
    return (folder / WEIGHTS_FILE).is_file()


def convert_general(
    source: Path, output: Path, *, precision: str = "f32", calibration: Path | None = None, channels: list[str] | None
) -> Path:
    """Convert a run to the model folder ``output``, which keeps its weights, its curve and a card that is there.

    ``output`` may be the folder that ``source`` lies in: what is written is written whole. See ``convert_forecaster``
    for the other arguments, and for what it raises; SetupError too where the run cannot be read.
    """
    try:
        files = {name: read_regular(source / name) for name in (WEIGHTS_FILE, CURVE_FILE)}
    except OSError as error:
        raise SetupError(f"{error.filename}: {error.strerror}: name a folder of 'vinocast train general'") from error
    return convert_forecaster(
        GeneralCheckpoint(shown(source.resolve().name), files),
        output,
        precision=precision,
        calibration=calibration,
        channels=channels,
        keep_source=True,
        command=COMMAND,
        kept=[CARD_FILE],
    )
