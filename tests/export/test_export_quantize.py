"""An int8 model: what is quantized and what is left, how near it comes, and when it is made anew."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import orjson
import pytest
from support import MODEL, MODELS, RunVinocast
from vinocast.data.series import bundled_series, read_series
from vinocast.export.convert import convert_forecaster
from vinocast.export.generated import KINDS
from vinocast.export.parity import BOUNDS
from vinocast.export.quantize import fuse_gelu
from vinocast.forecast.manifest import open_forecaster

MakeCheckpoint = Callable[..., Path]


def operations(model: ov.Model, kind: str) -> list[ov.Node]:
    return [node for node in model.get_ops() if node.get_type_name() == kind]


def producer(node: ov.Node, index: int) -> str:
    return str(node.input_value(index).get_node().get_type_name())


@pytest.fixture(scope="module")
def bundled_int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("models") / "int8"
    return convert_forecaster(str(MODELS / MODEL / "source"), output, precision="int8")


def test_linear_maps_are_quantized_and_softmax_and_scaler_are_not(bundled_int8: Path) -> None:
    model = ov.Core().read_model(bundled_int8 / "model.xml")
    linear = [node for node in operations(model, "MatMul") if producer(node, 1) == "Multiply"]
    assert len(linear) == 14
    for node in linear:
        assert producer(node, 0) == "FakeQuantize"
        stored = node.input_value(1).get_node().input_value(0).get_node().input_value(0).get_node()
        assert stored.get_element_type() == ov.Type.i8
    quantized = ("FakeQuantize", "Convert")
    for kind in ("Softmax", "ReduceMean", "Sqrt", "Divide", "Gelu"):
        assert operations(model, kind), kind
        for node in operations(model, kind):
            assert all(producer(node, index) not in quantized for index in range(node.get_input_size())), kind
    assert operations(model, "Erf") == []
    single = MODELS / MODEL / "model.bin"
    assert (bundled_int8 / "model.bin").stat().st_size < 0.3 * single.stat().st_size


def test_forecasts_of_values_it_was_not_calibrated_on_are_as_good_as_in_f32(bundled_int8: Path) -> None:
    manifest = open_forecaster(bundled_int8).manifest
    series = read_series(bundled_series(), manifest.channels, independent=True)
    pasts, futures = series.held_back(manifest.context, manifest.horizon)
    answers = {}
    for name, folder in (("f32", MODELS / MODEL), ("int8", bundled_int8)):
        compiled = ov.Core().compile_model(folder / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        answers[name] = np.stack([compiled(np.ascontiguousarray(past.T))[0].T for past in pasts[::4]]).astype(float)
    errors = {name: np.square((answer - futures[::4]) / series.deviation).mean() for name, answer in answers.items()}
    assert errors["int8"] == pytest.approx(errors["f32"], rel=0.005)
    difference = np.abs(answers["int8"] - answers["f32"]) / pasts[::4].std(axis=1, keepdims=True).clip(1e-3)
    assert 0 < difference.mean() < 0.05


def test_its_differences_are_in_the_manifest(bundled_int8: Path) -> None:
    manifest = open_forecaster(bundled_int8).manifest
    assert manifest.precision == "int8"
    assert 1e-3 < max(manifest.parity[kind] for kind in KINDS) < BOUNDS["int8"]
    assert manifest.source.options["calibration"] == hashlib.sha256(bundled_series().read_bytes()).hexdigest()
    assert "nncf" in manifest.tools


@pytest.mark.parametrize("profile", ["epyc-7763", "native"])
def test_it_passes_its_self_test_under_every_instruction_set_and_other_weights_do_not(
    bundled_int8: Path, tmp_path: Path, run_vinocast: RunVinocast, profile: str
) -> None:
    done = run_vinocast("doctor", "--models", bundled_int8.parent, "--profile", profile)
    assert done.returncode == 0, done.stdout
    assert "weights int8; hashes and golden vectors right" in done.stdout

    # Weights of another model under a manifest that vouches for them: only the golden vectors can tell.
    broken = tmp_path / "int8"
    broken.mkdir()
    for file in bundled_int8.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = bytearray((broken / "model.bin").read_bytes())
    middle = slice(len(weights) // 3, len(weights) // 2)
    weights[middle] = bytes(reversed(weights[middle]))
    (broken / "model.bin").write_bytes(weights)
    manifest = orjson.loads((broken / "manifest.json").read_bytes())
    manifest["files"]["model.bin"] = hashlib.sha256(weights).hexdigest()
    (broken / "manifest.json").write_bytes(orjson.dumps(manifest))
    done = run_vinocast("doctor", "--models", tmp_path, "--profile", profile)
    assert done.returncode == 1
    assert "golden vectors come out" in done.stdout


@pytest.fixture
def recordings(tmp_path: Path, rng: np.random.Generator) -> list[Path]:
    paths = [tmp_path / "one.csv", tmp_path / "another.csv"]
    for path in paths:
        np.savetxt(path, rng.standard_normal((100, 4)).cumsum(axis=0), delimiter=",", header="t,a,b,c", comments="")
    return paths


def test_the_same_again_is_a_no_op_and_another_calibration_is_not(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, recordings: list[Path]
) -> None:
    source, output = str(make_checkpoint()), tmp_path / "models" / "tiny"
    convert_forecaster(source, output, precision="int8", calibration=recordings[0])
    inode = output.stat().st_ino
    convert_forecaster(source, output, precision="int8", calibration=recordings[0].rename(tmp_path / "moved.csv"))
    assert output.stat().st_ino == inode
    convert_forecaster(source, output, precision="int8", calibration=recordings[1])
    assert output.stat().st_ino != inode
    open_forecaster(output).verify()


def test_channels_that_need_each_other_are_calibrated_together(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, recordings: list[Path]
) -> None:
    output = tmp_path / "models" / "tiny"
    convert_forecaster(
        str(make_checkpoint(channel_attention=True)), output, precision="int8", calibration=recordings[0]
    )
    manifest = open_forecaster(output).manifest
    assert (manifest.layout, manifest.precision) == ("window", "int8")


def test_a_calibration_without_int8_is_a_usage_error(tmp_path: Path, run_vinocast: RunVinocast) -> None:
    done = run_vinocast("convert", tmp_path, "--output", tmp_path / "out", "--calibration", bundled_series())
    assert done.returncode == 2
    assert "--calibration is for --precision int8 alone" in done.stderr


def test_fusing_the_gelu_changes_no_number() -> None:
    model = ov.Core().read_model(MODELS / MODEL / "model.xml")
    fused = fuse_gelu(model)
    assert (len(operations(model, "Erf")), len(operations(model, "Gelu"))) == (3, 0)
    assert (len(operations(fused, "Erf")), len(operations(fused, "Gelu"))) == (0, 3)
    inputs = np.random.default_rng(0).standard_normal((4, 512)).cumsum(1).astype(np.float32)
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    expected, answer = (ov.Core().compile_model(graph, "CPU", config)(inputs)[0] for graph in (model, fused))
    np.testing.assert_allclose(answer / inputs.std(), expected / inputs.std(), atol=2e-6)
