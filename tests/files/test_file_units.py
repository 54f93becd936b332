"""``vinocast forecast`` of columns in any unit: far from 0, tiny, huge, and what a model makes of these."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import orjson
import pytest
from file_support import numbers, rows_of, walk, write_wide
from forecast_toys import RESIDUALS, linear, make_linear
from pyarrow import parquet
from support import RunVinocast
from vinocast.forecast.quantiles import deviations


def test_units_that_lie_far_from_zero_change_nothing_but_the_units(
    run_vinocast: RunVinocast, models: Path, tmp_path: Path
) -> None:
    values = walk(520, 2)
    far = values + np.array([0, 2.0**30])
    answers = {}
    for name, each in (("near", values), ("far", far)):
        write_wide(tmp_path / f"{name}.csv", each)
        options = ["--models", models, "--default-model", "sure", "--prediction-length", "5", "--quantiles", "0.1,0.9"]
        done = run_vinocast("forecast", tmp_path / f"{name}.csv", *options)
        assert done.returncode == 0, done.stderr
        answers[name] = rows_of(done.stdout)
    (header, near), (_, rows) = answers["near"], answers["far"]
    got, want = (np.array([row[1:] for row in each], np.float64) for each in (rows, near))
    for place, name in enumerate(header[1:]):
        if name.startswith("c0"):
            # The column beside it is as it was, to the digit.
            assert [row[1 + place] for row in rows] == [row[1 + place] for row in near]
        else:
            np.testing.assert_allclose(got[:, place] - 2.0**30, want[:, place], atol=1e-3)
    assert np.ptp(want[:, 1]) > 0.01
    written = ["--format", "parquet", "--output", tmp_path / "out.parquet"]
    assert run_vinocast("forecast", tmp_path / "far.csv", *options, *written).returncode == 0
    read = parquet.read_table(tmp_path / "out.parquet")
    assert [str(read.schema.field(name).type) for name in header[1:]] == ["float", "double"] * 3
    np.testing.assert_array_equal(np.stack([read[name] for name in ("c1", "c1_0.1", "c1_0.9")], 1), got[:, 1::2])
    made = orjson.loads(run_vinocast("forecast", tmp_path / "far.csv", *options, "--format", "json").stdout)
    assert made["predictions"] == got[:, :2].tolist()


def test_a_constant_is_far_from_nothing(run_vinocast: RunVinocast, tmp_path: Path) -> None:
    write_wide(tmp_path / "mine.csv", np.full((512, 1), 20.1))
    done = run_vinocast("forecast", tmp_path / "mine.csv", "--prediction-length", "2")
    texts = [row[1] for row in rows_of(done.stdout)[1]]
    # As the service answers it, in float32.
    assert texts == [str(np.float32(text)) for text in texts]
    np.testing.assert_allclose(np.array(texts, np.float32), 20.1, rtol=1e-6)


def test_numbers_of_millions_are_written_in_full(run_vinocast: RunVinocast, tmp_path: Path) -> None:
    write_wide(tmp_path / "mine.csv", walk(512) * 1e6)
    options = ["--prediction-length", "5", "--quantiles", "0.5"]
    done = run_vinocast("forecast", tmp_path / "mine.csv", *options)
    rows = [row[1:] for row in rows_of(done.stdout)[1]]
    assert not any(set("eE") & set(text) for row in rows for text in row)
    made = orjson.loads(run_vinocast("forecast", tmp_path / "mine.csv", *options, "--format", "json").stdout)
    assert [[float(text) for text in row] for row in rows] == np.hstack(
        [made["predictions"], made["quantiles"]["0.5"]]
    ).tolist()


@pytest.mark.parametrize("exponent", [-24, 72])
def test_small_and_large_units_change_nothing_but_the_units(
    run_vinocast: RunVinocast, models: Path, tmp_path: Path, exponent: int
) -> None:
    """What moves by less than a model's scaler adds to the variance, or by so much that its square is no float32."""
    values, by = walk(520, 2) - 50, 2.0**exponent
    options = ["--models", models, "--default-model", "sure", "--prediction-length", "5", "--quantiles", "0.1,0.9"]
    answers = []
    for name, factors in (("plain", [1, 1]), ("odd", [1, by])):
        write_wide(tmp_path / f"{name}.csv", values * factors)
        done = run_vinocast("forecast", tmp_path / f"{name}.csv", *options)
        assert done.returncode == 0, done.stderr
        answers.append(np.array([row[1:] for row in rows_of(done.stdout)[1]], np.float64))
    plain, odd = answers
    assert np.ptp(plain[:, 1]) > 0.01
    np.testing.assert_array_equal(odd[:, ::2], plain[:, ::2])
    # The scaler's addition is a ten-thousandth of the variance at most.
    np.testing.assert_allclose(odd[:, 1::2] / by, plain[:, 1::2], atol=1e-3 * float(values[-512:, 1].std()))


