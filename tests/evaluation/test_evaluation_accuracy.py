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
from numpy.typing import NDArray
from openvino import opset13 as op
from support import SHARED_DATA, change_manifest, copy_model, fix_hashes
from vinocast.data import etth1
from vinocast.data.regular import sha256_file
from vinocast.data.windows import windows
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.manifest import GOLDEN_FILE, IR_FILE, Source, write_manifest
from vinocast.engine.tuned import find_profile
from vinocast.errors import SetupError
from vinocast.evaluation.dataset import Division, read_dataset
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.manifest import QUANTILES_FILE, ForecasterManifest, open_forecaster
from vinocast.forecast.quantiles import QuantileTable, deviations

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
    header, row, *_ = done.stdout.splitlines()
    assert header.split() == ["dataset", "split", "windows", "MSE", "MAE"]
    # It has another's values, and is not called ETTh1.
    assert row.startswith("ETTh1.csv (not ETTh1) ")
    split, count, mse, mae = row.split()[-4:]
    assert (split, count) == ("test", "2785")
    pasts, futures = windows(etth1.read_etth1(csv).rows("test", 48), 48, HORIZON)
    assert float(mse) == pytest.approx(np.square(pasts[..., -1:] - futures).mean(dtype=np.float64), abs=1e-5)
    assert float(mae) == pytest.approx(np.abs(pasts[..., -1:] - futures).mean(dtype=np.float64), abs=1e-5)


def test_what_cannot_be_scored_is_refused(csv: Path, tmp_path: Path, run_vinocast: Vinocast) -> None:
    single = make_persistence(tmp_path / "single", "window", channels=1)
    done = run_vinocast("evaluate", single, "--data", csv)
    assert (done.returncode, done.stdout) == (1, "")
    assert "a model of 1 channels that depend on each other cannot be scored on" in done.stderr

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


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hourly rows of three series in units of their own, of which two have a day."""
    path = tmp_path_factory.mktemp("mine") / "mine.csv"
    steps = np.arange(1000)
    random = np.random.default_rng(5)
    day = np.sin(steps * 2 * np.pi / 24)
    noise = random.standard_normal((1000, 3))
    values = np.stack([1e5 + 1e4 * day, 1e-4 * day, noise[:, 2].cumsum()], 1) + noise * [1e3, 1e-5, 0]
    moments = np.datetime64("2024-03-01T00", "h") + steps
    rows = (f"{moment},{','.join(map(repr, row))}" for moment, row in zip(moments, values.tolist(), strict=True))
    path.write_text("\n".join(["time,large,small,walk", *rows]) + "\n")
    return path


def read_values(path: Path) -> NDArray[np.float64]:
    return np.loadtxt(path, delimiter=",", skiprows=1, usecols=(1, 2, 3))


def errors_of_last_value(values: NDArray[np.float64], first: int, behind: int, train: int) -> NDArray[np.float64]:
    """In deviations of the training rows, [windows, columns, steps]."""
    scaled = (values - values[:train].mean(axis=0)) / values[:train].std(axis=0)
    pasts, futures = windows(scaled[first - 48 : behind].astype(np.float32), 48, HORIZON)
    return (pasts[..., -1:] - futures).astype(np.float64)


def test_the_unit_of_a_column_changes_no_figure(mine: Path, tmp_path: Path, run_vinocast: Vinocast) -> None:
    """Neither a level that float32 cuts digits off, nor less than what a model's scaler adds to the variance."""
    header, *rows = mine.read_text().splitlines()
    scores = []
    for offset, factor in ((0.0, 1.0), (1e10, 1.0), (0.0, 2.0**-40)):
        path = tmp_path / f"{offset:g} {factor:g}.csv"
        columns = [f"{time},{float(large) * factor + offset!r}" for time, large, *_ in (row.split(",") for row in rows)]
        path.write_text("\n".join([header.rsplit(",", 2)[0], *columns, ""]))
        done = run_vinocast("evaluate", "patchtst-etth1", "--data", path, "--test-share", "0.3", "--json")
        assert done.returncode == 0, done.stderr
        scores.append(json.loads(done.stdout)["scores"])
    plain, *others = scores
    for other in others:
        for found, wanted in zip(other, plain, strict=True):
            assert found["mse"] == pytest.approx(wanted["mse"], rel=1e-3)
            assert found["coverage"] == (pytest.approx(wanted["coverage"], abs=0.01) if wanted["coverage"] else None)


