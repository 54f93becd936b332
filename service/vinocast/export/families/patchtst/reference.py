"""The source model as transformers runs it: what the rewritten graph is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import PatchTSTConfig, PatchTSTForPrediction

from vinocast.errors import SetupError
from vinocast.export.files import CONFIG_FILE

if TYPE_CHECKING:
    from vinocast.export.families.checkpoint import Checkpoint, Weights


class Forecast(torch.nn.Module):
    """The forecast alone, of the many outputs the model has."""

    def __init__(self, model: PatchTSTForPrediction) -> None:
        super().__init__()
        self.model = model

    def forward(self, past_values: torch.Tensor) -> torch.Tensor:
        """Return [b, horizon, channels] of windows [b, context, channels]."""
        forecast: torch.Tensor = self.model(past_values=past_values).prediction_outputs
        return forecast


def torch_model(source: Checkpoint, weights: Weights) -> Forecast:
    """Return transformers' model in eval, float32; raises SetupError where it cannot run the configuration."""
    try:
        model = PatchTSTForPrediction(PatchTSTConfig.from_dict(source.config))
        # Not strict: the counts of batches that batchnorms keep in training are no weights of ours.
        model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()}, strict=False)
    except (RuntimeError, TypeError, ValueError) as error:
        raise SetupError(f"{source.name}: transformers cannot run this {CONFIG_FILE}: {error}") from error
    return Forecast(model.eval())
