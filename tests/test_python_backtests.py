"""``Forecaster.backtest``: the figures of ``vinocast forecast --backtest``, by the rules of a forecast from Python."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
import vinocast
from file_support import write_models, write_wide
from numpy.typing import NDArray
from support import RunVinocast

STEPS, WINDOWS = 20, 6
VALUES = 100 + 10 * np.sin(2 * np.pi * np.arange(900)[:, None] / 24) + np.random.default_rng(1).normal(size=(900, 2))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def sure(models: Path) -> vinocast.Forecaster:
    return vinocast.load(models / "sure")


def test_it_is_what_the_command_prints(
    run_vinocast: RunVinocast, models: Path, sure: vinocast.Forecaster, tmp_path: Path
) -> None:
    values = np.round(VALUES, 3)
    values[870, 1] = np.nan
    write_wide(tmp_path / "mine.csv", values)
    common = ["forecast", tmp_path / "mine.csv", "--models", models, "--default-model", "sure", "--missing",
              "interpolate", "--prediction-length", str(STEPS), "--backtest", str(WINDOWS)]  # fmt: skip
    done = run_vinocast(*common, "--json")
    found = sure.backtest(values, WINDOWS, channels=["c0", "c1"], prediction_length=STEPS, missing="interpolate")
    report, ours = orjson.loads(done.stdout), orjson.loads(orjson.dumps(asdict(found)))
    assert report.keys() == ours.keys()
    for name in ("scores", "comparisons"):
        expected, made = _flat(report.pop(name)), _flat(ours.pop(name))
        assert made.keys() == expected.keys()
        for path, value in made.items():
            wanted = expected[path]
            assert value == (wanted if isinstance(wanted, str) else pytest.approx(wanted, rel=1e-4, nan_ok=True)), path
    assert ours == report
    assert (found.season, found.comparisons["c0"][-1].than) == (24, "seasonal naive (24)")
    assert str(found) == run_vinocast(*common).stdout.removesuffix("\n")
    assert all(verdict in str(found) for verdict in found.verdicts)
    assert len(found.verdicts) == 2


def test_one_series_and_a_frame_are_taken_as_they_are(sure: vinocast.Forecaster) -> None:
    one = sure.backtest(VALUES[:, 0], WINDOWS, prediction_length=STEPS)
    assert (one.series, list(one.scores)) == (1, ["series"])
    hours = pl.datetime_range(pl.datetime(2026, 1, 1), interval="1h", eager=True, end=pl.datetime(2026, 2, 7, 11))
    frame = pl.DataFrame({"hour": hours, "a": VALUES[:, 0], "b": VALUES[:, 1]})
    framed = sure.backtest(frame, WINDOWS, channels=["a"], prediction_length=STEPS)
    assert asdict(framed.scores["a"]["sure"]) == asdict(one.scores["series"]["sure"])
    levels = sure.backtest(VALUES[:, 0], WINDOWS, prediction_length=STEPS, quantile_levels=[0.05, 0.95])
    assert levels.levels == [0.05, 0.95]
    assert levels.scores["series"]["sure"].coverage > one.scores["series"]["sure"].coverage


def test_short_histories_are_padded_where_that_is_asked_for(sure: vinocast.Forecaster) -> None:
    found = sure.backtest(VALUES[:200, 0], WINDOWS, prediction_length=STEPS, short="pad", season=24)
    assert (found.windows, found.season) == (WINDOWS, 24)
    with pytest.raises(vinocast.InvalidShapeError, match=r"expected 632 rows at least, .* got 200"):
        sure.backtest(VALUES[:200, 0], WINDOWS, prediction_length=STEPS)


@pytest.mark.parametrize(
    ("values", "asked", "message"),
    [
        (VALUES[:, 0], {"windows": 0}, "windows: expected 1 at least"),
        (VALUES[:, 0], {"season": 512}, "season: expected 1 to 511 steps, got 512"),
        (VALUES[:, 0], {"prediction_lenght": 3}, "prediction_length"),
        (VALUES[None], {}, r"values: expected \[rows\] or \[rows, channels\], got \[1, 900, 2\]"),
        (VALUES, {"windows": 1}, "window: expected"),
        (np.where(VALUES[:, 0] > 109, np.nan, VALUES[:, 0]), {"windows": 1}, "finite"),
    ],
)
def test_what_cannot_be_is_refused(
    sure: vinocast.Forecaster, values: NDArray[np.float64], asked: dict[str, int], message: str
) -> None:
    with pytest.raises(vinocast.RequestError, match=message):
        sure.backtest(values, **asked)  # type: ignore[arg-type]


def _flat(tree: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of JSON by their paths, NaN for what is null."""
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {key: leaf for name, each in items for key, leaf in _flat(each, f"{path}.{name}").items()}
    return {path: float("nan") if tree is None else tree}
