"""What the training of a forecaster begins with: an architecture, and the weights of a model or those of a seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vinocast.engine.folders import MANIFEST_FILE
from vinocast.errors import SetupError, shown
from vinocast.export.convert import SOURCE_FOLDER
from vinocast.export.families.patchtst.source import PatchTSTCheckpoint
from vinocast.export.families.registry import read_source
from vinocast.training.patchtst import CONTEXT, GRANITE, HORIZON, MINIMUM_VARIANCE, new_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PatchTSTForPrediction

    from vinocast.export.families.checkpoint import Weights
    from vinocast.training.recipe import Recipe


@dataclass(frozen=True)
class Start:
    """An architecture, as a config of transformers has it, and weights; without weights they come from the seed.

    Attributes:
        config: the fields of ``config.json``.
        name: of the model that the weights are of.
        weights: every weight by its name.
        sha256: of the files of that model.
    """

    config: Mapping[str, Any]
    name: str | None = None
    weights: Weights | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def context(self) -> int:
        """Time steps of a window."""
        return int(self.config["context_length"])

    @property
    def horizon(self) -> int:
        """Time steps of a forecast."""
        return int(self.config["prediction_length"])

    @property
    def floor(self) -> float:
        """What the scaler adds to the variance of a window."""
        return float(self.config.get("minimum_scale", MINIMUM_VARIANCE))

    @property
    def identity(self) -> dict[str, Any]:
        """What decides a run that begins so, as JSON; nothing where it begins as it does unless told otherwise."""
        if self.weights is not None:
            return {"init": {"name": self.name, "sha256": dict(self.sha256)}}
        if (self.context, self.horizon) == (CONTEXT, HORIZON):
            return {}
        return {"init": {"context_length": self.context, "prediction_length": self.horizon}}

    def model(self, recipe: Recipe, channels: int = 1) -> PatchTSTForPrediction:
        """Return the model that training begins with."""
        model = new_model(recipe, channels, self.config)
        if self.weights is not None:
            # Not strict: the counts of batches that batchnorms keep decide nothing.
            model.load_state_dict({name: torch.from_numpy(array) for name, array in self.weights.items()}, strict=False)
        return model


SCRATCH = Start(GRANITE)


def from_scratch(context: int = CONTEXT, horizon: int = HORIZON) -> Start:
    """Return Granite's architecture for windows of other lengths; raises SetupError for a context without patches."""
    if context <= GRANITE["patch_length"]:
        raise SetupError(
            f"a context of {context} rows is too short: the model cuts it into patches of {GRANITE['patch_length']}"
        )
    return Start(GRANITE | {"context_length": context, "prediction_length": horizon})


def read_start(name: str, bundled: Path) -> Start:
    """Read the model that training begins with.

    Args:
        name: a Hugging Face folder or hub id of a PatchTST; a model's folder that keeps what it was converted from; or
            the name of a bundled model.
        bundled: the folder of the bundled models.

    Raises:
        SetupError: there is none, or it is no PatchTST whose channels share one net and whose scaler is ``std``.
    """
    folder = source_folder(name, bundled)
    checkpoint = read_source(str(folder))
    if not isinstance(checkpoint, PatchTSTCheckpoint):
        raise SetupError(f"{checkpoint.name} is a {checkpoint.family}: only a PatchTST can be trained further")
    architecture = checkpoint.architecture
    if architecture.layout != "series":
        raise SetupError(
            f"{checkpoint.name}: its channels cannot stand for each other (channel_attention, or an embedding each), "
            "so it cannot be trained on other columns: name a model whose channels share one net"
        )
    if architecture.scaler != "std":
        raise SetupError(
            f"{checkpoint.name}: scaling {architecture.scaling!r}: only a model that standardises each window ('std') "
            "is trained further, since it alone forecasts values in any unit alike"
        )
    defaults = {"context_length": architecture.context_length, "prediction_length": architecture.prediction_length}
    known_as = checkpoint.name if folder == name else Path(folder).parent.name
    return Start(defaults | checkpoint.config, known_as, checkpoint.weights(), checkpoint.sha256)


def source_folder(name: str, bundled: Path) -> str | Path:
    """Return where the weights of a model are that torch can read: its folder's source, or else what was named.

    Raises SetupError for a folder of a model that keeps none.
    """
    for folder in (Path(name), bundled / name):
        if (folder / MANIFEST_FILE).is_file():
            if (folder / SOURCE_FOLDER).is_dir():
                return folder / SOURCE_FOLDER
            raise SetupError(
                f"{shown(folder)} does not keep what it was converted from: name that folder, or its hub id"
            )
    return name
