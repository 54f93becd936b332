"""The comparison with transformers must notice what is wrong, and must not refuse what is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import openvino as ov
import pytest
from vinocast.errors import SetupError
from vinocast.export.families.patchtst.architecture import Architecture, scale_of
from vinocast.export.families.patchtst.graph import build_graph
from vinocast.export.families.patchtst.reference import torch_model
from vinocast.export.families.patchtst.source import read_source
from vinocast.export.generated import KINDS, as_series, as_windows, generated_series, golden_series
from vinocast.export.parity import check_parity

BIAS = "head.projection.bias"


@pytest.mark.parametrize(
    ("error", "precision", "accepted"),
    [(0, "f32", True), (5e-5, "f32", False), (1e-3, "f16", True), (0.05, "f16", False), (np.nan, "f16", False)],
)
def test_a_forecast_that_is_off_by_more_than_its_bound_is_refused(
    make_checkpoint: Callable[..., Path], error: float, precision: Literal["f32", "f16"], accepted: bool
) -> None:
    source = read_source(str(make_checkpoint()))
    weights = source.weights()
    graph = build_graph(source.architecture, weights | {BIAS: weights[BIAS] + error})
    compiled = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    model = torch_model(source, weights)
    if accepted:
        assert check_parity(compiled, source, model, precision)["noise"] == pytest.approx(error, rel=0.01, abs=1e-5)
    else:
        with pytest.raises(SetupError, match=r"differs from the source by .* of the scale on noise windows"):
            check_parity(compiled, source, model, precision)


def test_generated_series_are_what_they_are_called() -> None:
    made = {kind: generated_series(kind, 4, 64) for kind in KINDS}
    assert all((made[kind] == generated_series(kind, 4, 64)).all() for kind in KINDS)
    assert all(series.dtype == np.float32 and series.shape == (4, 64) for series in made.values())
    assert np.ptp(made["constant"], axis=1).max() == 0
    assert np.abs(made["huge"]).max() > 1e6
    assert np.abs(made["tiny"]).max() < 1e-3
    assert made["level"].mean() == pytest.approx(1e4, rel=1e-3)
    assert golden_series(7, 64).shape == (7, 64)


def test_the_scale_is_the_scaler_s_own() -> None:
    series = np.array([[1.0, 3.0], [2.0, 2.0], [0.0, 0.0], [-30.0, 10.0]])

    def scales(**scaling: str | float | None) -> list[float]:
        scale = scale_of(Architecture.model_validate({"model_type": "patchtst", **scaling}), series)
        return [float(value) for value in scale[:, 0]]

    assert scales() == pytest.approx([1.000005, 1e-5**0.5, 1e-5**0.5, 20], rel=1e-6)
    assert scales(scaling="mean") == [2, 2, 1e-10, 20]
    assert scales(scaling="mean", minimum_scale=0.5) == [2, 2, 0.5, 20]
    assert scales(scaling=None) == [3, 2, 1, 30]


def test_windows_and_series_are_the_same_numbers() -> None:
    series = np.arange(24, dtype=np.float32).reshape(6, 4)
    windows = as_windows(series, 3)
    assert windows.shape == (2, 4, 3)
    assert windows[1, :, 2].tolist() == series[5].tolist()
    assert (as_series(windows) == series).all()
