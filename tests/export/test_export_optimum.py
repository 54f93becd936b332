"""The stock graph, by optimum-intel and as the yardstick."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
import torch
from transformers import PatchTSTForPrediction

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # optimum-intel's imports use what other packages have deprecated
    from optimum.exporters.openvino import main_export
    from vinocast.export.families.patchtst import optimum as registration

OVERRIDES: list[dict[str, Any]] = [
    {"use_cls_token": True, "pooling_type": None},
    {"patch_stride": 5, "share_embedding": False},
]


def assert_stock(path: Path, source: Path) -> None:
    graph = ov.Core().read_model(path)
    assert graph.input(0).any_name == "past_values"
    assert graph.output(0).any_name == "prediction_outputs"
    assert str(graph.input(0).partial_shape) == "[?,43,3]"
    windows = np.random.default_rng(0).standard_normal((3, 43, 3)).astype(np.float32)
    with torch.inference_mode():
        model = PatchTSTForPrediction.from_pretrained(source).eval()
        expected = model(torch.from_numpy(windows)).prediction_outputs.numpy()
    actual = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(windows)[0]
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("overrides", OVERRIDES)
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_optimum_intel_exports_a_forecast(
    make_checkpoint: Callable[..., Path], tmp_path: Path, overrides: dict[str, Any]
) -> None:
    source = make_checkpoint(**overrides)
    main_export(str(source), output=tmp_path / "ir", task=registration.TASK, library_name="transformers")
    assert_stock(tmp_path / "ir" / "openvino_model.xml", source)


@pytest.mark.parametrize("overrides", OVERRIDES)
def test_the_yardstick_is_the_stock_graph(
    make_checkpoint: Callable[..., Path], tmp_path: Path, overrides: dict[str, Any]
) -> None:
    source = make_checkpoint(**overrides)
    path = registration.export_stock(str(source), tmp_path / "stock.xml")
    assert path == tmp_path / "stock.xml"
    assert_stock(path, source)


@pytest.mark.parametrize("stride", [3, 8])
def test_patches_without_unfold_are_the_same(make_model: Callable[..., PatchTSTForPrediction], stride: int) -> None:
    model = make_model(patch_stride=stride)
    windows = torch.randn(2, 43, 3)
    expected = model.model.patchifier(windows)
    with registration.without_unfold(model):
        assert torch.equal(model.model.patchifier(windows), expected)
    assert torch.equal(model.model.patchifier(windows), expected)
