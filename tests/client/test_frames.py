"""Frames of pandas and polars, given and made, by a model in this process and by a child process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import polars as pl
import pytest
import vinocast
from support import CHANNELS, MODEL, ROOT, near, random_windows

Frame: TypeAlias = pd.DataFrame | pl.DataFrame
Make: TypeAlias = Callable[[dict[str, Any]], Any]
START = datetime(2026, 1, 31, 22)
HOURS = [START + timedelta(hours=hour) for hour in range(512)]


@pytest.fixture(scope="module")
def child() -> Iterator[vinocast.Child]:
    with vinocast.spawn() as child:
        yield child


@pytest.fixture(scope="module")
def model() -> vinocast.Forecaster:
    return vinocast.load(MODEL)


@pytest.fixture(params=["in process", "lines"])
def service(request: pytest.FixtureRequest, model: vinocast.Forecaster, child: vinocast.Child) -> Any:
    return {"in process": model, "lines": child}[request.param]


@pytest.fixture(params=[pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def make(request: pytest.FixtureRequest) -> Make:
    return request.param  # type: ignore[no-any-return]


def columns(window: Any, names: list[str] = CHANNELS) -> dict[str, Any]:
    return {name: window[:, index] for index, name in enumerate(names)}


def test_the_models_channels_are_found_by_their_names(service: Any, make: Make) -> None:
    (window,) = random_windows(1)
    expected = service.forecast(window)
    frame = make(dict(reversed([("when", HOURS), *columns(window.astype(np.float64)).items()])))
    answer = service.forecast(frame)
    assert near(answer, expected.predictions, window)
    assert answer.channels == tuple(CHANNELS)
    assert answer.timestamps[0] == "2026-02-22T06:00:00"
    assert answer.timestamps[-1] == "2026-02-26T05:00:00"
    assert service.forecast(frame, ["OT"]).shape == (96, 1)
    assert service.forecast(frame, start="2030-01-01", freq="D").timestamps[0] == "2031-05-28"
    assert service.forecast(frame, timestamp_ms=0, step_ms=5).timestamps[:2] == [5, 10]
    without = make(columns(window))
    assert service.forecast(without).timestamps is None
    with pytest.raises(vinocast.InvalidShapeError):
        service.forecast(without[:-1])


def test_other_columns_are_named_and_fewer_rows_padded(service: Any, make: Make) -> None:
    (window,) = random_windows(1)
    frame = make(
        {"day": [datetime(2026, 1, 1) + timedelta(index) for index in range(400)], "note": ["x"] * 400}
        | columns(window[:400, :3].astype(np.int32), ["a", "b", "c"])
    )
    with pytest.raises(
        vinocast.InvalidRequestError, match=r"expected the columns HUFL, .*, got note, a, b, c; channels names"
    ):
        service.forecast(frame)
    with pytest.raises(vinocast.InvalidShapeError):
        service.forecast(frame, channels=["c", "a"])
    answer = service.forecast(frame, channels=["c", "a"], short="pad")
    assert (answer.channels, answer.padded, answer.timestamps[0]) == (("c", "a"), 112, "2027-02-05T00:00:00")
    assert np.array_equal(
        answer, service.forecast(window[:400, [2, 0]].astype(np.int32), channels=["c", "a"], short="pad")
    )
    with pytest.raises(
        vinocast.InvalidRequestError, match=r"channels\[1\]: expected one of the columns note, a, b, c, got 'd'"
    ):
        service.forecast(frame, channels=["a", "d"], short="pad")
    with pytest.raises(vinocast.InvalidValueError, match="expected numbers in the column 'note', got String"):
        service.forecast(frame, channels=["note"], short="pad")


def test_gaps_are_those_of_values_and_those_of_rows(service: Any, make: Make) -> None:
    (window,) = random_windows(1)
    values: list[float | None] = window[:, 0].tolist()
    values[100] = None
    there = [index for index in range(512) if index not in (7, 8, 300)]
    frame = make({"t": [HOURS[index] for index in there], "a": [values[index] for index in there]})
    with pytest.raises(vinocast.InvalidValueError):
        service.forecast(frame, channels=["a"])
    answer = service.forecast(frame, channels=["a"], missing="interpolate")
    assert (answer.filled, answer.padded, answer.timestamps[0]) == (4, 0, "2026-02-22T06:00:00")
    gaps = window[:, :1].copy()
    gaps[[7, 8, 100, 300]] = np.nan
    assert np.array_equal(answer, service.forecast(gaps, channels=["a"], missing="interpolate"))


@pytest.mark.parametrize(
    ("times", "error", "says"),
    [
        (HOURS[::-1], vinocast.InvalidValueError, "expected rising times in t, oldest first"),
        ([*HOURS[:-1], HOURS[-2]], vinocast.InvalidValueError, "expected rising times"),
        (
            [*HOURS[:-1], HOURS[-1] + timedelta(minutes=1)],
            vinocast.InvalidRequestError,
            "a step of 1 hour apart, got 2026-02-22T05:01",
        ),
        ([*HOURS[:-1], None], vinocast.InvalidValueError, "got none in some"),
        ([HOURS[0], *(each + timedelta(days=55_000) for each in HOURS[1:])], vinocast.InvalidShapeError, "512 rows"),
    ],
)
def test_times_that_are_no_steps_are_refused_in_a_sentence(
    service: Any, make: Make, times: list[datetime], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        service.forecast(make({"t": times, "a": np.ones(512)}), channels=["a"])
    with pytest.raises(vinocast.InvalidRequestError, match="expected one column of dates or times, got t, u"):
        service.forecast(make({"t": HOURS, "u": HOURS, "a": np.ones(512)}), channels=["a"])


def test_zones_and_an_index_of_times_are_kept(service: Any) -> None:
    (window,) = random_windows(1)
    index = pd.date_range("2026-01-31T22:00", periods=512, freq="15min", tz="Asia/Kolkata")
    answer = service.forecast(pd.DataFrame(columns(window), index=index))
    assert answer.timestamps[0] == "2026-02-06T06:00:00+05:30"
    frame = answer.to_pandas()
    assert list(frame.columns) == ["timestamp", *CHANNELS]
    assert frame["timestamp"].dt.tz is not None
    assert frame["timestamp"][0] == pd.Timestamp("2026-02-06T06:00+05:30")
    months = pl.DataFrame(
        {"m": pl.date_range(date(1980, 1, 1), date(2022, 8, 1), "1mo", eager=True), "a": window[:, 0]}
    )
    assert service.forecast(months, channels=["a"]).timestamps[:2] == ["2022-09-01", "2022-10-01"]
    # The 30th of each month, and not its last day, though the first one is that.
    day = pd.Timestamp("1980-04-30")
    index = pd.DatetimeIndex([day + pd.DateOffset(months=month) for month in range(514)])
    thirtieths = pd.DataFrame({"a": window[:, 0]}, index=index[:512])
    answer = service.forecast(thirtieths, channels=["a"])
    assert [pd.Timestamp(time) for time in answer.timestamps[:2]] == list(index[512:])
    # Beside a series whose first day is no last one.
    later = [day + pd.DateOffset(months=month) for month in range(1, 513)]
    long = pd.DataFrame({"item_id": ["a"] * 512 + ["b"] * 512, "timestamp": [*index[:512], *later]})
    both = service.forecast_series(long.assign(target=np.tile(window[:, 0], 2)))
    assert [pd.Timestamp(each.timestamps[0]) for each in both] == [index[512], index[513]]
    days = pd.DataFrame({"d": pd.bdate_range("2024-01-01", periods=512), "a": window[:, 0]})
    last, first = days["d"].iloc[-1], service.forecast(days, channels=["a"]).timestamps[0]
    assert pd.Timestamp(first) == last + pd.offsets.BDay()


def test_a_long_frame_is_many_series(service: Any, make: Make) -> None:
    (window,) = random_windows(1)
    rows = [
        {"shop": shop, "day": datetime(2025, 1, 1) + timedelta(day + 10 * number), "sold": float(window[day, number])}
        for number, shop in enumerate(["B", "A"])
        for day in range(512 - number)
    ]
    mixed = [rows[index] for index in np.random.default_rng(1).permutation(len(rows))]
    mixed.sort(key=lambda row: row["shop"] == "A")
    frame = make({name: [row[name] for row in mixed] for name in rows[0]})
    names = {"id_column": "shop", "time_column": "day", "target_column": "sold"}
    first, second = service.forecast_series(frame, **names, short="pad", prediction_length=3)
    assert (first.item_id, first.padded, first.timestamps) == (
        "B",
        0,
        [f"2026-05-{day}T00:00:00" for day in (28, 29, 30)],
    )
    assert (second.item_id, second.padded, second.timestamps) == (
        "A",
        1,
        [f"2026-06-{day:02}T00:00:00" for day in (6, 7, 8)],
    )
    alike = service.forecast(window[:, :1], channels=["sold"], prediction_length=3)
    assert near(first.predictions[:, None], alike.predictions, window[:, :1])
    with pytest.raises(vinocast.InvalidRequestError, match="expected a column 'target', got shop, day, sold"):
        service.forecast_series(frame)
    with pytest.raises(vinocast.InvalidRequestError, match="expected a column 'store'"):
        service.forecast_series(frame, target_column="sold", id_column="store")
    with pytest.raises(vinocast.InvalidRequestError, match="expected dates or times in the column 'shop'"):
        service.forecast_series(frame, target_column="sold", time_column="shop")
    one = make({"target": window[:, 0]})
    (alone,) = service.forecast_series(one)
    assert (alone.item_id, alone.timestamps) == (None, None)
    steps = make({"item_id": [1, 1, 2, 2], "timestamp": [HOURS[0], HOURS[1], HOURS[0], HOURS[2]], "target": [1.0] * 4})
    with pytest.raises(vinocast.InvalidRequestError, match="expected one step of all series, got 1 hour and 2 hours"):
        service.forecast_series(steps, short="pad")


def test_a_frame_for_a_model_that_is_not_served_is_refused(child: vinocast.Child) -> None:
    for name in ("nothing", "glyphs"):
        with pytest.raises(vinocast.UnknownModelError):
            child.forecast(pd.DataFrame({"a": [1.0]}), model=name)


def forecast(**more: Any) -> vinocast.Forecast:
    points = np.arange(6, dtype=np.float32).reshape(3, 2)
    terms: dict[str, Any] = {"quantiles": {0.1: points - 1, 0.5: points, 0.9: points + 1}, **more}
    return vinocast.Forecast(points, ("a", "b"), "m", **terms)


def test_a_forecast_becomes_a_frame() -> None:
    answer = forecast(timestamps=["2026-01-31", "2026-02-01", "2026-02-02"])
    for frame in (answer.to_pandas(), answer.to_polars()):
        assert list(frame.columns) == [
            "timestamp",
            "a",
            "b",
            *(f"{name}_{q}" for q in (0.1, 0.5, 0.9) for name in "ab"),
        ]
        assert frame["b_0.9"].to_list() == [2, 4, 6]
        assert [each.day for each in frame["timestamp"]] == [31, 1, 2]
    assert forecast().to_polars().columns[0] == "a"
    moments = forecast(timestamps=[0, 1000, 2000]).to_polars()["timestamp"].to_list()
    assert moments[1] == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    clocks = forecast(timestamps=["2026-03-29T01:00+01:00", "2026-03-29T03:00+02:00", "2026-03-29T04:00+02:00"])
    assert [str(each.time()) for each in clocks.to_pandas()["timestamp"]] == ["00:00:00", "01:00:00", "02:00:00"]
    one = vinocast.Forecast(np.ones(2, np.float32), (), "m", item_id="x")
    assert one.to_pandas().columns.to_list() == ["x"]
    with pytest.raises(ValueError, match="of one window"):
        vinocast.Forecast(np.ones((2, 3, 1), np.float32), ("a",), "m").to_pandas()


def test_a_plot_shows_the_past_the_forecast_and_the_bands() -> None:
    figure = forecast(timestamps=["2026-01-31", "2026-02-01", "2026-02-02"]).plot(np.zeros((5, 2)))
    assert [trace.name for trace in figure.data] == ["history", "0.1 to 0.9", "forecast"] * 2
    past, band, line = figure.data[3:]
    assert [str(each)[:10] for each in past.x] == [f"2026-01-{day}" for day in range(26, 31)]
    assert list(band.y) == [2, 4, 6, 4, 2, 0]
    assert list(line.y) == [1, 3, 5]
    assert len(forecast().plot().data) == 4
    assert list(forecast().plot(np.zeros((2, 2))).data[0].x) == [-1, 0]
    assert len(vinocast.Forecast(np.ones(2, np.float32), (), "m").plot(np.ones(4)).data) == 2
    with pytest.raises(ValueError, match="history: expected 2 columns, got 3"):
        forecast().plot(np.zeros((5, 3)))


WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
import numpy as np, vinocast
exec(sys.argv[2])
"""


