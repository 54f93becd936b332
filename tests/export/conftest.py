"""Small PatchTST checkpoints with random weights in every parameter and every running statistic."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from support import SHARED_DATA
from transformers import PatchTSTConfig, PatchTSTForPrediction

torch.set_num_threads(1)  # models of a few hundred weights: a second thread only waits

TINY: dict[str, Any] = {
    "num_input_channels": 3,
    "context_length": 43,
    "prediction_length": 6,
    "patch_length": 8,
    "patch_stride": 8,
    "d_model": 16,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "ffn_dim": 24,
}
MakeModel = Callable[..., PatchTSTForPrediction]
MakeCheckpoint = Callable[..., Path]


def random_model(seed: int = 0, **overrides: Any) -> PatchTSTForPrediction:
    """A model none of whose weights is at its initial value: a norm that is not folded rightly shows."""
    torch.manual_seed(seed)
    model = PatchTSTForPrediction(PatchTSTConfig(**(TINY | overrides))).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith(("running_var", "batchnorm.weight")) or (".norm_sublayer" in name and "weight" in name):
                tensor.copy_(0.5 + torch.rand_like(tensor))
            elif tensor.is_floating_point():
                tensor.copy_(torch.randn_like(tensor) * (0.3 if tensor.ndim == 1 else 0.6 * tensor.shape[-1] ** -0.5))
    return model


@pytest.fixture
def make_model() -> MakeModel:
    return random_model


@pytest.fixture
def make_checkpoint(tmp_path: Path) -> MakeCheckpoint:
    def make(name: str = "source", seed: int = 0, **overrides: Any) -> Path:
        model = random_model(seed, **overrides)
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(model.config.to_dict()))
        safetensors.torch.save_file(dict(model.state_dict()), folder / "model.safetensors")
        return folder

    return make


@pytest.fixture(scope="session")
def granite() -> Path:
    folder = SHARED_DATA / "granite-timeseries-patchtst"
    if not folder.is_dir():
        pytest.skip(f"no {folder}: name the folder of the shared data with VINOCAST_SHARED_DATA")
    return folder
