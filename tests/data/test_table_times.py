"""Times of tables: zones, orders of days and months, clocks, and numbers that are times."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow
import pytest
from table_support import Read, daily, next_times, values, write_parquet
from vinocast.data.tables.read import read_table
from vinocast.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path


def test_zones_are_converted_and_said_or_refused(read: Read) -> None:
    lines = ["date,a", "2024-10-27T01:00:00+02:00,1", "2024-10-27T02:00:00+02:00,2", "2024-10-27T02:00:00+01:00,3"]
    table = read("\n".join(lines))
    assert values(table) == [[1], [2], [3]]
    assert next_times(table) == ["2024-10-27T02:00:00Z", "2024-10-27T03:00:00Z"]
    assert table.notes == ["times of 2 zones are converted to UTC"]
    with pytest.raises(SetupError, match="line 4, column 'date': '2024-10-27T02:00:00' has no zone"):
        read("\n".join([*lines[:3], "2024-10-27T02:00:00,3"]))


@pytest.mark.parametrize(
    ("days", "step", "following"),
    [
        # Working days around the second Sunday of March, days, weeks, and the first of each month.
        ([date(2022, 3, day) for day in (7, 8, 9, 10, 11, 14, 15, 16)], "1 working day", [(3, 17), (3, 18)]),
        ([date(2022, 3, day) for day in range(9, 19)], "1 day", [(3, 19), (3, 20)]),
        ([date(2022, 2, 28) + timedelta(days=7 * week) for week in range(4)], "7 days", [(3, 28), (4, 4)]),
        ([date(2022, month, 1) for month in range(1, 7)], "1 month", [(7, 1), (8, 1)]),
    ],
)
@pytest.mark.parametrize("newest_first", [False, True])
def test_days_of_a_place_that_puts_its_clocks_forward_are_days(
    read: Read, days: list[date], step: str, following: list[tuple[int, int]], newest_first: bool
) -> None:
    rows = [f"{day} 00:00:00-0{5 if day < date(2022, 3, 13) else 4}:00,{place}" for place, day in enumerate(days)]
    table = read("\n".join(["Date,Close", *(reversed(rows) if newest_first else rows)]))
    assert values(table) == [[place] for place in range(len(days))]
    assert str(table.frequency) == step.replace("7 days", "1 week")
    assert next_times(table) == [f"2022-{month:02d}-{day:02d} 00:00:00-04:00" for month, day in following]
    assert "times of 2 zones are at one hour of their own days" in " ".join(table.notes)


@pytest.mark.parametrize(
    ("dates", "order", "expected"),
    [
        (["13/01/2024", "14/01/2024"], None, "15/01/2024"),
        (["01/13/2024", "01/14/2024"], None, "01/15/2024"),
        (["1.2.2024", "2.2.2024"], None, "3.2.2024"),
        (["01/02/2024", "02/02/2024"], "dmy", "03/02/2024"),
        (["02/01/24", "02/02/24"], "mdy", "02/03/24"),
    ],
)
def test_days_and_months_are_told_apart_by_all_rows(
    read: Read, dates: list[str], order: str | None, expected: str
) -> None:
    text = "\n".join(["date,a", *(f"{day},1" for day in dates)])
    assert next_times(read(text, dates=order))[0] == expected


def test_a_clock_that_is_a_little_late_is_put_on_the_step(read: Read) -> None:
    late = [0, 1, 2, 0, 1, 3, 0, 0]
    rows = [f"{datetime(2024, 1, 1, 5, minute, second)},{minute}" for minute, second in enumerate(late)]
    table = read("\n".join(["time,a", *rows]))
    assert values(table) == [[minute] for minute in range(8)]
    assert next_times(table) == ["2024-01-01 05:08:00", "2024-01-01 05:09:00"]
    assert table.notes == ["4 rows a little beside a step of 1 minute: put on it"]


@pytest.mark.parametrize(
    ("first", "step"),
    [
        (datetime(2024, 1, 1, 5, 30), timedelta(hours=1)),
        (datetime(2024, 1, 1, 17), timedelta(days=1)),
        (datetime(2024, 1, 3, 9), timedelta(days=7)),
    ],
)
def test_a_step_need_not_begin_at_midnight(read: Read, first: datetime, step: timedelta) -> None:
    late = [3, 9, 20, 14, 5, 0, 11, 8]
    rows = [f"{first + place * step + timedelta(seconds=seconds)},{place}" for place, seconds in enumerate(late)]
    table = read("\n".join(["time,a", *rows]))
    assert values(table) == [[place] for place in range(8)]
    assert next_times(table) == [str(first + place * step) for place in (8, 9)]
    assert "7 rows a little beside a step of" in table.notes[0]


@pytest.mark.parametrize("early", [[5, 1, 3, 2], [2, 1, 2, 1]])
@pytest.mark.parametrize("step", [timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)])
def test_a_clock_that_is_a_little_early_is_put_on_the_step_as_well(
    read: Read, step: timedelta, early: list[int]
) -> None:
    first = datetime(2024, 1, 2)
    rows = [f"{first + place * step - timedelta(seconds=early[place % 4])},{place}" for place in range(8)]
    table = read("\n".join(["time,a", *rows]))
    assert values(table) == [[place] for place in range(8)]
    assert next_times(table) == [str(first + place * step) for place in (8, 9)]


@pytest.mark.parametrize(("freq", "step"), [("B", "1 working day"), ("D", "1 day"), ("W", "1 week"), ("MS", "1 month")])
@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin"])
def test_days_of_a_place_in_parquet_are_days(tmp_path: Path, freq: str, step: str, zone: str) -> None:
    """As pandas has them; the file holds midnights of the place in UTC, at two hours of the day."""
    days = pd.date_range("2024-01-01", "2024-06-20", freq=freq, tz=zone)
    pd.DataFrame({"a": np.arange(len(days))}, index=days.rename("Date")).to_parquet(tmp_path / "days.parquet")
    table = read_table(tmp_path / "days.parquet")
    assert (str(table.frequency), len(table.items[0].values)) == (step, len(days))
    following = pd.date_range(days[-1], periods=3, freq=freq)[1:]
    assert next_times(table) == [day.isoformat() for day in following]
    assert "laid out by day" in table.notes[0]


def test_days_of_utc_are_days_whatever_place_their_times_are_of(tmp_path: Path) -> None:
    days = pd.bdate_range("2024-01-01", periods=30, tz="UTC")
    frame = pd.DataFrame({"a": np.arange(30)}, index=days.tz_convert("America/New_York").rename("Date"))
    frame.to_parquet(tmp_path / "days.parquet")
    table = read_table(tmp_path / "days.parquet")
    assert (str(table.frequency), table.notes) == ("1 working day", [])
    assert next_times(table, 1) == ["2024-02-12T00:00:00Z"]


def test_hours_of_a_place_in_parquet_are_in_utc(tmp_path: Path) -> None:
    hours = pd.date_range("2024-03-30", periods=48, freq="h", tz="Europe/Berlin")
    pd.DataFrame({"a": np.arange(48)}, index=hours.rename("Date")).to_parquet(tmp_path / "hours.parquet")
    assert next_times(read_table(tmp_path / "hours.parquet"), 1) == ["2024-03-31T23:00:00Z"]


@pytest.mark.parametrize(
    ("form", "hours"), [("%Y%m%d", 24), ("%Y%m%d%H", 1), ("%Y%m%d%H", 24), ("%Y%m%d%H%M", 1), ("%Y%m%d%H%M%S", 6)]
)
@pytest.mark.parametrize("name", ["time", "MESS_DATUM", "when"])
def test_times_of_digits_alone_are_read_and_written_so(
    read: Read, tmp_path: Path, form: str, hours: int, name: str
) -> None:
    texts = [(datetime(2024, 1, 30) + timedelta(hours=place * hours)).strftime(form) for place in range(40)]
    table = read("\n".join([f"{name};a", *(f"{text};{place}" for place, text in enumerate(texts[:38]))]))
    assert (table.time, table.columns, table.counted) == (name, ("a",), False)
    assert next_times(table) == texts[38:]
    path = write_parquet(tmp_path / "digits.parquet", **{name: list(map(int, texts[:38])), "a": list(range(38))})
    assert next_times(read_table(path)) == texts[38:]


def test_numbers_that_only_look_like_times_go_on_counting(read: Read) -> None:
    for first, step in ((2024010100, 3600), (190001010000, 60_000), (1700000000, 60)):
        texts = [str(first + place * step) for place in range(60)]
        table = read("\n".join(["time,a", *(f"{text},1" for text in texts[:58])]))
        assert next_times(table) == texts[58:]
        assert "since 1970" in table.notes[0]
    # Nor are more than twelve of a year months.
    counts = [str(202301 + place) for place in range(20)]
    assert next_times(read("\n".join(["time,a", *(f"{text},1" for text in counts[:18])]))) == counts[18:]
    # Of a column that is neither the first nor called a time they are values.
    assert read(daily([f"1,{2024010100 + hour}" for hour in range(20)], "date,a,b")).columns == ("a", "b")
    for name in ("step", "index", "id"):
        table = read("\n".join([f"{name},a", *(f"{202301 + place},1" for place in range(10))]))
        assert (next_times(table), table.counted) == (["202311", "202312"], True)
    assert next_times(read("\n".join(["step,a", *(f"{202301 + place},1" for place in range(12))]))) == [
        "202313",
        "202314",
    ]


def test_six_digits_that_are_no_months_of_the_rows_are_values_or_names(read: Read) -> None:
    """Where a count or a code has no more than 01 to 12 at its end."""
    for visits in (
        [202107, 200111, 199902, 201012, 200503],
        [202103, 202105, 202101, 202104, 202102],
        [202101] * 5,
        [202101, 202102, 202101, 202102, 202101],
    ):
        table = read("\n".join(["visits,a", *(f"{visit},1" for visit in visits)]))
        assert (table.counted, table.columns) == (True, ("visits", "a"))
    assert read("\n".join(["visits", *map(str, range(202101, 202109))])).columns == ("visits",)
    # Of a table that has other times.
    days = [f"2024-01-{day:02d}" for day in range(28, 32)] + [f"2024-02-{day:02d}" for day in range(1, 5)]
    table = read("\n".join(["period,when,a", *(f"{day[:4]}{day[5:7]},{day},1" for day in days)]))
    assert (table.time, next_times(table, 1)) == ("when", ["2024-02-05"])
    table = read("\n".join(["id,when,a", *(f"{202101 + item},{day},1" for item in range(3) for day in days)]))
    assert (table.time, table.item, len(table.items)) == ("when", "id", 3)
    # But months stand before other times, and in a long table.
    months = [*range(202111, 202113), *range(202201, 202206)]
    table = read("\n".join(["month,seen,a", *(f"{month},2024-01-01,1" for month in months)]))
    assert (table.time, next_times(table, 1)) == ("month", ["202206"])
    table = read("\n".join(["ym,shop,a", *(f"{month},{shop},1" for shop in "xy" for month in months)]))
    assert (table.time, table.item, next_times(table, 1)) == ("ym", "shop", ["202206"])


@pytest.mark.parametrize(
    ("first", "step", "written"),
    [  # both in nanoseconds
        (1_700_000_000_123_456_789, 1_000_000, "{}"),
        (1_700_000_000_123_456_789, 1_000_000_000, "{}"),
        (1_700_000_000_123_456_789, 100, "{}"),
        (1_700_000_000_001_000_000, 1_000_000_000, "{}.{:09d}"),
        (1_700_000_000_000_000_100, 100, "{}.{:09d}"),
    ],
)
def test_numbers_since_1970_keep_every_digit(read: Read, first: int, step: int, written: str) -> None:
    texts = []
    for place in range(7):
        time = first + place * step
        texts.append(written.format(time) if written == "{}" else written.format(*divmod(time, 10**9)))
    table = read("\n".join(["time,a", *(f"{text},1" for text in texts[:5]), ""]))
    assert (table.items[0].first, table.frequency.nanoseconds) == (first, step)
    assert next_times(table) == [text.rstrip("0") if "." in text else text for text in texts[5:]]


def test_integers_of_parquet_keep_every_digit(tmp_path: Path) -> None:
    first, step = 1_700_000_000_123_456_789, 1_000_000
    times = [first + place * step for place in range(4)]
    for kind in (pyarrow.int64(), pyarrow.uint64()):
        table = read_table(
            write_parquet(tmp_path / "ns.parquet", time=pyarrow.array(times, kind), a=[1.0, 2.0, 3.0, 4.0])
        )
        assert next_times(table, 1) == [str(first + 4 * step)]
    # Of seconds with a fraction, what a float is written as.
    seconds = [1_700_000_000.001 + place for place in range(4)]
    table = read_table(write_parquet(tmp_path / "s.parquet", time=seconds, a=[1.0, 2.0, 3.0, 4.0]))
    assert (values(table), next_times(table, 1)) == ([[1], [2], [3], [4]], ["1700000004.001"])
    # Names that float64 would take for one another.
    ids = [2**60, 2**60, 2**60 + 1, 2**60 + 1]
    days = pyarrow.array([date(2024, 1, 1), date(2024, 1, 2)] * 2)
    table = read_table(write_parquet(tmp_path / "long.parquet", item_id=ids, ds=days, y=[1.0, 2.0, 3.0, 4.0]))
    assert [item.name for item in table.items] == [str(2**60), str(2**60 + 1)]