@pytest.mark.parametrize(
    ("extra", "module", "program"),
    [
        ("client", "httpx", "vinocast.connect('http://127.0.0.1:1')"),
        ("client", "tenacity", "vinocast.connect('http://127.0.0.1:1', retries=1).ping()"),
        ("plot", "plotly", "vinocast.Forecast(np.ones((1, 1)), ('a',), 'm').plot()"),
        ("frames", "narwhals", "import polars; vinocast.load().forecast(polars.DataFrame({'OT': [1.0]}))"),
    ],
)
def test_what_an_extra_brings_is_asked_for_by_the_line_that_installs_it(extra: str, module: str, program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, module, program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr.splitlines()[-1].startswith(f"vinocast.errors.SetupError: the extra '{extra}' is not installed")
    assert done.stderr.endswith(f"-m pip install --editable '.[{extra}]'\n")


def test_what_an_index_of_pandas_says_is_not_lost(service: Any) -> None:
    values = np.arange(300.0)
    long = pd.DataFrame({"item_id": ["a"] * 200 + ["b"] * 100, "timestamp": [*HOURS[:200], *HOURS[:100]]})
    long["target"] = values
    terms = {"short": "pad", "prediction_length": 2}
    expected = service.forecast_series(long, **terms)
    assert [each.item_id for each in expected] == ["a", "b"]
    for index in (["item_id", "timestamp"], ["item_id"], ["timestamp"]):
        made = service.forecast_series(long.set_index(index), **terms)
        assert [(each.item_id, each.timestamps) for each in made] == [
            (each.item_id, each.timestamps) for each in expected
        ]
        for one, other in zip(made, expected, strict=True):
            np.testing.assert_array_equal(one.predictions, other.predictions)
    with pytest.raises(vinocast.InvalidValueError, match="one series, as id_column names no column"):
        service.forecast_series(long.rename(columns={"item_id": "unique_id"}), **terms)
    months = pd.DataFrame({"y": values}, index=pd.period_range("2000-01", periods=300, freq="M"))
    assert service.forecast(months, channels=["y"], **terms).timestamps == [
        "2025-01-01T00:00:00",
        "2025-02-01T00:00:00",
    ]
    of_one = long[long.item_id == "a"].set_index(["item_id", "timestamp"])
    assert service.forecast(of_one, channels=["target"], **terms).timestamps == expected[0].timestamps
    with pytest.raises(vinocast.InvalidRequestError, match="names of their own"):
        service.forecast_series(long.set_index("timestamp", drop=False), **terms)


def test_numbers_of_any_class_are_numbers_and_names_of_any_class_names(service: Any) -> None:
    (window,) = random_windows(1)
    values = np.round(window[:, 0].astype(np.float64), 2)
    expected = service.forecast(values[:, None], channels=["0"]).predictions
    for column in (list(map(Decimal, map(str, values))), pd.Series(values, dtype=object)):
        np.testing.assert_array_equal(service.forecast(pd.DataFrame({"0": column}), channels=["0"]), expected)
    np.testing.assert_array_equal(service.forecast(pd.DataFrame(values[:, None]), channels=["0"]), expected)
    for twice in (pd.DataFrame(np.ones((512, 2)), columns=["a", "a"]), pd.DataFrame({0: values, "0": values})):
        with pytest.raises(vinocast.InvalidRequestError, match="unique column names"):
            service.forecast(twice, channels=["0"])


def test_what_is_masked_is_missing_and_a_time_of_pandas_is_a_start(service: Any) -> None:
    (window,) = random_windows(1)
    gap = window.copy()
    gap[100] = np.nan
    masked = np.ma.masked_invalid(gap)
    masked.data[100] = 1e6
    expected = service.forecast(gap, missing="interpolate")
    answer = service.forecast(masked, missing="interpolate", start=pd.Timestamp("2026-01-31"), freq="D")
    assert (answer.filled, answer.timestamps[0]) == (7, "2027-06-27T00:00:00")
    np.testing.assert_array_equal(answer.predictions, expected.predictions)
    with pytest.raises(vinocast.InvalidValueError):
        service.forecast(masked)
