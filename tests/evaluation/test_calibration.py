"""Tables of quantiles: how they are made, where they are written, and how well the bundled one covers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import MODEL, MODELS, SHARED_DATA, change_manifest, copy_model
from vinocast.data.etth1 import CHANNELS, read_etth1
from vinocast.data.windows import windows
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.tuned import find_profile
from vinocast.errors import SetupError
from vinocast.evaluation import calibration, residuals
from vinocast.evaluation.calibration import calibrate
from vinocast.evaluation.residuals import GRID, LEVELS, Residuals, Values, hold_back, quantiles_of
from vinocast.evaluation.scores import coverage, weighted_quantile_loss
from vinocast.export.folder import is_current
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.manifest import QUANTILES_FILE, open_forecaster
from vinocast.forecast.quantiles import deviations, read_table

PROFILE = find_profile("epyc-7763")


def load(folder: Path) -> ForecastEngine:
    engine = ForecastEngine(open_forecaster(folder))
    engine.load(Compiler(PROFILE, cpu_budget()))
    return engine


def residuals_of(scaled: NDArray[Any], ages: NDArray[Any] | None = None) -> Residuals:
    """Residuals [n, horizon] of one column, by default all of one age."""
    nothing = np.zeros(len(scaled), np.int64)
    return Residuals(scaled.astype(np.float32), nothing, nothing, nothing, nothing if ages is None else ages)


def values(columns: int = 1, rows: int = 900, seed: int = 0, names: list[str] | None = None) -> Values:
    """Days of 24 rows, with noise."""
    random = np.random.default_rng(seed)
    days = np.sin(np.arange(rows) * np.pi / 12)[:, None] * random.uniform(1, 5, columns)
    table: NDArray[np.float32] = (days + random.standard_normal((rows, columns))).astype(np.float32)
    return Values(f"seed-{seed}.csv", f"{seed}", names or [f"c{index}" for index in range(columns)], [table])


def bare_model(models: Path) -> Path:
    """A model without a table."""
    folder = copy_model(models)
    files = open_forecaster(folder).manifest.files
    change_manifest(folder, files={name: files[name] for name in files if name != QUANTILES_FILE}, calibration={})
    (folder / QUANTILES_FILE).unlink(missing_ok=True)
    return folder


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_quantiles_of_equal_weights_are_those_of_the_sample() -> None:
    sample = np.random.default_rng(0).standard_normal((4001, 2))
    table = quantiles_of(residuals_of(sample), 0.9)
    assert table.shape == (2, len(GRID))
    assert np.allclose(table, np.quantile(sample, GRID, axis=0, method="hazen").T, atol=1e-5)
    assert (table[:, 0] == sample.min(axis=0).astype(np.float32)).all()
    assert (table[:, -1] == sample.max(axis=0).astype(np.float32)).all()


def test_what_is_older_counts_for_less() -> None:
    # The newest half is three times as wide, and weighs 2**10 times as much as the oldest residual.
    random = np.random.default_rng(0)
    sample = random.standard_normal((20_000, 1))
    sample[10_000:] *= 3
    ages = np.arange(20_000)[::-1]
    wide, even = (quantiles_of(residuals_of(sample, ages), decay)[0] for decay in (0.5 ** (1 / 2000), 1))
    ninety = list(GRID).index(0.9)
    assert wide[ninety] == pytest.approx(3 * 1.2816, rel=0.05)
    assert even[ninety] < 0.8 * wide[ninety]


def test_what_is_not_known_has_no_weight() -> None:
    sample = np.array([[1.0], [np.nan], [3.0]])
    assert quantiles_of(residuals_of(sample), 1)[0, list(GRID).index(0.5)] == 2


def test_of_one_table_the_newest_windows_measure_and_share_no_target() -> None:
    starts = np.arange(1000)
    nothing = np.zeros(1000, np.int64)
    every = Residuals(np.zeros((1000, 96), np.float32), nothing, nothing, starts, starts[::-1])
    kept, held = hold_back(every, 96)
    assert (held.starts[0], held.starts[-1]) == (800, 999)
    assert kept.starts[-1] + 96 <= held.starts[0]


def test_of_many_tables_whole_ones_measure() -> None:
    numbers = np.repeat(np.arange(10), 3)
    kept, held = hold_back(
        Residuals(np.zeros((30, 96), np.float32), numbers * 0, numbers, numbers * 0, numbers * 0), 96
    )
    assert set(held.tables) == {0, 5}
    assert set(kept.tables) == set(range(10)) - {0, 5}


@pytest.fixture(scope="module")
def by_name(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is calibrated with columns of its channels."""
    folder = bare_model(tmp_path_factory.mktemp("models"))
    calibrate(open_forecaster(folder), values(7, names=list(CHANNELS)), PROFILE)
    return folder


