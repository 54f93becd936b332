"""``vinocast forecast`` as its users run it: files as they have them, and what is said of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest
import vinocast
from file_support import TABLE, close, expected, numbers, rows_of, walk, write_long, write_wide
from support import CHANNELS, MODELS, ROOT, SHARED_DATA, VINOCAST, RunVinocast
from vinocast.data.bundled import BUNDLED_GENERAL
from vinocast.data.times.moment import read_moment
from vinocast.data.times.steps import read_frequency
from vinocast.forecast.quantiles import deviations

HOST = ROOT / "examples" / "host.csv"


def test_a_wide_table_is_forecast_column_by_column(
    run_vinocast: RunVinocast, model: vinocast.Forecaster, tmp_path: Path
) -> None:
    values = walk(600, 10)
    times = write_wide(tmp_path / "mine.csv", values)
    done = run_vinocast("forecast", tmp_path / "mine.csv")
    assert done.returncode == 0, done.stderr
    header, rows = rows_of(done.stdout)
    assert header == ["date", *(f"c{n}" for n in range(10))]
    assert [row[0] for row in rows] == read_moment(times[-1]).after(read_frequency("h"), 1, 96)
    assert close(numbers(rows), expected(model, values), values)
    assert done.stderr.endswith(f"mine.csv: 96 steps of 1 hour by model {BUNDLED_GENERAL}, for 10 series\n")


@pytest.mark.shared_data
def test_the_transformer_is_forecast_as_its_model_does(run_vinocast: RunVinocast, model: vinocast.Forecaster) -> None:
    done = run_vinocast("forecast", SHARED_DATA / "ETTh1.csv", "--prediction-length", "24")
    assert done.returncode == 0, done.stderr
    header, rows = rows_of(done.stdout)
    assert header == ["date", *CHANNELS]
    assert [rows[0][0], rows[-1][0]] == ["2018-06-26 20:00:00", "2018-06-27 19:00:00"]
    values = np.loadtxt(SHARED_DATA / "ETTh1.csv", delimiter=",", skiprows=1, usecols=range(1, 8))
    assert close(numbers(rows), np.asarray(model.forecast(values[-512:]))[:24], values)


@pytest.mark.shared_data
def test_the_hourly_candles_are_forecast_as_they_are(run_vinocast: RunVinocast, model: vinocast.Forecaster) -> None:
    path = SHARED_DATA / "coinbase" / "BTCUSD_1h.csv"
    done = run_vinocast("forecast", path, "--columns", "close,volume")
    assert done.returncode == 0, done.stderr
    header, rows = rows_of(done.stdout)
    assert header == ["date", "close", "volume"]
    assert [row[0] for row in rows[:4]] == [f"2019-10-17 {hour}" for hour in ("10-AM", "11-AM", "12-PM", "01-PM")]
    values = np.array([row[5:8:2] for row in rows_of(path.read_text())[1][1:]], float)[::-1]
    assert close(numbers(rows), expected(model, values), values)
    for said in ("1 line before the header passed over", "left out, as no numbers to forecast: 'symbol'",
                 "5 rows out of order and a copy of one beside it", "the newest row comes first"):  # fmt: skip
        assert said in done.stderr


@pytest.mark.parametrize("header", ["value\n", ""])
def test_a_file_of_one_column_is_counted(
    run_vinocast: RunVinocast, model: vinocast.Forecaster, tmp_path: Path, header: str
) -> None:
    values = walk(512)
    (tmp_path / "one.csv").write_text(header + "\n".join(f"{value}" for value in values[:, 0]))
    done = run_vinocast("forecast", tmp_path / "one.csv")
    found, rows = rows_of(done.stdout)
    assert found == ["step", "value" if header else "column_1"]
    assert [row[0] for row in rows] == [str(step) for step in range(513, 609)]
    assert close(numbers(rows), expected(model, values), values)
    assert "no column of times: steps are counted" in done.stderr


@pytest.mark.slow
def test_a_long_table_of_a_thousand_series_goes_in_one_go(
    run_vinocast: RunVinocast, model: vinocast.Forecaster, tmp_path: Path
) -> None:
    values = walk(520, 1000)
    write_long(tmp_path / "long.csv", values)
    done = run_vinocast("forecast", tmp_path / "long.csv")
    assert done.returncode == 0, done.stderr
    header, rows = rows_of(done.stdout)
    assert header == ["item_id", "timestamp", "target"]
    assert len(rows) == 96_000
    assert [row[0] for row in rows[::96]] == [f"item {n}" for n in range(1000)]
    assert [row[1] for row in rows[-2:]] == ["2025-10-06", "2025-10-07"]
    got = numbers(rows, 2).reshape(1000, 96).T
    assert close(got, expected(model, values), values)
    assert done.stderr.endswith(f"96 steps of 1 day by model {BUNDLED_GENERAL}, for 1000 series\n")


def test_series_that_do_not_overlap_in_time_are_forecast_each_from_its_own(
    run_vinocast: RunVinocast, model: vinocast.Forecaster, tmp_path: Path
) -> None:
    values = walk(520, 2)
    times = read_moment("2024-03-01 00:00").after(read_frequency("h"), 0, 1040)
    path = tmp_path / "mine.csv"

    def write(rows: int) -> None:
        lines = [f"{'AB'[n // rows]},{times[n]},{values[n % rows, n // rows]}" for n in range(2 * rows)]
        path.write_text("\n".join(["item_id,timestamp,target", *lines, ""]))

    write(520)
    done = run_vinocast("forecast", path, "--prediction-length", "5")
    assert done.returncode == 0, done.stderr
    header, rows = rows_of(done.stdout)
    assert header == ["item_id", "timestamp", "target"]
    assert [row[0] for row in rows] == ["A"] * 5 + ["B"] * 5
    assert [rows[0][1], rows[5][1]] == ["2024-03-22 16:00", "2024-04-13 08:00"]
    assert close(numbers(rows, 2).reshape(2, 5).T, expected(model, values)[:5], values)
    # Together they are long enough, and neither is.
    write(300)
    done = run_vinocast("forecast", path, "--prediction-length", "5")
    assert (done.returncode, done.stdout) == (1, "")
    assert "item_id 'A': 300 steps are fewer than the 512" in done.stderr


def test_semicolons_decimal_commas_and_a_byte_order_mark_change_nothing(
    run_vinocast: RunVinocast, tmp_path: Path
) -> None:
    values = walk(530, 2)
    write_wide(tmp_path / "plain.csv", values, "D", "2024-01-01")
    text = (tmp_path / "plain.csv").read_text().replace(",", ";").replace(".", ",")
    text = re.sub(r"(\d{4})-(\d\d)-(\d\d)", r"\3.\2.\1", text)
    (tmp_path / "german.csv").write_text("\ufeff" + text, newline="\r\n")
    plain, german = (run_vinocast("forecast", tmp_path / name) for name in ("plain.csv", "german.csv"))
    assert german.returncode == 0, german.stderr
    assert re.sub(r"(\d\d)\.(\d\d)\.(\d{4})", r"\3-\2-\1", german.stdout) == plain.stdout
    for said in ("byte order mark", "semicolons", "decimal commas"):
        assert said in german.stderr


def test_two_zones_are_one_line_of_time(run_vinocast: RunVinocast, tmp_path: Path) -> None:
    values = walk(600)
    utc = read_moment("2024-10-10T00:00:00Z").after(read_frequency("h"), 0, 600)
    summer = read_moment("2024-10-10T02:00:00+02:00").after(read_frequency("h"), 0, 600)
    winter = read_moment("2024-10-10T01:00:00+01:00").after(read_frequency("h"), 0, 600)
    for name, times in (("utc.csv", utc), ("local.csv", [*summer[:409], *winter[409:]])):
        lines = [f"{time},{value}" for time, value in zip(times, values[:, 0], strict=True)]
        (tmp_path / name).write_text("\n".join(["date,a", *lines]))
    one, two = (run_vinocast("forecast", tmp_path / name) for name in ("utc.csv", "local.csv"))
    assert two.returncode == 0, two.stderr
    assert two.stdout == one.stdout
    assert rows_of(two.stdout)[1][0][0] == "2024-11-04T00:00:00Z"
    assert "times of 2 zones are converted to UTC" in two.stderr
    mixed = (tmp_path / "local.csv").read_text().replace("2024-10-20T02:00:00+02:00", "2024-10-20T02:00:00")
    (tmp_path / "mixed.csv").write_text(mixed)
    done = run_vinocast("forecast", tmp_path / "mixed.csv")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(r"line 242, column 'date': '2024-10-20T02:00:00' has no zone", done.stderr)


def test_gaps_are_refused_with_their_place_or_filled(
    run_vinocast: RunVinocast, model: vinocast.Forecaster, tmp_path: Path
) -> None:
    values = walk(600, 2)
    holed = values.copy()
    holed[550, 1] = holed[560:562, 0] = np.nan
    write_wide(tmp_path / "gaps.csv", holed)
    lines = (tmp_path / "gaps.csv").read_text().splitlines()
    del lines[581:583]  # rows that are not there are gaps as empty cells are
    (tmp_path / "gaps.csv").write_text("\n".join(lines))
    done = run_vinocast("forecast", tmp_path / "gaps.csv")
    assert (done.returncode, done.stdout) == (1, "")
    assert "gaps.csv: line 552, column 'c1': no value, one of 7 in the 512 steps that are read" in done.stderr
    assert "--missing interpolate fills them" in done.stderr
    done = run_vinocast("forecast", tmp_path / "gaps.csv", "--missing", "interpolate")
    assert done.returncode == 0, done.stderr
    assert "7 values interpolated" in done.stderr
    holed[580:582] = np.nan
    at = np.arange(600)
    filled = np.stack([np.interp(at, at[~np.isnan(column)], column[~np.isnan(column)]) for column in holed.T], axis=1)
    assert close(numbers(rows_of(done.stdout)[1]), expected(model, filled), filled)
    done = run_vinocast("forecast", tmp_path / "gaps.csv", "--missing", "interpolate", "--max-missing-share", "0.001")
    assert done.returncode == 1
    assert "column 'c0': 4 of the 512 steps that are read have no value, more than may be filled" in done.stderr
    # Gaps before the steps that are read are nobody's concern.
    old = values.copy()
    old[3] = np.nan
    write_wide(tmp_path / "old.csv", old)
    done = run_vinocast("forecast", tmp_path / "old.csv")
    assert close(numbers(rows_of(done.stdout)[1]), expected(model, values), values)


def test_short_series_are_refused_or_padded(
    run_vinocast: RunVinocast, model: vinocast.Forecaster, tmp_path: Path
) -> None:
    values = walk(40)
    write_wide(tmp_path / "short.csv", values)
    done = run_vinocast("forecast", tmp_path / "short.csv")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"40 steps are fewer than the 512 that model {BUNDLED_GENERAL} reads: --short pad" in done.stderr
    done = run_vinocast("forecast", tmp_path / "short.csv", "--short", "pad", "--format", "json")
    answer = orjson.loads(done.stdout)
    assert answer["padded"] == 472
    padded = np.concatenate([np.repeat(values.mean(axis=0, keepdims=True), 472, axis=0), values])
    assert close(np.array(answer["predictions"]), expected(model, padded), padded)


def test_more_steps_than_the_models_need_a_rollout(run_vinocast: RunVinocast, tmp_path: Path) -> None:
    write_wide(tmp_path / "mine.csv", walk(600))
    done = run_vinocast("forecast", tmp_path / "mine.csv", "--prediction-length", "100")
    assert done.returncode == 1
    assert f"--prediction-length 100: model {BUNDLED_GENERAL} forecasts 96 steps; --rollout makes more" in done.stderr
    done = run_vinocast("forecast", tmp_path / "mine.csv", "--prediction-length", "200", "--rollout")
    rows = rows_of(done.stdout)[1]
    assert len(rows) == 200
    assert rows[-1][0] == "2024-04-03 07:00"
    # The second horizon is the forecast of the first's window.
    again = tmp_path / "again.csv"
    lines = (tmp_path / "mine.csv").read_text().splitlines() + [",".join(row) for row in rows[:96]]
    again.write_text("\n".join(lines))
    second = rows_of(run_vinocast("forecast", again).stdout)[1]
    assert close(numbers(second), numbers(rows[96:192]), walk(600))


def test_quantiles_are_those_of_the_models_table(run_vinocast: RunVinocast, models: Path, tmp_path: Path) -> None:
    values = walk(512, 2)
    path = tmp_path / "mine.csv"
    write_wide(path, values)
    path.write_text(path.read_text().replace("c0,c1", "wind,OT"))  # the second is a channel of the model
    done = run_vinocast("forecast", path, "--models", models, "--default-model", "sure", "--quantiles", "0.9,0.1")
    assert done.returncode == 0, done.stderr
    header, rows = rows_of(done.stdout)
    assert header == ["date", "wind", "OT", "wind_0.1", "OT_0.1", "wind_0.9", "OT_0.9"]
    table = numbers(rows)
    scales = deviations(values.T.astype(np.float32))
    for column, channel in ((0, None), (1, [6])):
        made = TABLE.quantiles([0.1, 0.9], table[:, [column]], scales[[column]], channel)
        np.testing.assert_allclose(table[:, [2 + column, 4 + column]], made[..., 0].T, rtol=1e-5)
    # Of a series that is short the bands go by what is known of it.
    write_wide(path, values[-40:, :1])
    done = run_vinocast("forecast", path, "--models", models, "--default-model", "sure", "--quantiles", "0.9,0.1",
                        "--short", "pad")  # fmt: skip
    table = numbers(rows_of(done.stdout)[1])
    made = TABLE.quantiles([0.1, 0.9], table[:, :1], deviations(values[-40:, :1].T.astype(np.float32)), None)
    np.testing.assert_allclose(table[:, 1:], made[..., 0].T, rtol=1e-5)
    refused = run_vinocast("forecast", path, "--models", models, "--default-model", "plain", "--quantiles", "0.5")
    assert refused.returncode == 1
    assert "--quantiles: model plain has no table of residuals; make one with 'vinocast calibrate'" in refused.stderr


def test_standard_input_is_a_file(run_vinocast: RunVinocast, tmp_path: Path) -> None:
    write_wide(tmp_path / "mine.csv", walk(600))
    named = run_vinocast("forecast", tmp_path / "mine.csv")
    piped = run_vinocast("forecast", "-", input=(tmp_path / "mine.csv").read_text())
    assert piped.stdout == named.stdout
    assert piped.stderr.startswith("standard input: ")


@pytest.mark.parametrize(
    ("text", "options", "code", "said"),
    [
        ("", [], 1, "it is empty: expected a header and rows"),
        ("date,a\n", [], 1, "a header and no rows"),
        ("date,a\n2024-01-01,1\n2024-01-02,one\n2024-01-03,2\n2024-01-04,3\n", [], 1,
         "line 3, column 'a': 'one' is no number"),
        ("date,a\n01/02/2024,1\n02/02/2024,1\n", [], 1, "line 2, column 'date': '01/02/2024' may be of day and month"),
        ("date,a\n2024-01-01,1\n2024-01-02,2\n", ["--columns", "b"], 1, "no column 'b'; there is date, a"),
        ("date,a\n2024-01-01,1\n2024-01-02,2\n", ["--target", "date"], 1, "column 'date': no numbers"),
        ("date,a\n2024-01-01,1\n", ["--columns", "a,a"], 2, "names between commas, each once"),
        ("date,a\n2024-01-01,1\n", ["--columns", "a", "--target", "a"], 2, "--columns and --target say the same"),
        ("date,a\n2024-01-01,1\n", ["--quantiles", "0.1,2"], 2, "numbers of 0 to 1 between commas"),
        ("date,a\n2024-01-01,1\n", ["--quantiles", "nan"], 2, "numbers of 0 to 1 between commas"),
        ("date,a\n2024-01-01,1\n", ["--season", "24"], 2, "--season is of --backtest"),
        ("date,a\n2024-01-01,1\n", ["--json"], 2, "--json is of --backtest; --format json"),
        ("date,a\n2024-01-01,1\n", ["--output", "out.xlsx"], 1, "expected a name that ends with .csv, .json, .parquet"),
        ("date,a\n2024-01-01,1\n", ["--output", "nowhere/out.csv"], 1, "--output nowhere/out.csv cannot be written"),
        ("date,a\n2024-01-01,1\n", ["--plot", "out.pdf"], 1,
         "--plot out.pdf: expected a name that ends with .html or .png"),
        ("date,a\n2024-01-01,1\n2024-01-02,2\n", ["--default-model", "none"], 1, "none is neither a folder"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_sentence(
    run_vinocast: RunVinocast, tmp_path: Path, text: str, options: list[str], code: int, said: str
) -> None:
    (tmp_path / "mine.csv").write_text(text)
    done = run_vinocast("forecast", "mine.csv", *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.csv"]


def test_options_are_variables(run_vinocast: RunVinocast) -> None:
    variables = {"VINOCAST_FORECAST_PREDICTION_LENGTH": "3", "VINOCAST_FORECAST_COLUMNS": "runnable,memory_used_mib"}
    done = run_vinocast("forecast", HOST, env=os.environ | variables)
    header, rows = rows_of(done.stdout)
    assert header == ["second", "runnable", "memory_used_mib"]
    assert [row[0] for row in rows] == ["3600", "3601", "3602"]


def test_it_imports_no_web_framework_and_no_torch(tmp_path: Path) -> None:
    code = """