def test_any_table_is_scored_in_deviations_of_its_training_rows(
    mine: Path, tmp_path: Path, run_vinocast: Vinocast
) -> None:
    model = make_persistence(tmp_path / "persistence", context=48)
    done = run_vinocast("evaluate", model, "--data", mine, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    error = errors_of_last_value(read_values(mine), 800, 1000, 700)
    assert (found["dataset"], found["split"], found["windows"]) == ("mine.csv", "test", 105)
    assert found["protocol"].endswith(
        "context 48, horizon 96; rows divided by share: 0.7 train, 0.1 validation, 0.2 test"
    )
    assert found["mse"] == pytest.approx(np.square(error).mean(), rel=1e-4)
    assert found["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-4)
    assert found["season"] == 24
    own, *others = found["scores"]
    assert [each["forecaster"] for each in others] == ["last value", "seasonal naive (24 rows)", "drift"]
    for index, column in enumerate(("large", "small", "walk")):
        assert own["columns"][column]["mse"] == pytest.approx(np.square(error[:, index]).mean(), rel=1e-3)
        assert others[0]["columns"][column]["mae"] == pytest.approx(np.abs(error[:, index]).mean(), rel=1e-3)
    assert own["wql"] is None
    # Of what a season errs by in the training rows.
    trained = read_values(mine)[:700]
    units = np.abs(trained[24:] - trained[:-24]).mean(axis=0) / trained.std(axis=0)
    assert own["mase"] == pytest.approx((np.abs(error).mean(axis=(0, 2)) / units).mean(), rel=1e-3)
    assert others[1]["mse"] < own["mse"]


def test_rows_are_divided_by_time_and_columns_chosen(mine: Path, tmp_path: Path, run_vinocast: Vinocast) -> None:
    model = make_persistence(tmp_path / "persistence", context=48)
    # 2024-04-01 begins with row 744.
    options = ["--test-from", "2024-04-05", "--validation-from", "2024-04-01 00:00", "--columns", "walk,large"]
    done = run_vinocast("evaluate", model, "--data", mine, "--json", "--season", "12", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    error = errors_of_last_value(read_values(mine), 840, 1000, 744)[:, [2, 0]]
    assert found["windows"] == 65
    assert found["mse"] == pytest.approx(np.square(error).mean(), rel=1e-4)
    assert list(found["scores"][0]["columns"]) == ["walk", "large"]
    assert found["season"] == 12
    assert "validation from 2024-04-01T00" in found["protocol"]

    validation = run_vinocast("evaluate", model, "--data", mine, "--split", "validation", "--stride", "10", *options)
    _, row, *_ = validation.stdout.splitlines()
    assert row.split()[:2] == ["mine.csv", "validation"]


def test_a_window_model_takes_its_channels_by_name(mine: Path, tmp_path: Path, run_vinocast: Vinocast) -> None:
    model = make_persistence(tmp_path / "persistence", "window", context=48, channels=3)
    done = run_vinocast("evaluate", model, "--data", mine, "--json")
    error = errors_of_last_value(read_values(mine), 800, 1000, 700)
    assert json.loads(done.stdout)["mse"] == pytest.approx(np.square(error).mean(), rel=1e-4)
    done = run_vinocast("evaluate", model, "--data", mine, "--columns", "walk,small")
    assert done.returncode == 1
    assert "a model of 3 channels that depend on each other cannot be scored on mine.csv, which has 2" in done.stderr


def test_quantiles_are_scored_where_a_model_has_them(mine: Path, tmp_path: Path, run_vinocast: Vinocast) -> None:
    folder = copy_model(tmp_path)
    random = np.random.default_rng(0)
    residuals = np.sort(random.standard_normal((8, 96, 21)), axis=-1).astype(np.float32)
    table = QuantileTable(np.linspace(0, 1, 21), residuals[:-1], residuals[-1])
    packed = table.packed()
    (folder / QUANTILES_FILE).write_bytes(packed)
    change_manifest(folder, files=open_forecaster(folder).manifest.files | {QUANTILES_FILE: ""})
    fix_hashes(folder)
    done = run_vinocast("evaluate", folder, "--data", mine, "--json", "--stride", "20")
    assert done.returncode == 0, done.stderr
    own, *others = json.loads(done.stdout)["scores"]

    # As it reads what is small, in a unit of its own (vinocast.forecast.units).
    values = read_values(mine) * [1, 2.0**14, 1]
    pasts, futures = windows(values[288:].astype(np.float32), 512, 96, 20)
    engine = ForecastEngine(open_forecaster(folder))
    engine.load(Compiler(find_profile("epyc-7763"), cpu_budget()))
    mean, deviation = values[:700].mean(axis=0), values[:700].std(axis=0)
    levels = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
    inside, losses, sizes = 0.0, 0.0, 0.0
    for past, future in zip(pasts, futures, strict=True):
        points, _ = engine.forecast(past.T, range(3))
        found = (engine.quantiles(levels, points, deviations(past), None) - mean) / deviation
        actual = (future.T - mean) / deviation
        inside += float(((actual >= found[0]) & (actual <= found[-1])).mean()) / len(pasts)
        for level, quantile in list(zip(levels, found, strict=True))[1:-1]:
            error = actual - quantile
            losses += float(np.maximum(level * error, (level - 1) * error).mean()) / 9
        sizes += float(np.abs(actual).mean())
    assert own["coverage"]["90 %"] == pytest.approx(inside, abs=2e-3)
    assert own["wql"] == pytest.approx(2 * losses / sizes, rel=1e-3)
    assert all(each["wql"] is None for each in others)


@pytest.mark.parametrize(
    ("options", "code", "fault"),
    [
        (["--protocol", "etth1"], 1, "mine.csv is not ETTh1"),
        (["--protocol", "etth1", "--test-share", "0.1"], 2, "leave out --test-share"),
        (["--test-share", "0.1", "--test-from", "2024-04-01"], 2, "give --test-share or --test-from, not both"),
        (["--test-share", "0.6", "--validation-share", "0.4"], 1, "mine.csv: 1000 rows cannot be divided at shares"),
        (["--test-from", "2034-04-01"], 1, "1000 rows cannot be divided at"),
        (["--test-from", "tomorrow"], 1, "--test-from: expected a date or a time such as"),
        (["--test-share", "0.05"], 1, "mine.csv, test split: 98 rows hold no window of 48 and 96 steps"),
        (["--columns", "large,tall"], 1, "no column 'tall'"),
        (["--season", "49"], 1, "--season 49 is longer than the 48 rows"),
        (["--test-share", "nan"], 2, "nan"),
    ],
)
def test_what_cannot_be_divided_is_refused_in_a_sentence(
    mine: Path, tmp_path: Path, run_vinocast: Vinocast, options: list[str], code: int, fault: str
) -> None:
    model = make_persistence(tmp_path / "persistence", context=48)
    done = run_vinocast("evaluate", model, "--data", mine, *options)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert fault in done.stderr
    assert "Traceback" not in done.stderr


def test_gaps_are_refused_by_place_or_filled_from_their_own_split(
    mine: Path, tmp_path: Path, run_vinocast: Vinocast
) -> None:
    model = make_persistence(tmp_path / "persistence", context=48)
    lines = mine.read_text().splitlines()
    lines[800] = lines[800].rpartition(",")[0] + ","  # the last validation row
    gaps = tmp_path / "gaps.csv"
    gaps.write_text("\n".join(lines) + "\n")
    done = run_vinocast("evaluate", model, "--data", gaps)
    assert done.returncode == 1
    assert "gaps.csv: line 801, column 'walk': no number; --missing interpolate fills the 1 there are" in done.stderr
    data, _ = read_dataset(gaps, Division(missing="interpolate"), 48)
    assert data.values[799, 2] == data.values[798, 2]
    still = tmp_path / "still.csv"
    still.write_text("time,a,b\n" + "".join(f"2024-01-01 {hour:02}:00,1,{hour}\n" for hour in range(24)))
    with pytest.raises(SetupError, match=r"still.csv: 'a' does not change in the training rows: leave it out with"):
        read_dataset(still, Division(), 4)


def test_a_long_table_of_the_same_times_is_a_wide_one(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    random = np.random.default_rng(1).standard_normal((2, 30))
    rows = [f"{name},2024-01-{day + 1:02},{random[i, day]:.6f}" for i, name in enumerate("ab") for day in range(30)]
    path.write_text("\n".join(["item_id,timestamp,target", *rows]) + "\n")
    data, notes = read_dataset(path, Division(season=7), 8)
    assert data.columns == ("a", "b")
    np.testing.assert_allclose(data.values, random.T, atol=1e-6)
    assert data.spans["test"] == ("2024-01-25", "2024-01-30")
    assert "one every 1 day" in notes[-1]
    path.write_text("\n".join(["item_id,timestamp,target", *rows[:-1]]) + "\n")
    with pytest.raises(SetupError, match=r"'b' has 29 rows from 2024-01-01 on, 'a' 30 .*give them the same times"):
        read_dataset(path, Division(), 8)
