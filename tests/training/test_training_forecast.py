"""``vinocast train forecast``: the folder it writes, what it may look at, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch
from support import SHARED_DATA
from transformers import PatchTSTForPrediction
from vinocast.data import etth1
from vinocast.data.windows import windows
from vinocast.errors import SetupError
from vinocast.forecast.manifest import open_forecaster
from vinocast.training import checkpoint
from vinocast.training.forecast import CHECKPOINT_FILE, train_forecaster
from vinocast.training.recipe import Recipe
from vinocast.training.regress import ForecasterLearner

ROOT = Path(__file__).resolve().parent.parent.parent
RECIPE = Recipe(steps=4, batch=4, evaluate_every=2, validation_stride=500)

Vinocast = Callable[..., "CompletedProcess[str]"]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data() -> etth1.Etth1:
    """A data set whose test rows, and all after them, would turn everything that touches them into NaN."""
    values = (np.random.default_rng(1).standard_normal((etth1.ROWS, 7)).cumsum(axis=0) / 50).astype(np.float32)
    values[11520:] = np.nan
    return etth1.Etth1(values, hashlib.sha256(values.tobytes()).hexdigest())


def begin(data: etth1.Etth1, recipe: Recipe) -> ForecasterLearner:
    train, validation = (data.rows(split, 512) for split in ("train", "validation"))
    return ForecasterLearner(
        recipe,
        windows(train, 512, 96),
        windows(validation, 512, 96, recipe.validation_stride),
    )


def steps(run: ForecasterLearner, count: int) -> ForecasterLearner:
    for _ in range(count):
        run.advance()
        if run.evaluation_is_due:
            run.evaluate()
    return run


@pytest.fixture
def interrupted(data: etth1.Etth1, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was stopped after two of four steps."""
    output = tmp_path_factory.mktemp("interrupted")
    tensors, progress = steps(begin(data, RECIPE), 2).state()
    identity = {"data": {"name": "ETTh1", "sha256": data.sha256}, "recipe": asdict(RECIPE)}
    checkpoint.save(output / CHECKPOINT_FILE, tensors, {"identity": identity, "progress": progress})
    return output


def test_a_folder_of_another_run_is_refused(data: etth1.Etth1, interrupted: Path, tmp_path: Path) -> None:
    before = (interrupted / CHECKPOINT_FILE).read_bytes()
    with pytest.raises(SetupError, match=r"is of another run \(seed 0, not 1\): name another --output"):
        train_forecaster(data, interrupted, replace(RECIPE, seed=1), threads=1)
    with pytest.raises(SetupError, match=r"is of another run \(other data\)"):
        train_forecaster(etth1.Etth1(data.values, "0"), interrupted, RECIPE, threads=1)
    assert [path.name for path in interrupted.iterdir()] == [CHECKPOINT_FILE]
    assert (interrupted / CHECKPOINT_FILE).read_bytes() == before

    (tmp_path / "model.safetensors").write_bytes(b"of the user")
    with pytest.raises(SetupError, match="holds a model from elsewhere"):
        train_forecaster(data, tmp_path, RECIPE, threads=1)
    with pytest.raises(SetupError, match=r"File exists: .*name another --output"):
        train_forecaster(data, tmp_path / "model.safetensors", RECIPE, threads=1)


def test_an_interrupted_training_ends_in_a_hugging_face_folder(data: etth1.Etth1, interrupted: Path) -> None:
    record = train_forecaster(data, interrupted, RECIPE, threads=1)
    assert sorted(path.name for path in interrupted.iterdir()) == ["config.json", "model.safetensors", "training.json"]
    assert record == json.loads((interrupted / "training.json").read_text())

    model, loading = PatchTSTForPrediction.from_pretrained(interrupted, output_loading_info=True)
    assert not any(loading.values())
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == 616_038
    assert (model.config.num_input_channels, model.config.ff_dropout) == (7, RECIPE.ffn_dropout)
    assert model.head.projection.weight.dtype == torch.float32

    uninterrupted = steps(begin(data, RECIPE), 4)
    assert record["best"] == asdict(uninterrupted.progress.best)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, uninterrupted.best[name]), name

    pasts, futures = windows(data.rows("validation", 512), 512, 96, RECIPE.validation_stride)
    with torch.no_grad():
        forecast = model.eval()(past_values=torch.from_numpy(pasts.copy()).transpose(1, 2)).prediction_outputs
    error = forecast.transpose(1, 2).numpy() - futures
    assert record["validation"] == {
        "windows": len(pasts),
        "mse": pytest.approx(np.square(error).mean(), rel=1e-5),
        "mae": pytest.approx(np.abs(error).mean(), rel=1e-5),
    }

    assert record["recipe"] == asdict(RECIPE)
    assert record["steps"] == 4
    assert record["tools"]["torch"] == torch.__version__
    assert record["command"].startswith(f"vinocast train forecast --data ETTh1.csv --output {interrupted.name}")
    assert "--steps 4" in record["command"]
    assert "--sign-flips true" in record["command"]
    assert "/" not in record["command"]

    # Once more: nothing is trained, nothing is written.
    before = {path: path.stat().st_mtime_ns for path in interrupted.iterdir()}
    assert train_forecaster(data, interrupted, RECIPE, threads=1) == record
    assert {path: path.stat().st_mtime_ns for path in interrupted.iterdir()} == before
    with pytest.raises(SetupError, match=r"training.json is of another run \(steps 4, not 5\)"):
        train_forecaster(data, interrupted, replace(RECIPE, steps=5), threads=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.shared_data
def test_the_command_trains_on_the_published_file(tmp_path: Path, run_vinocast: Vinocast) -> None:
    sizes = ["--steps", "2", "--batch", "4", "--evaluate-every", "1", "--validation-stride", "500", "--bf16", "false"]
    data, output = SHARED_DATA / "ETTh1.csv", tmp_path / "model"
    options = ("--data", data, "--output", output, "--threads", "1", *sizes)
    done = run_vinocast("train", "forecast", *options, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.match(rf"{output}: step \d of 2, validation MSE \S+, MAE \S+ over 6 windows\n", done.stdout)
    assert [metric.windows for metric in open_forecaster(output).manifest.metrics] == [2785, 2785]
    assert "step 1: loss" in done.stderr
    record = json.loads((output / "training.json").read_text())
    assert record["data"] == {"name": "ETTh1", "sha256": etth1.SHA256}
    assert shlex.join(sizes[:2]) in record["command"]
    assert "--bf16 false" in record["command"]


def test_every_field_of_the_recipe_is_an_option(run_vinocast: Vinocast) -> None:
    done = run_vinocast("train", "forecast", "--help")
    for field in fields(Recipe):
        assert f"--{field.name.replace('_', '-')} " in done.stdout
        assert f"VINOCAST_TRAIN_FORECAST_{field.name.upper()}" in done.stdout
    assert "forecast" in run_vinocast("train", "--help").stdout
    for arguments in (["train", "glyph"], ["train", "forecast"], ["train", "forecast", "--head-dropout", "1.5"]):
        assert run_vinocast(*arguments).returncode == 2


def test_a_service_never_imports_the_training_room() -> None:
    program = """
import sys, vinocast.cli
import vinocast.transports.stdio, vinocast.engine.repository
print([name for name in sys.modules if name.split(".")[0] == "torch" or name.startswith("vinocast.training")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