import sys
from vinocast.cli import main
main(sys.argv[1:], prog_name="vinocast", standalone_mode=False)
heavy = {"torch", "transformers", "fastapi", "uvicorn", "starlette", "pyarrow", "plotly", "matplotlib"}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "forecast", str(HOST)], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stderr.endswith("\n[]\n"), done.stderr


def test_help_is_a_page_to_work_from(run_vinocast: RunVinocast) -> None:
    page = run_vinocast("forecast", "--help").stdout
    for said in ("vinocast forecast sales.csv --backtest 5", "--quantiles 0.1,0.9", "VINOCAST_FORECAST_MISSING",
                 "VINOCAST_FORECAST_ID", "default: refuse]", "VINOCAST_MODELS"):  # fmt: skip
        assert said in page


def test_models_are_those_of_a_folder(run_vinocast: RunVinocast, models: Path, tmp_path: Path) -> None:
    write_wide(tmp_path / "mine.csv", walk(600))
    done = run_vinocast("forecast", tmp_path / "mine.csv", "--models", models)
    assert done.returncode == 1
    assert "name one with --default-model; there are: plain, sure" in done.stderr
    done = run_vinocast("forecast", tmp_path / "mine.csv", "--default-model", MODELS / BUNDLED_GENERAL)
    assert done.returncode == 0, done.stderr
    assert VINOCAST.is_file()
