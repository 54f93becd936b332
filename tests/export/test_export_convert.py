"""A conversion: what it leaves, what it refuses, and that it leaves nothing half done."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
import safetensors.torch
import torch
from support import wait_until
from transformers import PatchTSTForPrediction
from vinocast.engine.manifest import golden_vectors
from vinocast.errors import SetupError
from vinocast.export.convert import convert_forecaster
from vinocast.export.generated import KINDS
from vinocast.export.parity import BOUNDS, TORCH_FACTOR
from vinocast.forecast.manifest import Metric, open_forecaster

MakeCheckpoint = Callable[..., Path]


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names(folder)}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "models" / "tiny"


@pytest.mark.parametrize(
    "overrides", [{}, {"share_embedding": False}, {"channel_attention": True, "num_input_channels": 12}]
)
def test_a_model_folder_is_complete(make_checkpoint: MakeCheckpoint, output: Path, overrides: dict[str, Any]) -> None:
    folder = make_checkpoint(**overrides)
    assert convert_forecaster(str(folder), output) == output
    assert names(output) == ["golden.npz", "manifest.json", "model.bin", "model.xml"]
    assert list(output.parent.iterdir()) == [output]
    model = open_forecaster(output)
    model.verify()
    manifest = model.manifest
    assert set(manifest.files) == {"golden.npz", "model.bin", "model.xml"}
    assert (manifest.name, manifest.context, manifest.horizon, manifest.precision) == ("tiny", 43, 6, "f32")
    assert manifest.channels == [f"channel_{index}" for index in range(overrides.get("num_input_channels", 3))]
    assert manifest.source.name == "source"
    assert set(manifest.source.sha256) == {"config.json", "model.safetensors"}
    assert {"openvino", "torch", "transformers", "vinocast"} <= manifest.tools.keys()

    inputs, outputs = golden_vectors(model, model.read(), "inputs", "outputs")
    channels = len(manifest.channels)
    if manifest.layout == "series":
        assert inputs.shape == (10, 43)
        assert outputs.shape == (10, 6)
    else:
        assert inputs.shape == (-(-10 // channels), 43, channels)
        assert outputs.shape == (-(-10 // channels), 6, channels)
    assert inputs.dtype == outputs.dtype == np.float32
    compiled = ov.Core().compile_model(output / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert compiled.input(0).any_name == "past_values"
    assert compiled.output(0).any_name == "prediction_outputs"
    np.testing.assert_allclose(compiled(inputs)[0], outputs, rtol=1e-5, atol=1e-6)


def test_parity_is_measured_on_every_kind_of_window(make_checkpoint: MakeCheckpoint, output: Path) -> None:
    convert_forecaster(str(make_checkpoint()), output)
    parity = open_forecaster(output).manifest.parity
    assert {name for name in parity if "," not in name} == set(KINDS)
    for kind in KINDS:
        assert 0 <= parity[kind] <= max(1e-5, TORCH_FACTOR * parity.get(f"{kind}, transformers in float32", 0))
    assert all(parity[kind] <= 1e-5 for kind in ("noise", "walk", "seasonal", "huge", "tiny"))


@pytest.mark.parametrize("scaling", ["mean", None])
def test_every_kind_of_window_holds_for_other_scalers(
    make_checkpoint: MakeCheckpoint, output: Path, scaling: str | None
) -> None:
    convert_forecaster(str(make_checkpoint(scaling=scaling)), output)
    assert max(open_forecaster(output).manifest.parity[kind] for kind in KINDS) <= 1e-4


def test_f16_halves_the_file_and_has_a_bound_of_its_own(make_checkpoint: MakeCheckpoint, output: Path) -> None:
    source = str(make_checkpoint())
    convert_forecaster(source, output)
    single = (output / "model.bin").stat().st_size
    convert_forecaster(source, output, precision="f16")
    manifest = open_forecaster(output).manifest
    assert manifest.precision == "f16"
    assert (output / "model.bin").stat().st_size < 0.6 * single
    assert 1e-5 < manifest.parity["noise"] < BOUNDS["f16"]


def test_metrics_command_and_weights_of_a_model_trained_here(make_checkpoint: MakeCheckpoint, output: Path) -> None:
    folder = make_checkpoint()
    metric = Metric(dataset="ETTh1", split="test", protocol="long-term forecasting", windows=2785, mse=0.38, mae=0.41)
    convert_forecaster(
        str(folder), output, channels=["a", "b", "c"], keep_source=True, metrics=[metric], command="vinocast train"
    )
    manifest = open_forecaster(output).manifest
    assert manifest.channels == ["a", "b", "c"]
    assert manifest.metrics == [metric]
    assert manifest.command == "vinocast train"
    for name in ("config.json", "model.safetensors"):
        assert (output / "source" / name).read_bytes() == (folder / name).read_bytes()
        assert f"source/{name}" in manifest.files


def test_the_same_again_is_a_no_op_that_says_so(
    make_checkpoint: MakeCheckpoint, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_checkpoint()
    convert_forecaster(str(folder), output)
    inode = output.stat().st_ino
    moved = folder.rename(folder.with_name("elsewhere"))
    capsys.readouterr()
    convert_forecaster(str(moved), output)
    captured = capsys.readouterr()
    assert "nothing to do" in captured.err
    assert captured.out == ""
    assert output.stat().st_ino == inode


def test_other_options_or_a_changed_source_convert_again(make_checkpoint: MakeCheckpoint, output: Path) -> None:
    folder = make_checkpoint()
    seen = [contents(convert_forecaster(str(folder), output))]
    seen.append(contents(convert_forecaster(str(folder), output, channels=["a", "b", "c"])))
    seen.append(contents(convert_forecaster(str(folder), output, keep_source=True)))
    make_checkpoint(seed=1)
    seen.append(contents(convert_forecaster(str(folder), output)))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"norm_eps": 1e-3}))
    seen.append(contents(convert_forecaster(str(folder), output)))
    manifests = [model["manifest.json"] for model in seen]
    assert len(set(manifests)) == len(manifests)
    assert seen[3]["model.bin"] != seen[2]["model.bin"]
    assert seen[4]["model.bin"] != seen[3]["model.bin"]
    open_forecaster(output).verify()


@pytest.mark.parametrize("name", ["model.bin", "golden.npz", "manifest.json"])
def test_a_damaged_model_is_made_again(make_checkpoint: MakeCheckpoint, output: Path, name: str) -> None:
    source = str(make_checkpoint())
    convert_forecaster(source, output)
    (output / name).write_bytes(b"{}")
    convert_forecaster(source, output)
    open_forecaster(output).verify()


def test_a_failed_conversion_leaves_the_old_model_and_nothing_else(
    make_checkpoint: MakeCheckpoint, output: Path
) -> None:
    folder = make_checkpoint()
    convert_forecaster(str(folder), output)
    before = contents(output)
    path = folder / "model.safetensors"
    state = safetensors.torch.load(path.read_bytes())
    state["head.projection.weight"].fill_(3e38)  # finite, yet not every forecast is
    safetensors.torch.save_file(state, path)
    with pytest.raises(SetupError, match="differs from the source by"):
        convert_forecaster(str(folder), output)
    assert contents(output) == before
    assert list(output.parent.iterdir()) == [output]


def test_files_that_no_conversion_wrote_are_not_deleted(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    source = make_checkpoint()
    before = contents(source)
    with pytest.raises(SetupError, match="is not empty and no model folder"):
        convert_forecaster(str(source), source)
    assert contents(source) == before

    output = tmp_path / "model"
    output.mkdir()  # an empty folder may be used
    convert_forecaster(str(source), output)
    (output / "notes.txt").write_text("mine")
    with pytest.raises(SetupError, match=r"holds files that are no model's, move them first: notes\.txt"):
        convert_forecaster(str(source), output, precision="f16")
    assert (output / "notes.txt").read_text() == "mine"

    file = tmp_path / "file"
    file.write_text("mine")
    for path in (file, file / "model"):
        with pytest.raises(SetupError, match="file"):
            convert_forecaster(str(source), path)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("channels", [["a"], ["a", "b", "b"], ["a", "b", ""]])
def test_channels_need_one_name_each(make_checkpoint: MakeCheckpoint, output: Path, channels: list[str]) -> None:
    with pytest.raises(SetupError, match="channels: the model has 3"):
        convert_forecaster(str(make_checkpoint()), output, channels=channels)
    assert not output.parent.exists()


def test_an_unknown_precision_is_refused(make_checkpoint: MakeCheckpoint, output: Path) -> None:
    with pytest.raises(SetupError, match="no precision 'int4': choose one of f32, f16"):
        convert_forecaster(str(make_checkpoint()), output, precision="int4")


def test_conversions_at_the_same_time_leave_one_whole_model(make_checkpoint: MakeCheckpoint, output: Path) -> None:
    sources = [str(make_checkpoint(name, seed)) for name, seed in (("one", 1), ("two", 2))]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(convert_forecaster, sources * 3, [output] * 6)) == [output] * 6
    model = open_forecaster(output)
    model.verify()
    assert model.manifest.source.name in {"one", "two"}
    assert list(output.parent.iterdir()) == [output]


def test_a_conversion_does_not_look_while_another_is_between_taking_away_and_putting(
    make_checkpoint: MakeCheckpoint, output: Path
) -> None:
    source = str(make_checkpoint())
    convert_forecaster(source, output)
    manifest = (output / "manifest.json").rename(output.parent / "away")
    parent = os.open(output.parent, os.O_RDONLY)
    try:
        fcntl.flock(parent, fcntl.LOCK_EX)
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(convert_forecaster, source, output)
            inode = f":{os.fstat(parent).st_ino} "
            wait_until(
                lambda: (
                    other.done()
                    or any("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines())
                ),
                "the other conversion waits",
            )
            manifest.rename(output / "manifest.json")
            fcntl.flock(parent, fcntl.LOCK_UN)
            assert other.result() == output
    finally:
        os.close(parent)


def test_the_old_model_returns_when_the_new_one_cannot_take_its_place(
    make_checkpoint: MakeCheckpoint, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(make_checkpoint())
    convert_forecaster(source, output)
    before = contents(output)
    rename = Path.rename

    def refuse_new(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    with pytest.raises(SetupError, match="No space left on device"):
        convert_forecaster(source, output, precision="f16")
    assert contents(output) == before
    assert list(output.parent.iterdir()) == [output]


def test_models_are_put_in_place_one_at_a_time(make_checkpoint: MakeCheckpoint, output: Path) -> None:
    source = str(make_checkpoint())
    output.parent.mkdir()
    parent = os.open(output.parent, os.O_RDONLY)
    with ThreadPoolExecutor(1) as pool:
        try:
            fcntl.flock(parent, fcntl.LOCK_EX)
            conversion = pool.submit(convert_forecaster, source, output)
            deadline = time.monotonic() + 60
            while not list(output.parent.glob(".tiny.*/new/manifest.json")):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            with pytest.raises(TimeoutError):
                conversion.result(timeout=0.5)
            assert not output.exists()
        finally:
            os.close(parent)
        assert conversion.result() == output
    assert list(output.parent.iterdir()) == [output]


def test_a_link_is_followed_to_the_model_behind_it(make_checkpoint: MakeCheckpoint, output: Path) -> None:
    source = make_checkpoint()
    convert_forecaster(str(source), output)
    link = source.parent / "link"
    link.symlink_to(output)
    convert_forecaster(str(source), link, precision="f16")
    assert link.is_symlink()
    assert open_forecaster(output).manifest.precision == "f16"


def test_the_kept_source_converts_to_the_same_model(make_checkpoint: MakeCheckpoint, output: Path) -> None:
    folder = make_checkpoint()
    convert_forecaster(str(folder), output, keep_source=True)
    shutil.rmtree(folder)
    again = convert_forecaster(str(output / "source"), output.with_name("again"))
    assert (again / "model.bin").read_bytes() == (output / "model.bin").read_bytes()


@pytest.mark.shared_data
def test_granite_is_exact(granite: Path, output: Path) -> None:
    convert_forecaster(str(granite), output)
    model = open_forecaster(output)
    assert model.manifest.layout == "series"
    assert (model.manifest.context, model.manifest.horizon, len(model.manifest.channels)) == (512, 96, 7)
    assert max(model.manifest.parity[kind] for kind in ("noise", "walk", "seasonal", "huge", "tiny")) <= 1e-5
    reference = PatchTSTForPrediction.from_pretrained(granite, dtype=torch.float32).eval()
    series = np.random.default_rng(0).standard_normal((7, 512)).cumsum(1).astype(np.float32)
    with torch.inference_mode():
        expected = reference(torch.from_numpy(series.T[None].copy())).prediction_outputs[0].numpy().T
    compiled = ov.Core().compile_model(output / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for count in (1, 7):
        error = np.abs(compiled(series[:count])[0] - expected[:count]) / series[:count].std(1, keepdims=True)
        assert error.max() <= 1e-5


def test_a_source_beyond_what_is_served_is_told_before_the_work(
    make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    source = make_checkpoint(context_length=100_000, patch_length=10_000, patch_stride=10_000)
    with pytest.raises(SetupError, match="source is beyond what is served: context: "):
        convert_forecaster(str(source), tmp_path / "out")
    assert not (tmp_path / "out").exists()