@pytest.mark.slow
def test_columns_of_the_models_channels_make_both_tables(by_name: Path) -> None:
    folder = open_forecaster(by_name)
    table = read_table(folder, folder.read())
    assert table is not None
    assert table.channels.shape == (7, 96, len(GRID))
    assert table.others.shape == (96, len(GRID))
    made = folder.manifest.calibration
    assert set(made) == {"channels", "others"}
    assert made["channels"].data == "seed-0.csv"
    assert 0.5 < made["others"].held_back["coverage_80"] < 1
    assert made["others"].held_back["quantile_loss"] < made["others"].held_back["point_loss"]
    # Channel by channel in the model's order, whatever the file's.
    swapped = values(7, names=list(CHANNELS))
    order = [3, 0, 6, 1, 5, 2, 4]
    swapped = Values("x", "x", [CHANNELS[index] for index in order], [swapped.tables[0][:, order]])
    calibrate(folder, swapped, PROFILE, only="channels", output=by_name.parent / "swapped")
    again = open_forecaster(by_name.parent / "swapped")
    other = read_table(again, again.read())
    assert other is not None
    assert np.allclose(other.channels, table.channels, atol=1e-4)


def test_the_model_computes_what_it_did_and_tuning_knows_it(by_name: Path) -> None:
    assert open_forecaster(by_name).content == open_forecaster(MODELS / MODEL).content
    assert load(by_name).has_quantiles
    # Nor would a conversion of the same source make it anew.
    plan = open_forecaster(by_name).manifest.model_copy(update={"calibration": {}, "files": {}})
    assert is_current(by_name, plan)


def test_the_same_again_is_nothing_to_do(by_name: Path) -> None:
    before = snapshot(by_name)
    told = calibrate(open_forecaster(by_name), values(7, names=list(CHANNELS)), PROFILE)
    assert not told.changed
    assert set(told.made) == {"channels", "others"}
    assert snapshot(by_name) == before


def test_other_columns_make_the_table_for_others_and_leave_the_channels(by_name: Path, tmp_path: Path) -> None:
    shutil.copytree(by_name, tmp_path / MODEL)
    told = calibrate(open_forecaster(tmp_path / MODEL), values(3, rows=710, seed=1), PROFILE, decay=0.99)
    assert (list(told.made), told.changed) == (["others"], True)
    one, two = (open_forecaster(path) for path in (by_name, tmp_path / MODEL))
    before, after = (read_table(folder, folder.read()) for folder in (one, two))
    assert before is not None
    assert after is not None
    assert (after.channels == before.channels).all()
    assert not (after.others == before.others).all()
    assert two.manifest.calibration["channels"] == one.manifest.calibration["channels"]
    assert two.manifest.calibration["others"].options == {"decay": "0.99"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / QUANTILES_FILE).write_bytes(b"damaged"),
        lambda folder: (folder / QUANTILES_FILE).unlink(),
    ],
)
def test_a_damaged_table_is_made_anew(by_name: Path, tmp_path: Path, change: Callable[[Path], object]) -> None:
    shutil.copytree(by_name, tmp_path / MODEL)
    change(tmp_path / MODEL)
    told = calibrate(open_forecaster(tmp_path / MODEL), values(7, rows=710, names=list(CHANNELS)), PROFILE)
    assert told.changed
    assert load(tmp_path / MODEL).has_quantiles


def test_a_copy_is_whole_and_goes_by_its_own_name(by_name: Path, tmp_path: Path) -> None:
    before = snapshot(by_name)
    output = tmp_path / "deep" / "mine"
    told = calibrate(open_forecaster(by_name), values(3, rows=710, seed=2), PROFILE, output=output)
    assert told.path == output
    assert snapshot(by_name) == before
    assert open_forecaster(output).manifest.name == "mine"
    assert load(output).has_quantiles
    assert not calibrate(open_forecaster(by_name), values(3, rows=710, seed=2), PROFILE, output=output).changed
    # Nothing else of it is left, and a folder of other things is no place for it.
    assert list((tmp_path / "deep").iterdir()) == [output]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(SetupError, match="not empty"):
        calibrate(open_forecaster(by_name), values(3, rows=710, seed=2), PROFILE, output=tmp_path / "full")


