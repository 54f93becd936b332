"""The stock graph of PatchTST, as transformers writes it: for optimum-intel, and as a yardstick for the rewritten one.

optimum-intel has no export of PatchTST of its own. Importing this module registers one::

    from optimum.exporters.openvino import main_export
    import vinocast.export.families.patchtst.optimum

    main_export("FOLDER_OR_HUB_ID", output="DIR", task="time-series-forecasting", library_name="transformers")
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import openvino as ov
import torch
from optimum.exporters.openvino.base import OpenVINOConfig
from optimum.exporters.openvino.patching_utils import ModelPatcher
from optimum.exporters.openvino.utils import ONNX_SUPPORTED_ARCHITECTURES
from optimum.exporters.tasks import TasksManager
from optimum.utils import DummyInputGenerator, NormalizedTimeSeriesForecastingConfig

from vinocast.export.families.patchtst.graph import INPUT, OUTPUT
from vinocast.export.families.patchtst.reference import torch_model
from vinocast.export.families.patchtst.source import read_source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from transformers import PatchTSTForPrediction

TASK = "time-series-forecasting"


@contextmanager
def without_unfold(model: PatchTSTForPrediction) -> Iterator[None]:
    """Cut patches by reshape, or where they overlap by index: OpenVINO's converter has no ``aten::unfold``."""
    patchify = model.model.patchifier
    length, stride, count = patchify.patch_length, patchify.patch_stride, patchify.num_patches
    index = stride * torch.arange(count)[:, None] + torch.arange(length)

    def forward(past_values: torch.Tensor) -> torch.Tensor:
        used = past_values[:, patchify.sequence_start :]
        cut = used.reshape(-1, count, length, used.shape[2]) if stride == length else used[:, index]
        return cut.permute(0, 3, 1, 2)

    patchify.forward = forward
    try:
        yield
    finally:
        del patchify.forward  # the class's own is found again


class PatchTSTPatcher(ModelPatcher):  # type: ignore[misc]  # optimum has no types
    """Patches the model while optimum-intel traces it."""

    def __enter__(self) -> None:
        super().__enter__()
        self._unfold = without_unfold(self._model)
        self._unfold.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._unfold.__exit__(*error)
        super().__exit__(*error)


class PatchTSTWindows(DummyInputGenerator):  # type: ignore[misc]  # optimum has no types
    """The window that optimum-intel traces with: [2, context, channels]."""

    SUPPORTED_INPUT_NAMES = (INPUT,)

    def __init__(self, task: str, normalized_config: Any, **_shapes: Any) -> None:
        del task
        self.shape = (2, normalized_config.context_length, normalized_config.num_input_channels)

    def generate(self, input_name: str, **_formats: str) -> torch.Tensor:
        """Return the window; its values decide nothing."""
        del input_name
        return torch.randn(self.shape)


# optimum-intel refuses what stands in this list of architectures it has dropped before it looks for a registered one.
ONNX_SUPPORTED_ARCHITECTURES.discard("patchtst")


@TasksManager.create_register("openvino", overwrite_existing=True)("patchtst", TASK, library_name="transformers")
class PatchTSTOpenVINOConfig(OpenVINOConfig):  # type: ignore[misc]  # optimum has no types
    """How optimum-intel exports a PatchTSTForPrediction; only the batch is dynamic, the rest is in the graph."""

    NORMALIZED_CONFIG_CLASS = NormalizedTimeSeriesForecastingConfig
    DUMMY_INPUT_GENERATOR_CLASSES = (PatchTSTWindows,)
    _MODEL_PATCHER = PatchTSTPatcher

    @property
    def inputs(self) -> dict[str, dict[int, str]]:
        """Name and dynamic axes of the input."""
        return {INPUT: {0: "batch_size"}}


def export_stock(source: str, path: Path) -> Path:
    """Write the stock graph of ``source`` (folder or hub id) as an f32 IR at ``path``, and return ``path``.

    It maps ``past_values`` [b, context, channels] to ``prediction_outputs`` [b, horizon, channels], b dynamic.
    Raises SetupError as ``read_source`` does.
    """
    files = read_source(source)
    forecast = torch_model(files, files.weights())
    shape = (files.architecture.context_length, files.architecture.num_input_channels)
    with without_unfold(forecast.model), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of each Python number it turns into a constant
        stock = ov.convert_model(forecast, example_input=torch.zeros(2, *shape), input=[(INPUT, [-1, *shape])])
    stock.inputs[0].get_tensor().set_names({INPUT})
    stock.outputs[0].get_tensor().set_names({OUTPUT})
    ov.save_model(stock, path, compress_to_fp16=False)
    return path
