"""Values of a user's own: which columns are channels, what calibrates and what is held back, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import MODEL, MODELS
from vinocast.data.series import bundled_series, read_series
from vinocast.errors import SetupError
from vinocast.forecast.manifest import open_forecaster


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    rows = "\n".join(f"2026-01-01 00:{row:02},{row},{row * 10},{row * 100}" for row in range(60))
    path.write_text(f"date,a,b,c\n{rows}\n")
    return path


@pytest.mark.parametrize(
    ("channels", "first"),
    [(["c", "a"], [100, 1]), (["x", "y"], [1, 10]), (["b"], [10]), (["p", "q", "r", "s"], [1, 10, 100, 1])],
)
def test_columns_are_taken_by_name_or_else_in_order(table: Path, channels: list[str], first: list[float]) -> None:
    assert read_series(table, channels, independent=True).values[1].tolist() == first


def test_what_is_held_back_follows_what_calibrates(table: Path) -> None:
    series = read_series(table, ["a", "b"], independent=True)
    calibration = series.calibration(20)
    pasts, futures = series.held_back(20, 5)
    assert (calibration.shape[1:], pasts.shape[1:], futures.shape[1:]) == ((20, 2), (20, 2), (5, 2))
    assert len(pasts) == len(futures)
    assert calibration.max(axis=(0, 1))[0] < futures.min(axis=(0, 1))[0] == 42
    np.testing.assert_array_equal(pasts[:, -1, 0] + 1, futures[:, 0, 0])
    np.testing.assert_allclose(series.deviation, np.arange(42).std() * np.array([1, 10]), rtol=1e-6)


def test_the_recording_that_comes_along_serves_the_bundled_model() -> None:
    model = open_forecaster(MODELS / MODEL).manifest
    series = read_series(bundled_series(), model.channels, independent=True)
    assert 200 < len(series.calibration(model.context)) <= 300
    assert 100 < len(series.held_back(model.context, model.horizon)[0]) <= 200


@pytest.mark.parametrize(
    ("text", "channels", "message"),
    [
        ("t,a\n1,2\n3,nan\n", ["a"], "line 3, column 'a': no number; leave such rows out"),
        ("t,a\n1,2\n3,1e39\n", ["a"], "line 3, column 'a': a number beyond float32"),
        ("t,a\n1,2\n3,two\n4,5\n6,7\n", ["a"], "line 3, column 'a': 'two' is no number"),
        ("t,a,b\n1,2,3\n4,5\n", ["a", "b"], "line 3: 2 cells, expected 3"),
        ("t\n1\n", ["a"], "no column of numbers"),
        ("", ["a"], "expected a header"),
        ("id,t,a\nx,1,2\ny,1,2\nx,2,3\n", ["a"], "a long table"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, text: str, channels: list[str], message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(SetupError, match=message):
        read_series(path, channels, independent=True)


def test_files_that_cannot_serve_are_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="4 channels"):
        read_series(table, ["p", "q", "r", "s"], independent=False)
    with pytest.raises(SetupError, match="No such file"):
        read_series(tmp_path / "none.csv", ["a"], independent=True)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SetupError, match="no CSV"):
        read_series(tmp_path / "binary", ["a"], independent=True)
    with pytest.raises(SetupError, match="60 rows are too few, this model needs"):
        read_series(table, ["a"], independent=True).calibration(50)
