"""``--backtest``: windows one forecast apart at the end of a file, and figures that numpy comes to as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import vinocast
from file_support import TABLE, walk, write_long, write_wide
from numpy.typing import NDArray
from papers import diebold_mariano
from support import RunVinocast
from vinocast.forecast.quantiles import deviations

STEPS, WINDOWS, SEASON = 10, 3, 24
LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def seasonal(steps: int, columns: int) -> NDArray[np.float64]:
    at = np.arange(steps)[:, None]
    noise = np.random.default_rng(2).normal(size=(steps, columns))
    wave = np.sin(2 * np.pi * at / SEASON) + 0.7 * np.sin(4 * np.pi * at / SEASON)
    return np.round(100 + 10 * np.arange(1, columns + 1) * wave + noise, 3)


def figures(values: NDArray[np.float64], model: vinocast.Forecaster, unit: float = 1.0) -> dict[str, dict[str, float]]:
    """What numpy comes to for one series [steps]; quantiles are those of a series that the model does not know."""
    found: dict[str, dict[str, list[Any]]] = {}
    for back in range(WINDOWS, 0, -1):
        stop = len(values) - back * STEPS
        history, actual = values[stop - 512 : stop], values[stop : stop + STEPS]
        window = np.zeros((512, 7), np.float32)
        window[:, 0] = history
        points = np.asarray(model.forecast(window))[:STEPS, 0]
        scale = deviations(history[None].astype(np.float32))
        quantiles = TABLE.quantiles(LEVELS, points[:, None], scale, None)[..., 0]
        spread = np.abs(history[SEASON:] - history[:-SEASON]).mean()
        for name, forecast, made in (
            ("sure", points, quantiles),
            ("last value", np.full(STEPS, history[-1]), None),
            (f"seasonal naive ({SEASON})", history[-SEASON:][:STEPS], None),
            ("drift", history[-1] + (history[-1] - history[0]) / 511 * np.arange(1, STEPS + 1), None),
        ):
            of = found.setdefault(name, {"error": [], "mase": [], "pinball": [], "inside": [], "size": []})
            error = actual - forecast
            of["error"].append(error)
            of["mase"].append(np.abs(error) / spread)
            of["size"].append(np.abs(actual))
            if made is not None:
                loss = [np.maximum(level * (actual - made[place]), (level - 1) * (actual - made[place]))
                        for place, level in enumerate(LEVELS)]  # fmt: skip
                of["pinball"].append(np.mean(loss))
                of["inside"].append((actual >= made[0]) & (actual <= made[-1]))
    return {
        name: {
            "mse": float(np.mean(np.square(of["error"]))) / unit**2,
            "mae": float(np.mean(np.abs(of["error"]))) / unit,
            "mase": float(np.mean(of["mase"])),
            **({"weighted_quantile_loss": float(2 * np.mean(of["pinball"]) / np.mean(of["size"])),
                "coverage": float(np.mean(of["inside"]))} if of["pinball"] else {}),
        }
        for name, of in found.items()
    }  # fmt: skip


def test_the_figures_are_numpys(run_vinocast: RunVinocast, models: Path, tmp_path: Path) -> None:
    values = seasonal(700, 2)
    write_wide(tmp_path / "mine.csv", values)
    done = run_vinocast("forecast", tmp_path / "mine.csv", "--models", models, "--default-model", "sure", "--backtest",
                        str(WINDOWS), "--prediction-length", str(STEPS), "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = orjson.loads(done.stdout)
    assert {key: report[key] for key in ("model", "windows", "steps", "series", "season", "levels")} == {
        "model": "sure", "windows": WINDOWS, "steps": STEPS, "series": 2, "season": SEASON, "levels": LEVELS,
    }  # fmt: skip
    model = vinocast.load(models / "sure")
    by_column = [figures(values[:, column], model) for column in (0, 1)]
    for column, expected in zip(("c0", "c1"), by_column, strict=True):
        assert list(report["scores"][column]) == list(expected)
        for name, scores in expected.items():
            for score, figure in scores.items():
                assert report["scores"][column][name][score] == pytest.approx(figure, rel=1e-3), (column, name, score)
    # Of all columns errors are in units of each column's deviation before the first window.
    units = values[: -WINDOWS * STEPS].std(axis=0)
    for name in by_column[0]:
        scaled = np.mean([figures(values[:, each], model, units[each])[name]["mse"] for each in (0, 1)])
        assert report["scores"]["all columns"][name]["mse"] == pytest.approx(scaled, rel=1e-3)


def test_it_is_printed_for_a_person(run_vinocast: RunVinocast, models: Path, tmp_path: Path) -> None:
    write_wide(tmp_path / "mine.csv", seasonal(700, 1))
    common = ["forecast", tmp_path / "mine.csv", "--models", models, "--backtest", "2", "--prediction-length", "24"]
    done = run_vinocast(*common, "--default-model", "plain")
    lines = done.stdout.splitlines()
    assert lines[0] == "2 windows of 24 steps, of 1 series; a season of 24 steps"
    assert [line.split() for line in lines[2:4]] == [["c0"], ["MSE", "MAE", "MASE", "WQL", "in", "0.1-0.9"]]
    assert [line[:22].strip() for line in lines[4:8]] == ["plain", "last value", "seasonal naive (24)", "drift"]
    assert lines[4].endswith(" -")  # it has no quantiles
    assert lines[5].endswith("%")
    too_few = "cannot be told: its error is"
    assert [line.partition(" here ")[2][: len(too_few)] for line in lines[9:11]] == [too_few] * 2
    assert lines[9].startswith("Whether plain beats the last value here ")
    assert lines[10].startswith("Whether plain beats the seasonal naive (24) here ")
    assert lines[10].endswith("and 2 windows are fewer than the 5 that a test needs.")
    done = run_vinocast(*common, "--default-model", "sure", "--season", "12")
    assert "seasonal naive (12)" in done.stdout
    assert done.stdout.splitlines()[4].endswith("%")


def test_whether_the_model_beats_the_naive_is_said_with_how_sure_that_is(
    run_vinocast: RunVinocast, models: Path, tmp_path: Path
) -> None:
    windows = 9
    values = walk(700, 2)
    # Of which the naive knows nearly all.
    values[:, 0] = np.resize(seasonal(SEASON, 1), 700) + np.random.default_rng(3).normal(0, 0.1, 700).round(3)
    values[650, 0] = np.nan
    write_wide(tmp_path / "mine.csv", values)
    common = ["forecast", tmp_path / "mine.csv", "--models", models, "--default-model", "plain", "--season",
              str(SEASON), "--prediction-length", str(STEPS), "--missing", "interpolate"]  # fmt: skip
    done = run_vinocast(*common, "--backtest", str(windows), "--json")
    assert done.returncode == 0, done.stderr
    report = orjson.loads(done.stdout)
    model, errors = vinocast.load(models / "plain"), np.empty((3, windows, STEPS, 2))
    for window in range(windows):
        stop = len(values) - (windows - window) * STEPS
        history = values[stop - 512 : stop].copy()
        for column in (0, 1):
            known = ~np.isnan(history[:, column])
            history[:, column] = np.interp(np.arange(512), np.arange(512)[known], history[known, column])
        points = model.forecast(history, channels=["c0", "c1"], prediction_length=STEPS)
        methods: list[NDArray[Any]] = [points.predictions, history[-1:], history[-SEASON:][:STEPS]]
        for method, made in enumerate(methods):
            errors[method, window] = np.abs(values[stop : stop + STEPS] - made)
    units = np.nanstd(values[: len(values) - windows * STEPS], axis=0)
    for name, of in (("c0", errors[..., :1]), ("c1", errors[..., 1:]), ("all columns", errors / units)):
        means: NDArray[np.float64] = np.nanmean(of, axis=(2, 3))
        own, *others = means
        for found, than, other in zip(
            report["comparisons"][name], ("last value", f"seasonal naive ({SEASON})"), others, strict=True
        ):
            confidence = diebold_mariano(other - own)
            verdict = "better" if confidence >= 0.95 else "worse" if confidence <= 0.05 else "unclear"
            assert (found["than"], found["windows"], found["verdict"]) == (than, windows, verdict)
            assert found["confidence"] == pytest.approx(confidence, rel=1e-3)
            assert found["error_ratio"] == pytest.approx(own.mean() / other.mean(), rel=1e-3)
    verdicts = {name: [each["verdict"] for each in of] for name, of in report["comparisons"].items()}
    assert {verdict for each in verdicts.values() for verdict in each} >= {"better", "worse"}, verdicts
    said = run_vinocast(*common, "--backtest", str(windows)).stdout
    words = {"better": "plain beats the", "worse": "plain is WORSE than the", "unclear": "Whether plain beats the"}
    for verdict, than in zip(verdicts["all columns"], ("last value", f"seasonal naive ({SEASON})"), strict=True):
        assert f"\n{words[verdict]} {than} here" in said
    better = sum(verdicts[column][1] == "better" for column in ("c0", "c1"))
    assert f"against the seasonal naive ({SEASON}): better on {better} of 2" in said


def test_more_windows_than_the_file_holds_are_refused(run_vinocast: RunVinocast, models: Path, tmp_path: Path) -> None:
    write_wide(tmp_path / "mine.csv", walk(512 + 96 * 2))
    common = ["forecast", tmp_path / "mine.csv", "--models", models, "--default-model", "plain", "--json"]
    assert orjson.loads(run_vinocast(*common, "--backtest", "2").stdout)["windows"] == 2
    done = run_vinocast(*common, "--backtest", "3")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "--backtest 3: its 704 steps hold 2 windows of 96 steps behind the 512 that the model reads before"
        in done.stderr
    )
    assert done.stderr.endswith("ask for fewer, or for a shorter --prediction-length, or say --short pad\n")
    padded = run_vinocast(*common, "--backtest", "7", "--short", "pad")
    assert orjson.loads(padded.stdout)["windows"] == 7
    done = run_vinocast(*common, "--backtest", "8", "--short", "pad")
    assert "hold 7 windows" in done.stderr
    done = run_vinocast(*common, "--backtest", "1", "--season", "512")
    assert done.returncode == 1
    assert "--season 512: expected fewer steps than the 512 that the model reads" in done.stderr
    for option in ("--output", "--plot"):
        done = run_vinocast(*common, "--backtest", "1", option, tmp_path / "out.html")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{option} is of a forecast" in done.stderr


def test_a_long_table_is_scored_as_one(run_vinocast: RunVinocast, models: Path, tmp_path: Path) -> None:
    values = walk(560, 30)
    write_long(tmp_path / "long.csv", values)
    common = ["forecast", tmp_path / "long.csv", "--models", models, "--default-model", "plain", "--json"]
    done = run_vinocast(*common, "--backtest", "2", "--prediction-length", "20")
    report = orjson.loads(done.stdout)
    assert (report["series"], list(report["scores"])) == (30, ["target"])
    errors = [values[stop : stop + 20] - values[stop - 1] for stop in (520, 540)]
    assert report["scores"]["target"]["last value"]["mse"] == pytest.approx(float(np.mean(np.square(errors))))


@pytest.mark.parametrize("known", [60, 30, 3])
def test_what_costs_nothing_is_scored_by_what_is_known_and_not_by_padding(
    run_vinocast: RunVinocast, models: Path, tmp_path: Path, known: int
) -> None:
    """Of padding, which never moves, a naive forecast errs by nothing: no unit of MASE, and no band."""
    values = walk(known + 4)
    write_wide(tmp_path / "mine.csv", values)
    options = ["--models", models, "--default-model", "sure", "--prediction-length", "4", "--backtest", "1", "--json"]
    done = run_vinocast("forecast", tmp_path / "mine.csv", *options, "--short", "pad", "--season", "24")
    assert done.returncode == 0, done.stderr
    scores = orjson.loads(done.stdout)["scores"]["c0"]
    past, actual = values[:known, 0], values[known:, 0]
    points = {
        "last value": np.full(4, past[-1]),
        "seasonal naive (24)": np.resize(past[-24:], 4),
        "drift": past[-1] + (past[-1] - past[0]) / (known - 1) * np.arange(1, 5),
    }
    spread = np.abs(past[24:] - past[:-24]).mean() if known > 24 else None
    for name, forecast in points.items():
        error = np.abs(actual - forecast)
        assert scores[name]["mae"] == pytest.approx(float(error.mean()), rel=1e-4)
        assert scores[name]["mase"] == (spread and pytest.approx(float(error.mean() / spread), rel=1e-4))
    # Quantiles are as wide as what the last value erred by in the 60 steps, and not in 452 that were made up.
    if known == 60:
        errors = np.array([past[at : at + 4] - past[at - 1] for at in np.arange(24, 57)])
        made = past[-1] + np.quantile(errors, LEVELS, axis=0)
        inside = (actual >= made[0]) & (actual <= made[-1])
        assert scores["last value"]["coverage"] == float(inside.mean()) > 0


def test_what_is_missing_is_not_scored(run_vinocast: RunVinocast, models: Path, tmp_path: Path) -> None:
    values = walk(560)
    values[545, 0] = np.nan
    write_wide(tmp_path / "mine.csv", values)
    common = ["forecast", tmp_path / "mine.csv", "--models", models, "--default-model", "plain", "--json"]
    done = run_vinocast(*common, "--backtest", "1", "--prediction-length", "20")
    errors = values[540:, 0] - values[539, 0]
    scored = orjson.loads(done.stdout)["scores"]["c0"]["last value"]
    assert scored["mse"] == pytest.approx(float(np.nanmean(np.square(errors))))
    done = run_vinocast(*common, "--backtest", "2", "--prediction-length", "10")
    assert done.returncode == 1
    assert "line 547, column 'c0': no value" in done.stderr


def test_units_that_lie_far_from_zero_are_scored_alike(run_vinocast: RunVinocast, models: Path, tmp_path: Path) -> None:
    reports = []
    for name, by in (("near", 0), ("far", 2.0**30)):
        write_wide(tmp_path / f"{name}.csv", seasonal(620, 1) + by)
        options = [
            "--models",
            models,
            "--default-model",
            "sure",
            "--prediction-length",
            "20",
            "--backtest",
            "5",
            "--json",
        ]
        reports.append(orjson.loads(run_vinocast("forecast", tmp_path / f"{name}.csv", *options).stdout))
    near, far = reports
    assert near["season"] == far["season"] == SEASON
    for method, scores in near["scores"]["c0"].items():
        for name in ("mae", "mse", "mase", "coverage"):
            assert far["scores"]["c0"][method][name] == pytest.approx(scores[name], rel=1e-3)


def test_more_windows_than_memory_has_room_for_are_refused(
    run_vinocast: RunVinocast, models: Path, tmp_path: Path
) -> None:
    write_long(tmp_path / "long.csv", walk(1100, 100))
    common = ["forecast", tmp_path / "long.csv", "--models", models, "--default-model", "plain"]
    done = run_vinocast(*common, "--backtest", "501", "--prediction-length", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "--backtest 501: 50100 windows in all are more than 50000" in done.stderr
    write_wide(tmp_path / "wide.csv", walk(2760, 100))
    levels = ",".join(f"{place / 100}" for place in range(1, 100))
    common = ["forecast", tmp_path / "wide.csv", "--models", models, "--default-model", "sure", "--quantiles", levels]
    done = run_vinocast(*common, "--backtest", "224", "--prediction-length", "10")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "--backtest 224: 22400 windows in all, of 512 steps that are read and 10 that are forecast at 99 levels, are "
        in (done.stderr)
    )
    assert f"are {22400 * (512 + 990)} numbers, more than the {1 << 25} that are kept" in done.stderr
