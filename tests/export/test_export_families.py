"""A family of forecasters that this test alone knows: registered, converted, compared with its source, and served."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openvino as ov
import pytest
import safetensors.numpy
import torch
from numpy.typing import NDArray
from openvino import opset13 as op
from support import ROOT, HttpService, StdioService, Window, rows
from torch import Tensor, nn
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.profiles import PROFILES
from vinocast.errors import SetupError
from vinocast.export.algebra import floats, reshape, transpose
from vinocast.export.convert import convert_forecaster
from vinocast.export.families.checkpoint import Checkpoint, Signature, Weights
from vinocast.export.families.registry import families, register
from vinocast.export.generated import KINDS
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.manifest import open_forecaster

CONTEXT, HORIZON, CHANNELS = 16, 4, 3
LEVELS = [0.1, 0.5, 0.9]
# The second input of those toys that have one.
GAIN = 1.5


class ToyModel(nn.Module):
    """A linear map of each channel's context, to one value for each step or to one for each level of it."""

    weight: Tensor

    def __init__(self, weight: NDArray[np.float64], config: dict[str, Any]) -> None:
        super().__init__()
        self.register_buffer("weight", torch.from_numpy(weight))
        self.gain, self.levels = config["gain"], config["levels"]

    def forward(self, windows: Tensor) -> Tensor:
        forecasts: Tensor = windows.transpose(1, 2) @ self.weight * self.gain
        if not self.levels:
            return forecasts.transpose(1, 2)
        quantiles: Tensor = forecasts.reshape(-1, CHANNELS, HORIZON, len(self.levels)).transpose(1, 2)
        return quantiles


@dataclass(frozen=True)
class Toy(Checkpoint):
    family = "toy"
    runner = "torch"
    # The self-test measures in a window's deviation, and a constant window has none: this model takes no mean away.
    kinds = tuple(kind for kind in KINDS if kind != "constant")

    @classmethod
    def recognises(cls, config: dict[str, Any]) -> bool:
        return config.get("model_type") == "toy-linear"

    @property
    def signature(self) -> Signature:
        gain = self.config["gain"]
        constants = {} if gain == 1 else {"gain": np.array([gain], np.float32)}
        return Signature(
            self.config["layout"],
            CONTEXT,
            HORIZON,
            CHANNELS,
            quantiles=tuple(self.config["levels"]),
            constants=constants,
        )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"weight": (CONTEXT, HORIZON * max(1, len(self.config["levels"])))}

    def build_graph(self, weights: Weights) -> ov.Model:
        levels, alone = len(self.config["levels"]), self.config["layout"] == "series"
        shape = [-1, CONTEXT] if alone else [-1, CONTEXT, CHANNELS]
        inputs = [op.parameter(shape, np.float32, name="window")]
        inputs[0].output(0).get_tensor().set_names({"window"})
        series = inputs[0] if alone else transpose(inputs[0], 0, 2, 1)
        if self.signature.constants:
            inputs.append(op.parameter([1], np.float32, name="gain"))
            inputs[1].output(0).get_tensor().set_names({"gain"})
            series = op.multiply(series, inputs[1])
        forecast = op.matmul(series, floats(weights["weight"]), False, False)
        if levels:
            forecast = reshape(forecast, *([0] if alone else [0, 0]), HORIZON, levels)
        if not alone:
            forecast = transpose(forecast, 0, 2, 1, *([3] if levels else []))
        forecast.output(0).get_tensor().set_names({"forecast"})
        return ov.Model([op.result(forecast)], inputs, "toy")

    def torch_model(self, weights: Weights) -> ToyModel:
        return ToyModel(weights["weight"], self.config)

    def scale(self, series: NDArray[np.float64]) -> NDArray[np.float64]:
        scale: NDArray[np.float64] = np.abs(series).max(1, keepdims=True).clip(1)
        return scale


@pytest.fixture
def toy() -> Iterator[None]:
    register(Toy)
    yield
    del families()["toy"]


def make_source(folder: Path, layout: str = "series", levels: list[float] | None = None, gain: float = 1) -> Window:
    """Write a checkpoint; returns the map of a context to the points of a forecast."""
    levels = levels or []
    shape = (CONTEXT, HORIZON, max(1, len(levels)))
    weight = (0.3 * np.random.default_rng(3).standard_normal(shape)).astype(np.float32)
    config = {"model_type": "toy-linear", "layout": layout, "levels": levels, "gain": gain}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    safetensors.numpy.save_file({"weight": weight.reshape(CONTEXT, -1)}, folder / "model.safetensors")
    return weight[:, :, levels.index(0.5) if 0.5 in levels else 0] * np.float32(gain)


