"""A forecaster of one's own: from a table to a model that is served, with a card that says how good it is."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support import ROOT, VINOCAST, HttpService, RunVinocast, wait_until
from transformers import PatchTSTConfig, PatchTSTForPrediction
from vinocast.data.windows import windows
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.tuned import find_profile
from vinocast.evaluation.dataset import Division, read_dataset
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.manifest import open_forecaster
from vinocast.forecast.quantiles import deviations

SHARED_DATA = Path(os.environ.get("VINOCAST_SHARED_DATA", ROOT.parent / "shared" / "data"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Of a training of seconds, on a machine that does much else.
PATIENCE = 300
CONTEXT, HORIZON, ROWS = 48, 12, 1600
TRAIN, VALIDATION = 1120, 1280
SIZES = ["--batch", "16", "--evaluate-every", "4", "--validation-stride", "4", "--threads", "1", "--bf16", "false"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two series of a day each, one of them so small that its variance is nothing beside 1e-5."""
    path = tmp_path_factory.mktemp("data") / "mine.csv"
    steps = np.arange(ROWS)
    day = np.sin(steps * 2 * np.pi / 24)
    noise = np.random.default_rng(2).standard_normal((ROWS, 2))
    values = np.stack([50 + 8 * day + noise[:, 0], 1e-4 * (day + 0.1 * noise[:, 1])], 1)
    moments = np.datetime64("2025-01-01T00:00", "m") + np.timedelta64(60, "m") * steps
    rows = (f"{moment},{','.join(map(repr, row))}" for moment, row in zip(moments, values.tolist(), strict=True))
    path.write_text("\n".join(["time,load,tiny", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "small"
    torch.manual_seed(5)
    config = PatchTSTConfig(
        num_input_channels=1, context_length=CONTEXT, prediction_length=HORIZON, patch_length=8, patch_stride=8,
        d_model=16, num_attention_heads=2, num_hidden_layers=1, ffn_dim=32, use_cls_token=True, pooling_type=None,
        positional_encoding_type="sincos", scaling="std", loss="mse",
    )  # fmt: skip
    PatchTSTForPrediction(config).eval().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def own(table: Path, source: Path, tmp_path_factory: pytest.TempPathFactory, run_vinocast: RunVinocast) -> Path:
    """A model that was trained by the command."""
    output = tmp_path_factory.mktemp("models") / "own"
    options = ["--init", source, "--output", output, "--steps", "12", *SIZES]
    done = run_vinocast("train", "forecast", "--data", table, *options, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert re.match(rf"{output}: step \d+ of 12, validation MSE \S+, MAE \S+ over \d+ windows\n", done.stdout)
    return output


def read_values(table: Path) -> NDArray[np.float64]:
    return np.loadtxt(table, delimiter=",", skiprows=1, usecols=(1, 2))


def scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    standardised: NDArray[np.float64] = (values - values[:TRAIN].mean(axis=0)) / values[:TRAIN].std(axis=0)
    return standardised


def rows_of(card: str, title: str) -> dict[str, list[str]]:
    """The cells of the first table under a title, by the first cell."""
    part = card.partition(f"## {title}\n")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in cells[2:]}


def test_the_folder_is_a_model_with_its_source_its_card_and_its_record(own: Path, source: Path, table: Path) -> None:
    folder = open_forecaster(own)
    folder.verify()
    manifest = folder.manifest
    assert (manifest.name, manifest.layout, manifest.channels) == ("own", "series", ["load", "tiny"])
    assert (manifest.context, manifest.horizon) == (CONTEXT, HORIZON)
    assert [metric.split for metric in manifest.metrics] == ["validation", "test"]
    assert "rows divided by share: 0.7 train" in manifest.metrics[1].protocol
    assert {path.name for path in own.iterdir()} >= {"README.md", "training.json", "source", "model.xml", "golden.npz"}
    record = json.loads((own / "training.json").read_text())
    assert record["init"]["name"] == "small"
    assert record["data"]["targets"] == {
        "train": [0, TRAIN], "validation": [TRAIN, VALIDATION], "test": [VALIDATION, ROWS],
    }  # fmt: skip
    assert manifest.command == record["command"]
    assert "--init small" in record["command"]
    assert "/" not in record["command"]
    assert [path.name for path in own.parent.iterdir()] == ["own"]


def test_the_cards_figures_are_those_that_are_measured_anew(own: Path, source: Path, table: Path) -> None:
    card = (own / "README.md").read_text()
    found = rows_of(card, "On the test rows")
    rows = scaled(read_values(table))
    pasts, futures = (
        part.astype(np.float64) for part in windows(rows[VALIDATION - CONTEXT :].astype(np.float32), 48, 12)
    )

    def check(name: str, forecasts: NDArray[np.float64]) -> None:
        error = forecasts - futures
        assert found[name][:2] == [f"{np.square(error).mean():.4f}", f"{np.abs(error).mean():.4f}"], name

    def of(folder: Path) -> NDArray[np.float64]:
        model = PatchTSTForPrediction.from_pretrained(folder, num_input_channels=1).eval()
        with torch.no_grad():
            series = torch.from_numpy(pasts.reshape(-1, CONTEXT, 1).astype(np.float32))
            forecasts: NDArray[np.float32] = model(past_values=series).prediction_outputs.numpy()
        return forecasts.astype(np.float64).reshape(futures.shape)

    check("**this model**", of(own / "source"))
    check("small, before training", of(source))
    check("last value", np.repeat(pasts[..., -1:], HORIZON, -1))
    check("seasonal naive (24 rows)", pasts[..., 24:36])
    slope = (pasts[..., -1:] - pasts[..., :1]) / (CONTEXT - 1)
    check("drift", pasts[..., -1:] + slope * np.arange(1, HORIZON + 1))

    # The ridge of each column, of the penalty that validation prefers.
    forecasts = np.empty_like(futures)
    for column in range(2):
        trained = windows(rows[:TRAIN].astype(np.float32), CONTEXT, HORIZON)
        chosen = windows(rows[TRAIN - CONTEXT : VALIDATION].astype(np.float32), CONTEXT, HORIZON)
        x, y = (part[:, column].astype(np.float64) for part in trained)
        x, y = x - (mean := x.mean(1, keepdims=True)), y - mean
        gram, best = x.T @ x, (np.inf, np.empty(0))
        for penalty in 10.0 ** np.arange(6):
            weights = np.linalg.solve(gram + penalty * np.square(x).mean() * np.eye(CONTEXT), x.T @ y)
            past, future = (part[:, column].astype(np.float64) for part in chosen)
            level = past.mean(1, keepdims=True)
            error = float(np.square((past - level) @ weights + level - future).mean())
            best = min(best, (error, weights), key=lambda each: each[0])
        level = pasts[:, column].mean(1, keepdims=True)
        forecasts[:, column] = (pasts[:, column] - level) @ best[1] + level
    check("ridge, one regression a column and step", forecasts)


def test_the_card_says_wherever_another_is_better(own: Path) -> None:
    card = (own / "README.md").read_text()
    part = card.partition("## Where it loses\n")[2]
    scores = json.loads((own / "training.json").read_text())["test"]["scores"]
    for column in (None, "load", "tiny"):
        each = [scores_of if column is None else scores_of["columns"][column] for scores_of in scores]
        for figure in ("mse", "mae"):
            where = "Over all columns" if column is None else f"In {column}"
            for other, theirs in list(zip(scores, each, strict=True))[1:]:
                line = f"- {where} {other['forecaster']} has a lower {figure.upper()}: {theirs[figure]:.4f}"
                assert (line in part) == (theirs[figure] < each[0][figure]), line
    assert part.strip()


def test_evaluate_measures_what_the_card_says(own: Path, table: Path, run_vinocast: RunVinocast) -> None:
    done = run_vinocast("evaluate", own, "--data", table, "--json", "--profile", "native")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    test = json.loads((own / "training.json").read_text())["test"]
    assert (found["mse"], found["mae"]) == pytest.approx((test["mse"], test["mae"]), rel=1e-5)
    assert found["scores"][-1]["mase"] == pytest.approx(test["scores"][-1]["mase"], rel=1e-6)
    assert found["scores"][0]["columns"]["tiny"]["mse"] == pytest.approx(
        test["scores"][0]["columns"]["tiny"]["mse"], rel=1e-5
    )


def test_it_is_served_in_the_unit_of_the_file_as_it_was_trained_on_standardised_values(own: Path, table: Path) -> None:
    values = read_values(table)
    window = values[VALIDATION - CONTEXT : VALIDATION]
    levels = {"quantile_levels": [0.05, 0.95]}
    with HttpService("--models", str(own.parent)) as service:
        wait_until(lambda: httpx.get(f"{service.url}/readyz").status_code == 200, "it is ready")
        reply = httpx.post(f"{service.url}/forecast", json={"past_values": window.tolist(), **levels}).json()
    assert reply["success"], reply
    assert reply["model"] == "own"
    model = PatchTSTForPrediction.from_pretrained(own / "source").eval()
    past = scaled(values)[VALIDATION - CONTEXT : VALIDATION]
    with torch.no_grad():
        expected = model(past_values=torch.from_numpy(past[None].astype(np.float32))).prediction_outputs[0].numpy()
    answered = np.array(reply["predictions"])
    np.testing.assert_allclose(
        (answered - values[:TRAIN].mean(axis=0)) / values[:TRAIN].std(axis=0), expected, atol=1e-3
    )
    # The bands too are of the size of each column.
    low, high = (np.array(reply["quantiles"][level]) for level in ("0.05", "0.95"))
    assert (low < high).all()
    width = (high - low).mean(axis=0) / values[:TRAIN].std(axis=0)
    assert (width > 0.05).all()
    assert (width < 5).all()


def test_the_cards_bands_are_those_of_the_models_quantiles(own: Path, table: Path) -> None:
    values = read_values(table)
    tested = windows(values[VALIDATION - CONTEXT :].astype(np.float32), CONTEXT, HORIZON)
    engine = ForecastEngine(open_forecaster(own))
    engine.load(Compiler(find_profile("native"), cpu_budget()))
    inside = np.zeros(2)
    for past, future in zip(*tested, strict=True):
        points, _ = engine.forecast(past.T, range(2))
        scales = deviations(past, engine.manifest.minimum_variance)
        low, high = engine.quantiles([0.1, 0.9], points, scales, range(2))
        inside += ((low <= future.T) & (high >= future.T)).mean(axis=0) / len(tested.pasts)
    found = rows_of((own / "README.md").read_text(), "On the test rows")["**this model**"]
    assert found[4] == f"{inside.mean():.1%}"


def test_the_same_command_again_does_nothing(own: Path, source: Path, table: Path, run_vinocast: RunVinocast) -> None:
    before = {path: path.stat().st_mtime_ns for path in own.rglob("*")}
    options = ["--init", source, "--output", own, *SIZES]
    done = run_vinocast("train", "forecast", "--data", table, *options, "--steps", "12")
    assert done.returncode == 0, done.stderr
    assert "on the test rows: MSE" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in own.rglob("*")} == before
    done = run_vinocast("train", "forecast", "--data", table, *options, "--steps", "13")
    assert done.returncode == 1
    assert "is of another run (steps 12, not 13)" in done.stderr


def test_a_killed_training_goes_on_to_the_same_weights(
    own: Path, source: Path, table: Path, tmp_path: Path, run_vinocast: RunVinocast
) -> None:
    output = tmp_path / "models" / "own"
    command: list[Any] = [
        VINOCAST, "train", "forecast", "--data", table, "--init", source, "--output", output, "--steps", "12", *SIZES,
    ]  # fmt: skip
    silent = subprocess.DEVNULL
    with subprocess.Popen(list(map(str, command)), stdout=silent, stderr=silent) as process:
        wait_until(lambda: (output / "checkpoint.safetensors").exists() or process.poll() is not None, "a checkpoint")
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
    done = run_vinocast(*command[1:], timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    weights = [(folder / "source" / "model.safetensors").read_bytes() for folder in (own, output)]
    assert weights[0] == weights[1]
    assert (output / "README.md").read_text() == (own / "README.md").read_text()


def test_from_scratch_in_windows_of_another_length(table: Path, tmp_path: Path, run_vinocast: RunVinocast) -> None:
    output = tmp_path / "models" / "scratch"
    lengths = ["--context-length", "60", "--prediction-length", "10"]
    options = [*lengths, "--output", output, "--columns", "load", "--steps", "4", *SIZES]
    done = run_vinocast("train", "forecast", "--data", table, *options, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    manifest = open_forecaster(output).manifest
    assert (manifest.context, manifest.horizon, manifest.channels) == (60, 10, ["load"])
    assert "It began from scratch." in (output / "README.md").read_text()


@pytest.mark.parametrize(
    ("options", "code", "fault"),
    [
        (["--init", "none"], 1, "no folder none"),
        (["--init", "patchtst-etth1", "--context-length", "48"], 2, "--init brings its own lengths"),
        (
            ["--init", "patchtst-etth1", "--validation-share", "0.6"],
            1,
            "mine.csv, train split: 320 rows hold no window",
        ),
        (["--context-length", "12", "--prediction-length", "1"], 1, "a context of 12 rows is too short"),
        (["--context-length", "100000"], 2, "100000"),
        (["--columns", "load,wind"], 1, "no column 'wind'"),
        (["--protocol", "etth1"], 1, "mine.csv is not ETTh1"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(
    table: Path, tmp_path: Path, run_vinocast: RunVinocast, options: list[str], code: int, fault: str
) -> None:
    done = run_vinocast("train", "forecast", "--data", table, "--output", tmp_path / "own", *options)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert fault in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.shared_data
def test_the_recipe_of_the_documentation_makes_hours_that_follow_one_another(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "training.md").read_text()
    program = text.partition("```python\n")[2].partition("```")[0]
    output = tmp_path / "btc.csv"
    candles = SHARED_DATA / "coinbase" / "BTCUSD_1h.csv"
    subprocess.run([sys.executable, "-c", program, candles, output], check=True)
    data, notes = read_dataset(output, Division(season=24), 512)
    assert data.columns == ("log_volume", "volatility")
    assert data.values.shape == (20_086, 2)
    assert not any("missing" in note for note in notes)
    assert data.spans["test"][1] == "2019-10-17 09:00"
    # Of returns of an hour: some parts of a thousand.
    assert 0.002 < float(np.median(data.values[:, 1])) < 0.02
