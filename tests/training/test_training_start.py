"""What training begins with: any PatchTST of which channels share one net, wherever its weights are kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support import MODEL, ROOT
from transformers import PatchTSTConfig, PatchTSTForPrediction
from vinocast.data.splits import Dataset, divide_by_share, standards
from vinocast.errors import SetupError
from vinocast.training import checkpoint
from vinocast.training.forecast import CHECKPOINT_FILE, split_windows, train_forecaster
from vinocast.training.patchtst import Dropout, forward, new_model, standardise
from vinocast.training.recipe import Recipe
from vinocast.training.regress import ForecasterLearner
from vinocast.training.start import SCRATCH, from_scratch, read_start

BUNDLED = ROOT / "models"
SMALL: dict[str, Any] = {
    "num_input_channels": 2,
    "context_length": 48,
    "prediction_length": 12,
    "patch_length": 8,
    "patch_stride": 8,
    "d_model": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "ffn_dim": 32,
    "use_cls_token": True,
    "pooling_type": None,
    "positional_encoding_type": "sincos",
    "scaling": "std",
    "loss": "mse",
}
RECIPE = Recipe(steps=6, batch=8, evaluate_every=2, validation_stride=5, bf16=False, learning_rate=1e-3)


pytestmark = pytest.mark.usefixtures("one_thread")


def make_source(folder: Path, **config: Any) -> Path:
    """Write a small PatchTST as a Hugging Face folder."""
    torch.manual_seed(5)
    PatchTSTForPrediction(PatchTSTConfig(**SMALL | config)).eval().save_pretrained(folder)
    return folder


def make_data(values: NDArray[np.float64], columns: tuple[str, ...] = ("up", "down")) -> Dataset:
    targets = divide_by_share(len(values), 0.2, 0.2)
    mean, deviation = standards(values, columns, targets["train"], "waves")
    sha256 = hashlib.sha256(values.tobytes()).hexdigest()
    return Dataset(values, sha256, "waves", columns, targets, mean, deviation, "by share", ("--data", "waves.csv"), 12)


@pytest.fixture(scope="module")
def waves() -> NDArray[np.float64]:
    steps = np.arange(600)
    noise = np.random.default_rng(3).standard_normal((600, 2))
    return np.stack([np.sin(steps / 2), 1e3 * np.cos(steps / 5)], 1) + noise * [0.1, 100]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"use_cls_token": False, "pooling_type": "mean"},
        {"use_cls_token": False, "pooling_type": None},
        {"norm_type": "layernorm", "pre_norm": False},
        {"patch_stride": 4},
        {"activation_function": "relu", "attention_dropout": 0.1},
    ],
    ids=["like Granite", "mean", "flat", "post-layernorm", "overlapping patches", "relu"],
)
def test_any_patchtst_is_trained_and_resumed_bit_for_bit(
    tmp_path: Path, waves: NDArray[np.float64], config: dict[str, Any]
) -> None:
    start = read_start(str(make_source(tmp_path / "source", **config)), BUNDLED)
    assert (start.context, start.horizon, start.name) == (48, 12, "source")
    model = start.model(RECIPE, channels=2).eval()
    windows = torch.from_numpy(waves[:96].reshape(2, 48, 2).astype(np.float32))
    series, mean, deviation = standardise(windows.transpose(1, 2).flatten(0, 1))
    with torch.no_grad():
        expected = model(past_values=windows).prediction_outputs.transpose(1, 2).flatten(0, 1)
        one = start.model(RECIPE).eval()
        torch.testing.assert_close(forward(one, series, Dropout()) * deviation + mean, expected, rtol=1e-4, atol=1e-3)

    data = make_data(waves)
    whole = train_forecaster(data, tmp_path / "whole", RECIPE, 1, start=start)

    stopped = ForecasterLearner(
        RECIPE, split_windows(data, "train", start), split_windows(data, "validation", start, 5), start=start
    )
    stopped.begin()
    for _ in range(4):
        stopped.advance()
        if stopped.evaluation_is_due:
            stopped.evaluate()
    tensors, progress = stopped.state()
    identity = {"data": data.identity, "recipe": asdict(RECIPE), **start.identity}
    (tmp_path / "parts").mkdir()
    checkpoint.save(tmp_path / "parts" / CHECKPOINT_FILE, tensors, {"identity": identity, "progress": progress})
    torch.manual_seed(77)
    resumed = train_forecaster(data, tmp_path / "parts", RECIPE, 1, start=start)
    assert resumed["history"] == whole["history"]
    assert [entry["step"] for entry in whole["history"]] == [0, 2, 4, 6]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]


def test_the_checkpoint_of_another_kind_of_training_is_refused(tmp_path: Path, waves: NDArray[np.float64]) -> None:
    checkpoint.save(tmp_path / CHECKPOINT_FILE, {"weights.a": torch.ones(1)}, {"recipe": {}, "progress": {}})
    with pytest.raises(SetupError, match="is of another kind of training: name another --output"):
        train_forecaster(make_data(waves), tmp_path, replace(RECIPE, steps=2), 1, start=from_scratch(48, 12))


def test_what_training_does_not_better_stays_as_it_was(tmp_path: Path, waves: NDArray[np.float64]) -> None:
    start = read_start(str(make_source(tmp_path / "source")), BUNDLED)
    ruinous = replace(RECIPE, learning_rate=3.0, ema=0.0)
    record = train_forecaster(make_data(waves), tmp_path / "model", ruinous, 1, start=start)
    assert record["best"]["step"] == 0
    after = PatchTSTForPrediction.from_pretrained(tmp_path / "model").state_dict()
    for name, tensor in start.model(RECIPE).state_dict().items():
        assert torch.equal(after[name], tensor), name


def test_test_rows_decide_no_weight(tmp_path: Path, waves: NDArray[np.float64]) -> None:
    """And validation rows decide nothing but which step is kept."""
    start = from_scratch(48, 12)
    changed = {}
    for name, split in (("as it is", None), ("test", "test"), ("validation", "validation"), ("train", "train")):
        values = waves.copy()
        if split is not None:
            values[slice(*divide_by_share(600, 0.2, 0.2)[split])] *= -7  # type: ignore[index]
        output = tmp_path / name
        record = train_forecaster(make_data(values), output, replace(RECIPE, steps=2), 1, start=start)
        changed[name] = (output / "model.safetensors").read_bytes(), record["history"][0]["loss"]
        assert record["data"]["columns"] == ["up", "down"]
    assert changed["test"] == changed["as it is"]
    assert changed["validation"] == changed["as it is"]
    assert changed["train"][0] != changed["as it is"][0]


def test_what_the_scaler_adds_follows_the_smallest_column(tmp_path: Path, waves: NDArray[np.float64]) -> None:
    """So that what was trained on standardised values is as right on those of the file."""
    values = waves * [1e-3, 1]
    data = make_data(values)
    train_forecaster(data, tmp_path / "model", replace(RECIPE, steps=2), 1, start=from_scratch(48, 12))
    model = PatchTSTForPrediction.from_pretrained(tmp_path / "model").eval()
    assert model.config.minimum_scale == pytest.approx(1e-5 * data.deviation[0] ** 2)
    with torch.no_grad():
        served, trained = (
            model(past_values=torch.from_numpy(rows[None, :48])).prediction_outputs[0].numpy()
            for rows in (data.asked("test", 48), data.rows("test", 48))
        )
    np.testing.assert_allclose((served - data.mean) / data.deviation, trained, atol=1e-4)

    # A column of large numbers takes nothing away from small ones.
    train_forecaster(
        make_data(waves * 1e3), tmp_path / "large", replace(RECIPE, steps=2), 1, start=from_scratch(48, 12)
    )
    assert "minimum_scale" not in json.loads((tmp_path / "large" / "config.json").read_text())


def test_the_bundled_model_is_found_by_name_and_by_folder() -> None:
    for name in (MODEL, str(BUNDLED / MODEL), str(BUNDLED / MODEL / "source")):
        start = read_start(name, BUNDLED)
        assert (start.context, start.horizon) == (512, 96)
        assert start.weights is not None
        weight = start.model(Recipe()).state_dict()["head.projection.bias"].numpy()
        np.testing.assert_array_equal(weight, start.weights["head.projection.bias"].astype(np.float32))
    assert read_start(MODEL, BUNDLED).name == MODEL


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"channel_attention": True}, "channels cannot stand for each other"),
        ({"share_embedding": False}, "channels cannot stand for each other"),
        ({"scaling": None}, "scaling None: only a model that standardises"),
        ({"scaling": "mean"}, "scaling 'mean': only a model that standardises"),
        ({"loss": "nll"}, "loss 'nll' makes the head predict a distribution"),
    ],
)
def test_what_cannot_be_trained_further_is_refused(tmp_path: Path, config: dict[str, Any], fault: str) -> None:
    with pytest.raises(SetupError, match=fault):
        read_start(str(make_source(tmp_path / "source", **config)), BUNDLED)


def test_a_model_without_its_source_and_a_name_of_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "manifest.json").write_text("{}")
    with pytest.raises(SetupError, match="does not keep what it was converted from"):
        read_start(str(tmp_path / "model"), BUNDLED)
    with pytest.raises(SetupError, match="no folder nothing"):
        read_start("nothing", BUNDLED)
    with pytest.raises(SetupError, match="a context of 12 rows is too short"):
        from_scratch(12, 1)


def test_scratch_is_granites_architecture() -> None:
    assert SCRATCH.identity == {}
    assert from_scratch(96, 24).identity == {"init": {"context_length": 96, "prediction_length": 24}}
    assert SCRATCH.model(Recipe(seed=1)).config.to_dict() == new_model(Recipe(seed=1)).config.to_dict()


def test_a_run_that_begins_elsewhere_is_another(tmp_path: Path, waves: NDArray[np.float64]) -> None:
    data = make_data(waves)
    train_forecaster(data, tmp_path / "model", replace(RECIPE, steps=2), 1, start=from_scratch(48, 12))
    with pytest.raises(SetupError, match="another model to begin with"):
        train_forecaster(data, tmp_path / "model", replace(RECIPE, steps=2), 1, start=from_scratch(48, 6))
    with pytest.raises(SetupError, match="other data"):
        train_forecaster(make_data(waves, ("up", "sideways")), tmp_path / "model", replace(RECIPE, steps=2), 1)


def test_a_split_without_a_window_is_refused_by_name(tmp_path: Path, waves: NDArray[np.float64]) -> None:
    with pytest.raises(SetupError, match="waves, train split: 360 rows hold no window of 512 and 96 steps"):
        train_forecaster(make_data(waves), tmp_path / "model", RECIPE, 1)
    short = make_data(waves[:140])
    with pytest.raises(SetupError, match="waves, validation split: 76 rows hold no window of 48 and 30 steps"):
        train_forecaster(short, tmp_path / "model", RECIPE, 1, start=from_scratch(48, 30))


def test_windows_are_drawn_from_standardised_rows(waves: NDArray[np.float64]) -> None:
    data = make_data(waves)
    train = data.standardised[:360]
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(train.std(axis=0), 1, atol=1e-6)