def make_window() -> Window:
    return np.random.default_rng(4).standard_normal((CONTEXT, CHANNELS)).cumsum(axis=0).astype(np.float32)


@pytest.mark.parametrize("layout", ["series", "window"])
@pytest.mark.parametrize(("levels", "gain"), [([], 1), (LEVELS, 1), ([], GAIN), (LEVELS, GAIN)])
def test_a_registered_family_is_converted_compared_and_loaded(
    toy: None, tmp_path: Path, layout: str, levels: list[float], gain: float
) -> None:
    points = make_source(tmp_path / "source", layout, levels, gain)
    folder = open_forecaster(convert_forecaster(str(tmp_path / "source"), tmp_path / "models" / "linear"))
    manifest = folder.manifest
    assert (manifest.layout, manifest.context, manifest.horizon) == (layout, CONTEXT, HORIZON)
    assert manifest.parity.keys() == set(Toy.kinds)
    assert max(manifest.parity.values()) <= 1e-6
    assert manifest.tools.keys() == {"vinocast", "numpy", "openvino", "torch"}
    graph = ov.Core().read_model(folder.path / "model.xml")
    assert [port.any_name for port in (*graph.inputs, *graph.outputs)] == ["window", "forecast"]

    forecaster, window = ForecastEngine(folder), make_window()
    forecaster.load(Compiler(PROFILES["native"], cpu_budget()))
    forecast, _ = forecaster.forecast(window, range(CHANNELS))
    np.testing.assert_allclose(forecast, (window.T @ points).T, rtol=1e-4, atol=1e-5)


def test_a_service_needs_no_registration_to_serve_it(toy: None, tmp_path: Path) -> None:
    points, window = make_source(tmp_path / "source"), make_window()
    convert_forecaster(str(tmp_path / "source"), tmp_path / "models" / "linear", channels=["a", "b", "c"])
    expected = (window.T @ points).T
    with StdioService("--models", tmp_path / "models") as service:
        reply = service.ask(rows(window))
        assert reply["model"] == "linear"
        np.testing.assert_allclose(reply["predictions"], expected, rtol=1e-4, atol=1e-5)
    with HttpService("--models", tmp_path / "models") as service:
        reply = httpx.post(f"{service.url}/forecast", json=rows(window, targets=["c", "a"])).json()
        np.testing.assert_allclose(reply["predictions"], expected[:, [2, 0]], rtol=1e-4, atol=1e-5)


def test_a_source_of_no_family_is_refused_with_the_families_there_are(tmp_path: Path) -> None:
    make_source(tmp_path / "source")
    sentence = "source: config.json is of no family that can be converted (its model_type: 'toy-linear'); there are: "
    with pytest.raises(SetupError, match=re.escape(sentence)) as refused:
        convert_forecaster(str(tmp_path / "source"), tmp_path / "models" / "linear")
    assert str(refused.value) == sentence + "patchtst"
    assert not (tmp_path / "models").exists()


def test_a_model_that_is_not_what_its_source_computes_is_refused(
    toy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_source(tmp_path / "source")
    monkeypatch.setattr(Toy, "torch_model", lambda self, weights: ToyModel(weights["weight"] * 1.001, self.config))
    with pytest.raises(SetupError, match="the converted model differs from the source by"):
        convert_forecaster(str(tmp_path / "source"), tmp_path / "models" / "linear")
    assert list((tmp_path / "models").iterdir()) == []


def test_quantiles_without_a_median_are_refused(toy: None, tmp_path: Path) -> None:
    make_source(tmp_path / "source", levels=[0.1, 0.9])
    with pytest.raises(SetupError, match=r"quantiles \(0\.1, 0\.9\): without the median, no points"):
        convert_forecaster(str(tmp_path / "source"), tmp_path / "models" / "linear")


def test_nothing_outside_its_folder_names_a_family() -> None:
    package = ROOT / "service" / "vinocast"
    # What is of one architecture by its nature, and the name of the bundled model, which a service knows.
    rooms, bundled = ("forecast", "training", "data"), "patchtst-etth1"
    for family in families():
        own = package / "export" / "families" / family
        assert own.is_dir()
        for path in package.rglob("*.py"):
            if not path.is_relative_to(own) and path.relative_to(package).parts[0] not in rooms:
                assert family not in path.read_text().lower().replace(bundled, ""), path
