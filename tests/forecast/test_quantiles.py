"""The table of residuals: what it gives, what it refuses, and its place in a model's folder."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import MODEL, change_manifest, copy_model, fix_hashes, random_windows
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.profiles import DEFAULT_PROFILE, PROFILES
from vinocast.errors import InvalidRequestError, InvalidValueError, ModelRefusedError
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.manifest import QUANTILES_FILE, open_forecaster
from vinocast.forecast.quantiles import QuantileTable, deviations

GRID = np.array([0, 0.1, 0.5, 0.9, 1])


def make_table(channels: int = 7, horizon: int = 96, seed: int = 0) -> QuantileTable:
    random = np.random.default_rng(seed)
    residuals = np.sort(random.standard_normal((channels + 1, horizon, len(GRID))), axis=-1).astype(np.float32)
    return QuantileTable(GRID, residuals[:-1], residuals[-1])


def write_table(folder: Path, packed: bytes) -> None:
    manifest = open_forecaster(folder).manifest
    (folder / QUANTILES_FILE).write_bytes(packed)
    change_manifest(folder, files=manifest.files | {QUANTILES_FILE: ""})
    fix_hashes(folder)


def load(folder: Path) -> ForecastEngine:
    engine = ForecastEngine(open_forecaster(folder))
    engine.load(Compiler(PROFILES[DEFAULT_PROFILE], cpu_budget()))
    return engine


def of(table: QuantileTable, levels: list[float], n: int = 1, channels: list[int] | None = None) -> NDArray[np.float32]:
    horizon = len(table.others)
    return table.quantiles(levels, np.zeros((horizon, n), np.float32), np.ones(n, np.float32), channels)


def test_a_quantile_is_the_point_and_the_deviation_times_the_residuals() -> None:
    table = make_table(channels=3, horizon=4)
    points = np.arange(8, dtype=np.float32).reshape(4, 2)
    scales = np.array([2, 0.5], np.float32)
    quantiles = table.quantiles([0.1, 0.9], points, scales, [2, 0])
    assert quantiles.shape == (2, 4, 2)
    assert quantiles.dtype == np.float32
    for index, (channel, scale) in enumerate([(2, 2), (0, 0.5)]):
        expected = points[:, index] + scale * table.channels[channel][:, [1, 3]].T
        assert np.allclose(quantiles[:, :, index], expected, atol=1e-6)


def test_between_the_levels_of_the_grid_residuals_are_interpolated() -> None:
    table = make_table(channels=1, horizon=4)
    low, high = of(table, [0.5, 0.9])
    assert np.allclose(of(table, [0.6]), low + (high - low) / 4, atol=1e-6)


def test_levels_0_and_1_are_the_least_and_the_largest_residual() -> None:
    table = make_table()
    quantiles = of(table, [0, 1], 7, list(range(7)))
    assert (table.channels[:, :, 0] == quantiles[0].T).all()
    assert (table.channels[:, :, -1] == quantiles[1].T).all()


@pytest.mark.parametrize("channels", [list(range(7)), None])
def test_quantiles_ascend_with_the_level_to_the_last_bit(channels: list[int] | None) -> None:
    levels = np.sort(np.concatenate([np.random.default_rng(1).random(300), GRID])).tolist()
    table = make_table()
    scales = np.geomspace(1e-30, 1e30, 7).astype(np.float32)
    points = np.random.default_rng(2).standard_normal((96, 7)).astype(np.float32) * scales[::-1]
    assert (np.diff(table.quantiles(levels, points, scales, channels), axis=0) >= 0).all()


def test_a_cut_forecast_has_the_first_of_the_quantiles() -> None:
    table = make_table()
    points, scales = np.ones((96, 7), np.float32), np.ones(7, np.float32)
    whole = table.quantiles([0.2], points, scales, range(7))
    assert (table.quantiles([0.2], points[:10], scales, range(7)) == whole[:, :10]).all()


def test_what_is_kept_ready_is_what_is_computed_anew() -> None:
    # As many channels as are not kept, and each of them alone.
    table = make_table(channels=300)
    together = of(table, [0.3, 0.7, 0.8], 300, list(range(300)))
    assert all((of(table, [0.3, 0.7, 0.8], 1, [index])[:, :, 0] == together[:, :, index]).all() for index in (0, 299))
    assert (of(table, [0.3, 0.7, 0.8], 300, list(range(300))) == together).all()


def test_without_channels_of_its_own_a_table_serves_them_as_it_serves_others() -> None:
    table = make_table(channels=0)
    assert (of(table, [0.3], 2, [0, 6]) == of(table, [0.3], 2, None)).all()


def test_quantiles_beyond_float32_are_refused_whichever_they_are() -> None:
    table = make_table(channels=1, horizon=2)
    points, scales = np.zeros((2, 1), np.float32), np.array([3e38], np.float32)
    for level in (0, 1):
        with pytest.raises(InvalidValueError, match="float32"):
            QuantileTable(GRID, table.channels * 0, (table.others * 0 + 2) * (level * 2 - 1)).quantiles(
                [0, 0.5, 1], points, scales, None
            )
    with pytest.raises(InvalidValueError, match="float32"):
        table.quantiles([0.5], points, np.array([np.inf], np.float32), None)


def test_the_deviation_is_the_scalers() -> None:
    assert deviations(np.array([[1, 3]], np.float32)) == pytest.approx([1.000005], rel=1e-7)
    # Never 0, and without overflow of the squares.
    assert deviations(np.ones((1, 512), np.float32)) == pytest.approx([1e-5**0.5])
    assert deviations(np.array([[1e30, -1e30]], np.float32)) == pytest.approx([1e30])
    assert deviations(np.array([[3e38, -3e38]], np.float64) * 10) == pytest.approx([np.inf])


def test_a_models_folder_keeps_its_table(tmp_path: Path) -> None:
    table = make_table()
    folder = copy_model(tmp_path)
    write_table(folder, table.packed())
    engine = load(folder)
    (window,) = random_windows(1)
    points, _ = engine.forecast(window, range(7))
    scales = deviations(window.T)
    for channels in (range(7), None):
        quantiles = engine.quantiles([0.25, 0.75], points, scales, channels)
        assert np.allclose(quantiles, table.quantiles([0.25, 0.75], points, scales, channels))
    assert engine.has_quantiles


def test_a_model_without_a_table_says_how_to_make_one(tmp_path: Path) -> None:
    folder = copy_model(tmp_path)
    change_manifest(
        folder,
        files={name: sha for name, sha in open_forecaster(folder).manifest.files.items() if name != QUANTILES_FILE},
    )
    engine = load(folder)
    assert not engine.has_quantiles
    with pytest.raises(InvalidRequestError, match=f"model {MODEL} has no table of residuals.*'vinocast calibrate'"):
        engine.quantiles([0.5], np.zeros((96, 1), np.float32), np.ones(1, np.float32), None)


def repacked(**changed: Any) -> bytes:
    """The file of a good table with other arrays in it."""
    with np.load(io.BytesIO(make_table().packed())) as arrays:
        every = {name: arrays[name] for name in arrays.files}
    file = io.BytesIO()
    np.savez_compressed(file, **{name: array for name, array in (every | changed).items() if array is not None})
    return file.getvalue()


GOOD = make_table()
FAULTS = {
    "empty": (b"", "a table of quantiles expected"),
    "no archive": (b"levels", "a table of quantiles expected"),
    "no grid": (repacked(levels=None), "a table of quantiles expected"),
    "pickled": (repacked(levels=np.array([0, None, 1])), "a table of quantiles expected"),
    "bomb": (repacked(others=np.zeros((96, 200_000), np.float32)), "a table of quantiles expected"),
    "another horizon": (make_table(horizon=95).packed(), "another shape"),
    "other channels": (make_table(channels=6).packed(), "another shape"),
    "one level": (repacked(levels=np.zeros(1)), "another shape"),
    "many levels": (repacked(levels=np.linspace(0, 1, 5000)), "another shape"),
    "a grid of grids": (repacked(levels=GRID[None]), "another shape"),
    "no golden vectors": (repacked(golden_levels=np.zeros(0)), "another shape"),
    "NaN": (repacked(channels=np.full((7, 96, 5), np.nan)), "a NaN or an infinity"),
    "NaN in the golden vectors": (repacked(golden_quantiles=np.full((7, 96, 7), np.nan)), "a NaN or an infinity"),
    "descending grid": (repacked(levels=GRID[::-1]), "do not ascend from 0 to 1"),
    "short grid": (repacked(levels=GRID / 2), "do not ascend from 0 to 1"),
    "descending quantiles": (repacked(others=GOOD.others[:, ::-1]), "do not ascend with the level"),
    "beyond the levels": (repacked(golden_levels=np.full(7, 2.0)), "golden vectors are none"),
    "another table": (repacked(channels=GOOD.channels * 1.001), "the golden quantiles come out"),
    "another table for others": (repacked(others=GOOD.others * 1.001), "the golden quantiles come out"),
    "beyond float32": (repacked(golden_scales=np.full(7, 3e38, np.float32)), "beyond|too far"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_table_that_is_none_refuses_the_model_by_the_files_name(tmp_path: Path, name: str) -> None:
    packed, fault = FAULTS[name]
    folder = copy_model(tmp_path)
    write_table(folder, packed)
    with pytest.raises(
        ModelRefusedError, match=f"{QUANTILES_FILE}: .*({fault}).*; calibrate the model again"
    ) as refused:
        load(folder)
    assert str(refused.value).isprintable()


def test_a_damaged_table_refuses_the_model(tmp_path: Path) -> None:
    folder = copy_model(tmp_path)
    packed = make_table().packed()
    write_table(folder, packed)
    (folder / QUANTILES_FILE).write_bytes(packed[:-1] + b"\0\0")
    with pytest.raises(ModelRefusedError, match=f"{QUANTILES_FILE}: sha256 is not the manifest's"):
        load(folder)
