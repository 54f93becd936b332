"""Units in which a model reads series, and which models follow them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import openvino as ov
import pytest
from forecast_toys import CONTEXT, HORIZON, NAMES, make_linear
from openvino import opset13 as op
from support import MODEL, MODELS, fix_hashes
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.manifest import GOLDEN_FILE, IR_FILE
from vinocast.engine.tuned import find_profile
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.manifest import open_forecaster
from vinocast.forecast.units import find_units, follows_units

WAVE = np.sin(np.arange(512))


def load(folder: Path) -> ForecastEngine:
    engine = ForecastEngine(open_forecaster(folder))
    engine.load(Compiler(find_profile("epyc-7763"), cpu_budget()))
    return engine


def make_neighbour(folder: Path) -> Path:
    """A model of windows whose forecast of each channel is the last value of the channel behind it."""
    make_linear(folder, "window", with_table=False)
    past = op.parameter([-1, CONTEXT, len(NAMES)], np.float32, name="past_values")
    last = op.gather(past, op.constant([CONTEXT - 1] * HORIZON), op.constant(1))
    behind = op.gather(last, op.constant([1, 2, 0]), op.constant(2))
    ov.save_model(ov.Model([op.result(behind)], [past], "neighbour"), folder / IR_FILE, compress_to_fp16=False)
    inputs = np.random.default_rng(0).standard_normal((3, CONTEXT, len(NAMES))).astype(np.float32)
    np.savez(folder / GOLDEN_FILE, inputs=inputs, outputs=np.repeat(inputs[:, -1:, [1, 2, 0]], HORIZON, 1))
    fix_hashes(folder)
    return folder


@pytest.mark.parametrize(
    ("series", "far", "scaled"),
    [
        (WAVE, False, False),
        (1000 * WAVE + 5000, False, False),
        (WAVE + 1e9, True, False),
        (WAVE * 1e-6, False, True),
        (WAVE * 1e-6 + 1, True, True),
        (WAVE * 1e30, False, True),
        (np.full(512, 20.1), False, False),
        (np.full(512, 123456789.25), True, False),
        (np.full(512, 3e-6), False, True),
        (np.zeros(512), False, False),
        (np.where(np.arange(512) % 7, WAVE + 1e9, np.nan), True, False),
    ],
)
def test_units_are_those_in_which_float32_loses_nothing(series: np.ndarray, far: bool, scaled: bool) -> None:
    units = find_units(series[:, None])
    assert (bool(units.offsets[0]), bool(units.scales[0] != 1)) == (far, scaled)
    read = units.read(series[:, None]).astype(np.float32)
    lost = np.abs(units.written(read)[:, 0] - series)
    assert np.nanmax(lost) <= 1e-4 * np.nanstd(series) + (0 if far else 1e-7 * np.nanmax(np.abs(series)))
    if far or scaled:
        assert np.nanmax(np.abs(read)) < 8


@pytest.mark.parametrize("layout", ["series", "window"])
def test_a_model_that_does_not_standardise_follows_no_units(
    tmp_path: Path, layout: Literal["series", "window"]
) -> None:
    assert not follows_units(load(make_linear(tmp_path / "linear", layout)), 1 if layout == "series" else len(NAMES))


def test_a_model_that_reads_the_column_beside_follows_none_either(tmp_path: Path) -> None:
    assert not follows_units(load(make_neighbour(tmp_path / "neighbour")), len(NAMES))


def test_the_bundled_model_follows() -> None:
    assert follows_units(load(MODELS / MODEL), 1)


def test_a_column_of_gaps_has_units_too() -> None:
    assert not find_units(np.full((512, 1), np.nan)).odd
