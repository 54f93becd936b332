"""The data set and the protocol: rows, scaler, windows, and files that are something else."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support import SHARED_DATA
from vinocast.data import etth1
from vinocast.data.splits import Split
from vinocast.data.windows import windows
from vinocast.errors import SetupError

ROOT = Path(__file__).resolve().parent.parent.parent
HEADER = "date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT"


@pytest.fixture(scope="module")
def raw() -> NDArray[np.float64]:
    return np.random.default_rng(1).standard_normal((17_420, 7)).cumsum(axis=0)


@pytest.fixture(scope="module")
def lines(raw: NDArray[np.float64]) -> list[str]:
    return [HEADER, *(f"2016-07-01 00:00:00,{','.join(map(repr, row))}" for row in raw.tolist())]


def write(path: Path, lines: list[str], newline: str = "\n") -> Path:
    path.write_text(newline.join(lines) + newline, newline="")
    return path


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_values_are_standardised_with_the_train_rows_and_a_biased_deviation(
    raw: NDArray[np.float64], lines: list[str], tmp_path: Path, newline: str
) -> None:
    path = write(tmp_path / "ETTh1.csv", lines, newline)
    data = etth1.read_etth1(path)
    train = raw[:8640]
    deviation = np.sqrt(np.square(train - train.mean(axis=0)).sum(axis=0) / 8640)
    np.testing.assert_allclose(data.values, (raw - train.mean(axis=0)) / deviation, rtol=1e-5, atol=1e-5)
    assert data.values.dtype == np.float32
    assert data.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_splits_hold_the_published_windows() -> None:
    values = np.arange(17_420 * 7, dtype=np.float32).reshape(17_420, 7)
    data = etth1.Etth1(values, "")
    expected: dict[Split, tuple[int, int, int]] = {
        "train": (8033, 0, 8640),
        "validation": (2785, 8640 - 512, 11520),
        "test": (2785, 11520 - 512, 14400),
    }
    for split, (count, first, end) in expected.items():
        pasts, futures = windows(data.rows(split, 512), 512, 96)
        assert pasts.shape == (count, 7, 512)
        assert futures.shape == (count, 7, 96)
        np.testing.assert_array_equal(pasts[0], values[first : first + 512].T)
        np.testing.assert_array_equal(futures[-1], values[end - 96 : end].T)
        np.testing.assert_array_equal(futures[3], values[first + 515 : first + 611].T)


@pytest.mark.parametrize(("context", "horizon", "count"), [(96, 24, 2857), (336, 720, 2161), (1, 1, 2880)])
def test_any_context_and_horizon_has_windows(context: int, horizon: int, count: int) -> None:
    data = etth1.Etth1(np.zeros((17_420, 7), np.float32), "")
    pasts, futures = windows(data.rows("test", context), context, horizon)
    assert len(pasts) == len(futures) == count


def test_a_stride_takes_every_so_many_th_window() -> None:
    rows = np.arange(40, dtype=np.float32).reshape(20, 2)
    every, third = windows(rows, 4, 2), windows(rows, 4, 2, stride=3)
    for part, all_of_them in zip(third, every, strict=True):
        np.testing.assert_array_equal(part, all_of_them[::3])


def test_windows_that_do_not_fit_are_refused() -> None:
    data = etth1.Etth1(np.zeros((17_420, 7), np.float32), "")
    with pytest.raises(SetupError, match="2880 rows hold no window of 0 and 2881 steps"):
        windows(data.rows("test", 0), 0, 2881)
    with pytest.raises(SetupError, match="a context of 9000 rows is longer than all that precedes the validation"):
        data.rows("validation", 9000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: ["date,open,close", *lines[1:]], "its first line is 'date,open,close'"),
        (lambda lines: lines[:-1], "it has 17419 rows, not 17420"),
        (lambda lines: [*lines, lines[-1]], "it has 17421 rows, not 17420"),
        (lambda lines: [*lines[:5], lines[5].rpartition(",")[0], *lines[6:]], "is not ETTh1"),
        (lambda lines: [*lines[:5], lines[5] + "x", *lines[6:]], "is not ETTh1"),
        (lambda lines: [*lines[:5], lines[5].rpartition(",")[0] + ",nan", *lines[6:]], "a NaN or an infinity"),
        (lambda lines: lines[:0], "its first line is ''"),
    ],
)
def test_a_file_that_is_something_else_is_refused(
    lines: list[str], tmp_path: Path, change: object, message: str
) -> None:
    assert callable(change)
    path = write(tmp_path / "other.csv", change(lines))
    with pytest.raises(SetupError, match=message) as caught:
        etth1.read_etth1(path)
    assert "vinocast fetch-data etth1" in str(caught.value)


def test_a_missing_or_a_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"none\.csv: No such file"):
        etth1.read_etth1(tmp_path / "none.csv")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SetupError, match="not text"):
        etth1.read_etth1(tmp_path / "binary")


def test_a_look_alike_such_as_etth2_is_pointed_out(
    lines: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        etth1.read_etth1(write(tmp_path / "ETTh2.csv", lines))
    assert "is not the published file" in caplog.text


@pytest.mark.shared_data
def test_the_published_file_is_recognised(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        data = etth1.read_etth1(SHARED_DATA / "ETTh1.csv")
    assert caplog.text == ""
    assert data.sha256 == etth1.SHA256
    np.testing.assert_allclose(data.values[:8640].mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(data.values[:8640].std(axis=0), 1, atol=1e-4)
