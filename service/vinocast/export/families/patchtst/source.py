"""Where a model comes from: a Hugging Face PatchTSTForPrediction, as conversion asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from vinocast.export.families.checkpoint import Checkpoint, Signature
from vinocast.export.families.patchtst.architecture import Architecture, parse_architecture, scale_of
from vinocast.export.families.patchtst.graph import build_graph
from vinocast.export.families.registry import register
from vinocast.export.files import read_files

if TYPE_CHECKING:
    import numpy as np
    import openvino as ov
    from numpy.typing import NDArray

    from vinocast.export.families.checkpoint import Weights
    from vinocast.export.families.patchtst.reference import Forecast


@register
@dataclass(frozen=True)
class PatchTSTCheckpoint(Checkpoint):
    """A checkpoint of a PatchTSTForPrediction."""

    family = "patchtst"
    runner = "transformers"

    @classmethod
    def recognises(cls, config: dict[str, Any]) -> bool:
        """Whether transformers would read it as a PatchTST."""
        return config.get("model_type") == "patchtst"

    @cached_property
    def architecture(self) -> Architecture:
        """What config.json says; raises SetupError."""
        return parse_architecture(self.config, self.name)

    @property
    def signature(self) -> Signature:
        """One input, ``past_values``, and points."""
        a = self.architecture
        lengths = (a.context_length, a.prediction_length, a.num_input_channels)
        if a.scaler != "std":
            return Signature(a.layout, *lengths)
        return Signature(a.layout, *lengths, minimum_variance=a.scale_floor)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the name and shape of every weight, as in transformers' ``state_dict``."""
        return self.architecture.shapes()

    def build_graph(self, weights: Weights) -> ov.Model:
        """Return the rewritten graph, see :func:`vinocast.export.families.patchtst.graph.build_graph`."""
        return build_graph(self.architecture, weights)

    def torch_model(self, weights: Weights) -> Forecast:
        """Return transformers' model."""
        from vinocast.export.families.patchtst.reference import torch_model  # noqa: PLC0415 - the graph needs no torch

        return torch_model(self, weights)

    def scale(self, series: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the model's own scale of each series."""
        return scale_of(self.architecture, series)


def read_source(source: str) -> PatchTSTCheckpoint:
    """Read a folder or a hub id; raises SetupError, see :func:`vinocast.export.files.read_files`."""
    return PatchTSTCheckpoint(*read_files(source))
