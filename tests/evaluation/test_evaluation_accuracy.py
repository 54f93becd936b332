"""Scores of a real IR whose errors are known: persistence, which forecasts that everything stays as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Literal

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op
from support import SHARED_DATA
from vinocast.data import etth1
from vinocast.data.regular import sha256_file
from vinocast.data.windows import windows
from vinocast.engine.manifest import GOLDEN_FILE, IR_FILE, Source, write_manifest
from vinocast.forecast.manifest import ForecasterManifest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent
HORIZON = 96

Vinocast = Callable[..., "CompletedProcess[str]"]


def make_persistence(
    folder: Path, layout: Literal["series", "window"] = "series", context: int = 512, channels: int = 7
) -> Path:
    """Write a model folder whose forecast is the last value, HORIZON times."""
    folder.mkdir()
    shape = [-1, context] if layout == "series" else [-1, context, channels]
    past = op.parameter(shape, np.float32, name="past_values")
    last = op.gather(past, op.constant(np.array([context - 1])), op.constant(1))
    forecast = op.tile(last, op.constant(np.array([1, HORIZON] if layout == "series" else [1, HORIZON, 1])))
    ov.save_model(ov.Model([op.result(forecast)], [past], "persistence"), folder / IR_FILE, compress_to_fp16=False)
    inputs = np.random.default_rng(0).standard_normal((channels, *shape[1:])).astype(np.float32)
    outputs = np.repeat(inputs[:, -1:], HORIZON, axis=1)
    np.savez(folder / GOLDEN_FILE, inputs=inputs, outputs=outputs)
    write_manifest(
        folder,
        ForecasterManifest(
            name=folder.name,
            layout=layout,
            context=context,
            horizon=HORIZON,
            channels=[f"c{i}" for i in range(channels)],
            precision="f32",
            golden_tolerance=1e-5,
            files={path.name: sha256_file(path) for path in folder.iterdir()},
            source=Source(name="persistence", sha256={}, options={}),
            tools={},
        ),
    )
    return folder


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of ETTh1's form with values of our own making."""
    path = tmp_path_factory.mktemp("data") / "ETTh1.csv"
    values = np.random.default_rng(1).standard_normal((etth1.ROWS, 7)).cumsum(axis=0)
    rows = (f"2016-07-01 00:00:00,{','.join(map(repr, row))}" for row in values.tolist())
    path.write_text("\n".join([",".join(("date", *etth1.CHANNELS)), *rows]) + "\n")
    return path


@pytest.mark.parametrize("layout", ["series", "window"])
def test_errors_are_those_of_the_protocol(
    csv: Path, tmp_path: Path, run_vinocast: Vinocast, layout: Literal["series", "window"]
) -> None:
    model = make_persistence(tmp_path / "persistence", layout)
    done = run_vinocast("evaluate", model, "--data", csv, "--split", "validation", "--json")
    assert done.returncode == 0, done.stderr
    pasts, futures = windows(etth1.read_etth1(csv).rows("validation", 512), 512, HORIZON)
    error = (pasts[..., -1:] - futures).astype(np.float64)
    metric = json.loads(done.stdout)
    assert metric["mse"] == pytest.approx(np.square(error).mean(), rel=1e-6)
    assert metric["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-6)
    assert (metric["dataset"], metric["split"], metric["windows"]) == ("ETTh1.csv (not ETTh1)", "validation", 2785)
    assert "context 512, horizon 96" in metric["protocol"]


def test_the_context_is_the_models_own(csv: Path, tmp_path: Path, run_vinocast: Vinocast) -> None:
    model = make_persistence(tmp_path / "persistence", context=48)
    done = run_vinocast("evaluate", model, "--data", csv, "--profile", "native")
    header, row = done.stdout.splitlines()
    assert header.split() == ["dataset", "split", "windows", "MSE", "MAE"]
    # It has another's values, and is not called ETTh1.
    assert row.startswith("ETTh1.csv (not ETTh1) ")
    split, count, mse, mae = row.split()[-4:]
    assert (split, count) == ("test", "2785")
    pasts, futures = windows(etth1.read_etth1(csv).rows("test", 48), 48, HORIZON)
    assert float(mse) == pytest.approx(np.square(pasts[..., -1:] - futures).mean(dtype=np.float64), abs=1e-5)
    assert float(mae) == pytest.approx(np.abs(pasts[..., -1:] - futures).mean(dtype=np.float64), abs=1e-5)


def test_what_cannot_be_scored_is_refused(csv: Path, tmp_path: Path, run_vinocast: Vinocast) -> None:
    single = make_persistence(tmp_path / "single", channels=1)
    done = run_vinocast("evaluate", single, "--data", csv)
    assert (done.returncode, done.stdout) == (1, "")
    assert "a model of 1 channels cannot be scored on ETTh1, which has 7" in done.stderr

    done = run_vinocast("evaluate", tmp_path / "none", "--data", csv)
    assert (done.returncode, done.stdout) == (1, "")
    assert "vinocast convert" in done.stderr

    damaged = make_persistence(tmp_path / "damaged")
    (damaged / "model.bin").write_bytes(b"")
    done = run_vinocast("evaluate", damaged, "--data", csv)
    assert (done.returncode, done.stdout) == (1, "")
    assert "model.bin: sha256" in done.stderr

    done = run_vinocast("evaluate", single, "--data", csv, "--split", "train")
    assert done.returncode == 2


@pytest.mark.shared_data
def test_persistence_scores_its_published_figure(tmp_path: Path, run_vinocast: Vinocast) -> None:
    model = make_persistence(tmp_path / "persistence")
    done = run_vinocast("evaluate", model, "--data", SHARED_DATA / "ETTh1.csv", "--json")
    metric = json.loads(done.stdout)
    assert metric["dataset"] == "ETTh1"
    assert metric["mse"] == pytest.approx(1.2944, abs=1e-4)
    assert done.stderr == ""
