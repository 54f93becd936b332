"""Forecasters whose answers numpy can make: each series times a matrix of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op
from support import Window, change_manifest, fix_hashes
from vinocast.data.regular import sha256_file
from vinocast.engine.manifest import GOLDEN_FILE, IR_FILE, Source, write_manifest
from vinocast.forecast.manifest import QUANTILES_FILE, ForecasterManifest
from vinocast.forecast.quantiles import QuantileTable

CONTEXT, HORIZON = 16, 4
NAMES = ["a", "b", "c"]
# Of small size and alternating sign, so that each point counts and what is fed back stays small.
WEIGHTS = (np.random.default_rng(5).uniform(-0.3, 0.4, (CONTEXT, HORIZON))).astype(np.float32)
GRID = np.array([0, 0.1, 0.5, 0.9, 1])
# Of quantiles of its own: how far each level is from the points, the same for each series.
LEVELS = [0.1, 0.3, 0.5, 0.9]
OFFSETS = np.array([-2, -0.5, 0, 4], np.float32)
RESIDUALS = np.sort(np.random.default_rng(6).standard_normal((len(NAMES) + 1, HORIZON, len(GRID))), axis=-1)


def make_linear(
    folder: Path,
    layout: Literal["series", "window"] = "series",
    *,
    with_table: bool = True,
    with_own: bool = False,
    times: float = 1,
) -> Path:
    """Write the folder of a model whose forecast is ``series @ WEIGHTS``, or has quantiles of its own around that.

    Or so many times as much.
    """
    weights = (times * WEIGHTS).astype(np.float32)
    folder.mkdir(parents=True)
    shape = [-1, CONTEXT] if layout == "series" else [-1, CONTEXT, len(NAMES)]
    past = op.parameter(shape, np.float32, name="past_values")
    series = past if layout == "series" else op.transpose(past, op.constant(np.array([0, 2, 1])))
    forecast = op.matmul(series, op.constant(weights), False, False)
    if layout == "window":
        forecast = op.transpose(forecast, op.constant(np.array([0, 2, 1])))
    if with_own:
        forecast = op.add(op.unsqueeze(forecast, op.constant(np.int64(2))), op.constant(OFFSETS))
    ov.save_model(ov.Model([op.result(forecast)], [past], "linear"), folder / IR_FILE, compress_to_fp16=False)
    inputs = np.random.default_rng(0).standard_normal((3, *shape[1:])).astype(np.float32)
    outputs = inputs @ weights if layout == "series" else (inputs.transpose(0, 2, 1) @ weights).transpose(0, 2, 1)
    np.savez(folder / GOLDEN_FILE, inputs=inputs, outputs=outputs[..., None] + OFFSETS if with_own else outputs)
    write_manifest(
        folder,
        ForecasterManifest(
            name=folder.name,
            layout=layout,
            context=CONTEXT,
            horizon=HORIZON,
            channels=NAMES,
            precision="f32",
            quantile_levels=LEVELS if with_own else [],
            golden_tolerance=1e-4,
            files={path.name: sha256_file(path) for path in folder.iterdir()},
            source=Source(name="linear", sha256={}, options={}),
            tools={},
        ),
    )
    if with_table:
        residuals = RESIDUALS.astype(np.float32)
        (folder / QUANTILES_FILE).write_bytes(QuantileTable(GRID, residuals[:-1], residuals[-1]).packed())
        files = {path.name: "" for path in folder.iterdir() if path.name != "manifest.json"}
        change_manifest(folder, files=files)
        fix_hashes(folder)
    return folder


def linear(window: Window, steps: int = HORIZON) -> NDArray[np.float64]:
    """What such a model answers, [steps, n] of a window [context, n]; beyond the horizon forecasts are fed back."""
    series = window.T.astype(np.float64)
    made: list[NDArray[np.float64]] = []
    while HORIZON * len(made) < steps:
        made.append(series @ WEIGHTS)
        series = np.concatenate((series, made[-1]), axis=1)[:, -CONTEXT:]
    return np.concatenate(made, axis=1)[:, :steps].T