def test_at_each_moment_of_writing_the_folder_is_a_whole_model(
    by_name: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(by_name, tmp_path / MODEL)
    seen = []

    def look(path: Path) -> None:
        folder = open_forecaster(tmp_path / MODEL)
        folder.verify()
        seen.append(QUANTILES_FILE in folder.manifest.files)

    monkeypatch.setattr(calibration, "sync", look)
    calibrate(open_forecaster(tmp_path / MODEL), values(3, rows=710, seed=3), PROFILE)
    assert seen == [True, False, False, True]


@pytest.mark.slow
def test_too_few_values_are_refused(tmp_path: Path) -> None:
    folder = open_forecaster(bare_model(tmp_path))
    before = snapshot(folder.path)
    for few in (values(1, rows=700), values(1, rows=100), Values("x", "x", ["c"], [])):
        with pytest.raises(SetupError, match="fewer than 100 residuals"):
            calibrate(folder, few, PROFILE)
    still = Values("still.csv", "x", ["c"], [np.ones((2000, 1), np.float32)])
    with pytest.raises(
        SetupError, match=r"still\.csv: fewer than 100 residuals.*a context that moves.*; 707 rows without"
    ):
        calibrate(folder, still, PROFILE)
    with pytest.raises(SetupError, match="lacks 'HUFL'; it has 'c0'"):
        calibrate(folder, values(1), PROFILE, only="channels")
    assert snapshot(folder.path) == before


@pytest.mark.slow
def test_gaps_cost_the_windows_that_they_lie_in(tmp_path: Path) -> None:
    engine = load(bare_model(tmp_path))
    whole = values(2, rows=900)
    table = whole.tables[0].copy()
    table[850, 0] = np.nan  # which is in no context, as the last begins at 292
    table[600, 1] = np.nan
    found = residuals.find_residuals(engine, Values("x", "x", whole.columns, [table]), range(2))
    clean = residuals.find_residuals(engine, whole, range(2))
    first = found.columns == 0
    known = np.isfinite(found.scaled[first])
    assert (~known).any()
    assert np.allclose(found.scaled[first][known], clean.scaled[clean.columns == 0][known], atol=1e-4)
    # Of the other column those remain whose context ends before the gap or begins behind it.
    assert (found.starts[~first] + 512 <= 600).all()
    assert (found.columns == 1).sum() == 89


def test_units_make_no_difference(tmp_path: Path) -> None:
    """Neither numbers that float32 cuts digits off, nor those smaller than what the scaler adds to a variance."""
    engine = load(bare_model(tmp_path))
    plain = values(2, rows=660)
    (table,) = plain.tables
    for offset, factor in ((1e9, 1.0), (0.0, 2.0**-20)):
        odd = Values("x", "x", plain.columns, [table.astype(np.float64) * factor + offset])
        found, wanted = (residuals.find_residuals(engine, each, range(2)) for each in (odd, plain))
        assert np.allclose(found.scaled, wanted.scaled, atol=1e-3), (offset, factor)


def test_more_windows_than_are_forecast_are_taken_at_even_distances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residuals, "MOST_FORECASTS", 100)
    found = residuals.find_residuals(load(bare_model(tmp_path)), values(2, rows=900), range(2))
    assert 80 <= len(found.scaled) <= 100
    assert found.ages.min() == 0
    assert len(set(np.diff(np.unique(found.starts)))) == 1


def quantiles_and_actuals(
    rows: NDArray[np.float32], stride: int, channels: range | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The bundled model's quantiles of windows at LEVELS and of bands of 50, 80 and 90 %, and what came.

    Returns [levels + 6, windows, horizon, channels] and [windows, horizon, channels].
    """
    engine = load(MODELS / MODEL)
    levels = sorted({*LEVELS, 0.05, 0.25, 0.75, 0.95})
    pasts, futures = windows(rows, 512, 96, stride)
    quantiles = []
    for past in pasts:
        points, _ = engine.forecast(np.ascontiguousarray(past.T), range(len(past)))
        quantiles.append(engine.quantiles(levels, points, deviations(past), channels))
    return np.stack(quantiles, axis=1), futures.transpose(0, 2, 1)


def bands(quantiles: NDArray[np.float32], actual: NDArray[np.float32]) -> dict[int, float]:
    """Coverage, in percent, of the bands of :func:`quantiles_and_actuals`."""
    levels = sorted({*LEVELS, 0.05, 0.25, 0.75, 0.95})
    return {
        band: 100
        * coverage(actual, quantiles[levels.index((100 - band) / 200)], quantiles[levels.index((100 + band) / 200)])
        for band in (50, 80, 90)
    }


@pytest.mark.slow
@pytest.mark.shared_data
def test_the_bundled_model_is_as_sure_as_it_says_where_it_was_not_calibrated() -> None:
    """ETTh1's test part, every tenth window. Of every window: 50 % 48.9, 80 % 78.8, 90 % 89.3; loss 0.398."""
    rows = read_etth1(SHARED_DATA / "ETTh1.csv").rows("test", 512)
    quantiles, actual = quantiles_and_actuals(rows, 10, range(7))
    found = bands(quantiles, actual)
    assert 77 <= found[80] <= 83
    assert 88 <= found[90] <= 92
    for channel in range(7):
        assert 84 <= bands(quantiles[..., channel], actual[..., channel])[90] <= 96
    levels = sorted({*LEVELS, 0.05, 0.25, 0.75, 0.95})
    nine = quantiles[[levels.index(level) for level in LEVELS]]
    assert weighted_quantile_loss(actual, nine, LEVELS) <= 0.41


@pytest.mark.slow
def test_of_series_that_it_does_not_know_it_is_nearly_as_sure_as_it_says() -> None:
    """Counters of a host, every twentieth window. Of every fourth window: 50 % 50.7, 80 % 79.0, 90 % 88.8."""
    host = np.loadtxt(MODELS.parent / "examples" / "host.csv", delimiter=",", skiprows=1)[:, 1:]
    host = ((host - host.mean(axis=0)) / host.std(axis=0)).astype(np.float32)
    found = bands(*quantiles_and_actuals(host, 20, None))
    assert found[50] == pytest.approx(50, abs=4)
    assert found[80] == pytest.approx(80, abs=4)
    assert found[90] == pytest.approx(90, abs=4)
