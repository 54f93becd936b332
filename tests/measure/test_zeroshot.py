"""``benchmarks.zeroshot``: its data sets, its figures beside numpy's, and a short run on what comes along."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import vinocast
from numpy.typing import NDArray
from support import PATIENCE, ROOT, SHARED_DATA
from vinocast.errors import SetupError

from benchmarks.zeroshot.bars import bars
from benchmarks.zeroshot.figures import Figures, Measured, Times
from benchmarks.zeroshot.methods import CONTEXT, HORIZON, INNER, LEVELS, Naive, Ridge
from benchmarks.zeroshot.sets import Found, find_sets, made_dataset
from benchmarks.zeroshot.tables import to_markdown

# It imports torch.
pytestmark = pytest.mark.slow


def random_walks(rows: int, columns: int) -> NDArray[np.float64]:
    return np.random.default_rng(5).standard_normal((rows, columns)).cumsum(0)


@pytest.mark.shared_data
def test_the_sets_are_divided_as_their_published_figures_are() -> None:
    found, missing = find_sets([SHARED_DATA, SHARED_DATA / "coinbase"])
    etth1, host, candles = (each.data for each in found if each.stated)
    assert [line.partition(":")[0] for line in missing][:2] == ["ETTh2", "ETTm1"]
    raw = np.loadtxt(SHARED_DATA / "ETTh1.csv", delimiter=",", skiprows=1, usecols=range(1, 8))
    assert (etth1.targets["test"], etth1.season) == ((11_520, 14_400), 24)
    assert np.array_equal(etth1.values, raw)
    assert np.allclose(etth1.deviation, raw[:8640].std(axis=0))
    assert (host.season, host.targets["test"]) == (1, (2880, 3600))
    assert (candles.season, len(candles.values)) == (24, 20_111)
    # The newest hour, by the first row of the file; the test rows begin on 2019-05-02.
    assert candles.values[-1] == pytest.approx([np.log1p(492394.56), np.log1p(1e4 * np.log(8056.83 / 8021.23))])
    assert np.isfinite(candles.values).all()


def test_a_file_that_is_too_short_for_its_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ETTm1.csv").write_text(
        "date,OT\n2016-07-01 00:00:00,1\n2016-07-01 00:15:00,2\n2016-07-01 00:30:00,3\n"
    )
    with pytest.raises(SetupError, match="expected 57600 rows at least, got 3"):
        find_sets([tmp_path])


def test_ridge_learns_what_repeats_and_its_bands_cover() -> None:
    at = np.arange(4000)
    noise = 0.1 * np.random.default_rng(6).standard_normal(4000)
    data = made_dataset("waves", (np.sin(at / 8) + noise)[:, None], ["wave"], "", 50)
    ridge = Ridge()
    ridge.fit(data)
    rows = data.asked("test", CONTEXT)
    cut = np.stack([rows[start : start + CONTEXT + HORIZON].T for start in range(0, 190, 10)])
    answer = ridge.forecast(data, cut[..., :CONTEXT])
    actual = cut[..., CONTEXT:]
    assert np.abs(answer.points - actual).mean() < 0.1
    low, high = answer.quantiles[0], answer.quantiles[-1]
    assert ((low < actual) & (actual < high)).mean() == pytest.approx(0.9, abs=0.05)
    short = made_dataset("short", random_walks(600, 1), ["a"], "", 1)
    ridge.fit(short)
    assert np.isnan(ridge.forecast(short, cut[..., :CONTEXT]).points).all()


def test_the_naive_takes_the_last_value_where_a_season_has_no_room() -> None:
    data = made_dataset("walk", random_walks(1000, 1), ["a"], "", 96)
    pasts = data.asked("test", CONTEXT)[None, :CONTEXT].swapaxes(1, 2)
    assert (Naive().forecast(data, pasts[..., -64:]).points == pasts[..., -1:]).all()
    assert (Naive().forecast(data, pasts[..., -128:]).points == pasts[..., -96:]).all()


def measured(name: str, mae: float, wql: float, covered: float, *, stated: bool) -> Measured:
    data = made_dataset(name, random_walks(700, 1), ["a"], "", 1)
    coverage = {"80 %": covered, "90 %": 0.9}
    own, naive = Figures(mae, 1, wql, coverage), Figures(0.5, 1, 0.25, coverage)
    figures = {"own": own, "other": own, Naive.name: naive}
    return Measured(Found(data, stated), 60, figures, {64: 0.5, 128: 1.0, 256: 2.0}, {"80 %": 0.8, "90 %": 0.87})


def test_the_bars_are_over_the_stated_sets_alone() -> None:
    several = [
        measured("a", 0.4, 0.2, 0.8, stated=True),
        measured("b", 0.5, 0.1, 0.75, stated=True),
        measured("c", 5.0, 2.0, 0.1, stated=False),
    ]
    times = {
        "own": Times({1: 1.0, 7: 2.0}, {1: 0.36, 7: 1.4}),
        "other": Times({1: 1.0, 7: 2.0}, {1: 0.3, 7: 1.0}),
        Naive.name: Times({1: 1.0, 7: 2.0}, {1: math.nan, 7: math.nan}),
    }
    to_hold = list(bars(several, "own", "other", times))
    found = {bar.text: (bar.figure, bar.holds) for bar in to_hold}
    assert found == {
        "MAE over the naive's, geometric mean of 2 sets": (pytest.approx(math.sqrt(0.8)), True),
        "MAE over the naive's, worst set: b": (1.0, True),
        "WQL over the naive's, geometric mean of 2 sets": (pytest.approx(math.sqrt(0.32)), True),
        "WQL over the naive's, worst set: a": (0.8, True),
        "80 % bands, a": (0.8, True),
        "80 % bands, b": (0.75, False),
        "90 % bands, calibrated, a": (0.87, False),
        "90 % bands, calibrated, b": (0.87, False),
        "MAE over the naive's, 64 points, geometric mean": (pytest.approx(0.5), True),
        "MAE over the naive's, 128 points, geometric mean": (pytest.approx(1), True),
        "MAE over the naive's, 256 points, geometric mean": (pytest.approx(2), False),
        "infer() of one series, ms": (0.36, False),
        "infer() of 7 series over that of other": (1.4, True),
    }
    text = to_markdown(several, "own", times, to_hold)
    assert "| geometric mean of the sets of the bars | 0.894 | 0.894 |" in text
    assert f"| geometric mean of all | {(0.8 * 1 * 10) ** (1 / 3):.3f} | {(0.8 * 1 * 10) ** (1 / 3):.3f} |" in text
    assert "| 80 % bands, b | 0.750 | 0.76 to 0.84 | NO |" in text


def test_a_short_run_gives_the_figures_that_numpy_comes_to() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.zeroshot", "--windows", "4", "--turns", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    # Of a run as short as this not all has to hold.
    assert done.returncode in (0, 1), done.stderr
    assert "left out: ETTh1: no ETTh1.csv in the folders of --data" in done.stderr
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines() if line[:1] == "|"
    ]
    own, mae, wql, *_ = [row for row in rows if row[0] == "host counters"]
    heads = next(row for row in rows if row[:2] == ["data", "vinocast-general"])

    values = np.loadtxt(ROOT / "examples" / "host.csv", delimiter=",", skiprows=1)[:, 1:]
    deviation = values[:2520].std(axis=0)
    starts = range(2880 - CONTEXT, 2880 - CONTEXT + 625, 157)
    pasts = np.stack([values[start : start + CONTEXT] for start in starts])
    actual = np.stack([values[start + CONTEXT : start + CONTEXT + HORIZON] for start in starts])
    model = vinocast.load("vinocast-general")
    made = model.forecast(pasts, channels=[f"c{column}" for column in range(7)], quantile_levels=LEVELS)
    error = float((np.abs(actual - made.quantiles[0.5]) / deviation).mean())
    naive = float((np.abs(actual - pasts[:, -1:]) / deviation).mean())
    assert own[1:4] == ["4 of 7", "1", f"{error:.3f}"]
    assert float(mae[heads.index("vinocast-general")]) == pytest.approx(error / naive, abs=1e-3)
    losses = []
    for level in INNER:
        short = (actual - made.quantiles[level]) / deviation
        losses.append(np.maximum(level * short, (level - 1) * short).mean())
    mean = values[:2520].mean(axis=0)
    assert float(own[5]) == pytest.approx(2 * np.mean(losses) / np.abs((actual - mean) / deviation).mean(), abs=1e-3)
    inside = (actual >= made.quantiles[0.1]) & (actual <= made.quantiles[0.9])
    assert float(own[6]) == pytest.approx(100 * inside.mean(), abs=0.1)
    assert 0 < float(wql[1]) < 2