@pytest.mark.parametrize(("constant", "most"), [(123456789.25, 1e-3), (-3e-6, 1e-10)])
def test_a_constant_is_forecast_in_its_own_size(
    run_vinocast: RunVinocast, tmp_path: Path, constant: float, most: float
) -> None:
    write_wide(tmp_path / "mine.csv", np.full((512, 1), constant))
    done = run_vinocast("forecast", tmp_path / "mine.csv", "--prediction-length", "2")
    made = [float(row[1]) for row in rows_of(done.stdout)[1]]
    np.testing.assert_allclose(made, constant, rtol=0, atol=most)


@pytest.mark.parametrize("layout", ["series", "window"])
def test_a_model_that_does_not_standardise_reads_the_numbers_as_they_are(
    run_vinocast: RunVinocast, tmp_path: Path, layout: Literal["series", "window"]
) -> None:
    make_linear(tmp_path / "models" / "linear", layout)
    values = walk(30, 3) + 2.0**20
    path = tmp_path / "mine.csv"
    write_wide(path, values)
    path.write_text(path.read_text().replace("c0,c1,c2", "a,b,c"))
    done = run_vinocast("forecast", path, "--models", tmp_path / "models", "--prediction-length", "4")
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(numbers(rows_of(done.stdout)[1]), linear(values[-16:].astype(np.float32), 4), rtol=1e-5)


@pytest.mark.parametrize("layout", ["series", "window"])
def test_a_model_of_either_layout_is_asked_as_it_is(
    run_vinocast: RunVinocast, tmp_path: Path, layout: Literal["series", "window"]
) -> None:
    make_linear(tmp_path / "models" / "linear", layout)
    values = walk(30, 3)
    path = tmp_path / "mine.csv"
    write_wide(path, values)
    plain = path.read_text()
    path.write_text(plain.replace("c0,c1,c2", "c,a,b"))  # in another order than the model's
    options = ["--models", tmp_path / "models", "--prediction-length"]
    done = run_vinocast("forecast", path, *options, "4", "--quantiles", "0.5")
    assert done.returncode == 0, done.stderr
    header, rows = rows_of(done.stdout)
    assert header == ["date", "c", "a", "b", "c_0.5", "a_0.5", "b_0.5"]
    expected = linear(values[-16:].astype(np.float32), 4)
    np.testing.assert_allclose(numbers(rows)[:, :3], expected, rtol=1e-4)
    scales = deviations(values[-16:].T.astype(np.float32))
    # In the middle of the grid: the channels are those that the columns are called after.
    np.testing.assert_allclose(
        numbers(rows)[:, 3:], expected + scales * RESIDUALS[[2, 0, 1], :, 2].T, rtol=1e-4, atol=1e-4
    )
    done = run_vinocast("forecast", path, *options, "10", "--rollout")
    np.testing.assert_allclose(numbers(rows_of(done.stdout)[1]), linear(values[-16:].astype(np.float32), 10), rtol=1e-4)
    done = run_vinocast("forecast", path, *options, "10", "--rollout", "--quantiles", "0.5")
    assert "--quantiles are known for the 4 steps of the model, and not for --rollout" in done.stderr
    path.write_text(plain)
    done = run_vinocast("forecast", path, *options, "4")
    if layout == "series":
        np.testing.assert_allclose(numbers(rows_of(done.stdout)[1]), expected, rtol=1e-4)
    else:
        assert done.returncode == 1
        assert "model linear forecasts its channels together, and only a, b, c; " in done.stderr
        assert done.stderr.endswith("mine.csv has c0, c1, c2\n")
