"""Tables, and two models that the tests know: ``plain`` has no table of residuals, ``sure`` one of their own."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import vinocast
from numpy.typing import NDArray
from support import change_manifest, copy_model, fix_hashes
from vinocast.data.times.moment import read_moment
from vinocast.data.times.steps import read_frequency
from vinocast.forecast.manifest import QUANTILES_FILE, open_forecaster
from vinocast.forecast.quantiles import QuantileTable

GRID = np.array([0, 0.1, 0.5, 0.9, 1])


def make_table() -> QuantileTable:
    residuals = np.sort(np.random.default_rng(0).standard_normal((8, 96, len(GRID))), axis=-1).astype(np.float32)
    return QuantileTable(GRID, residuals[:-1], residuals[-1])


TABLE = make_table()


def write_models(root: Path) -> Path:
    for name in ("plain", "sure"):
        folder = copy_model(root, name)
        files = {each: "" for each in open_forecaster(folder).manifest.files if each != QUANTILES_FILE}
        (folder / QUANTILES_FILE).unlink(missing_ok=True)
        if name == "sure":
            (folder / QUANTILES_FILE).write_bytes(TABLE.packed())
            files[QUANTILES_FILE] = ""
        change_manifest(folder, files=files)
        fix_hashes(folder)
    return root


def walk(steps: int, columns: int = 1, seed: int = 0) -> NDArray[np.float64]:
    return np.round(50 + np.random.default_rng(seed).standard_normal((steps, columns)).cumsum(axis=0), 3)


def write_wide(path: Path, values: NDArray[np.float64], step: str = "h", start: str = "2024-03-01 00:00") -> list[str]:
    """Write a wide table and return its times."""
    times = read_moment(start).after(read_frequency(step), 0, len(values))
    rows = [",".join([time, *("" if np.isnan(cell) else f"{cell}" for cell in row)])
            for time, row in zip(times, values, strict=True)]  # fmt: skip
    path.write_text("\n".join([",".join(["date", *(f"c{n}" for n in range(values.shape[1]))]), *rows, ""]))
    return times


def write_long(path: Path, values: NDArray[np.float64]) -> None:
    times = read_moment("2024-01-31").after(read_frequency("D"), 0, len(values))
    lines = [f"item {n},{time},{value}" for n, column in enumerate(values.T)
             for time, value in zip(times, column, strict=True)]  # fmt: skip
    path.write_text("\n".join(["item_id,timestamp,target", *lines, ""]))


def rows_of(text: str) -> tuple[list[str], list[list[str]]]:
    header, *rows = csv.reader(io.StringIO(text))
    return header, rows


def numbers(rows: list[list[str]], first: int = 1) -> NDArray[np.float32]:
    return np.array([row[first:] for row in rows], np.float32)


def expected(model: vinocast.Forecaster, series: NDArray[np.float64]) -> NDArray[np.float32]:
    """What the model says of series [steps, n], by the seven columns of its windows: [96, n]."""
    window = series[-512:].astype(np.float32)
    columns = []
    for start in range(0, window.shape[1], 7):
        seven = np.zeros((512, 7), np.float32)
        part = window[:, start : start + 7]
        seven[:, : part.shape[1]] = part
        columns.append(np.asarray(model.forecast(seven))[:, : part.shape[1]])
    return np.concatenate(columns, axis=1)


def close(got: NDArray[Any], want: NDArray[Any], series: NDArray[np.float64]) -> bool:
    """Whether forecasts are the same but for rounding, which differs by the size of a batch."""
    return got.shape == want.shape and bool((abs(got - want) <= 1e-4 * series[-512:].std(axis=0)).all())
