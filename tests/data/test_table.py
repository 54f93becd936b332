"""Tables as people have them: what is found, what is mended and said, what is refused with its line and column."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import SHARED_DATA
from table_support import Read, daily, next_times, values, write_parquet
from vinocast.data.tables import csv, files
from vinocast.data.tables import parquet as parquet_cells
from vinocast.data.tables.read import read_table
from vinocast.data.tables.table import TableOptions
from vinocast.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("begin", ["", "\ufeff", "a banner\nand a second, longer one\n", "\n\n"])
def test_a_file_is_read_however_it_is_written(read: Read, separator: str, end: str, begin: str) -> None:
    text = begin + daily([f"{n}{separator}{n * 2}.5" for n in range(30)], f"date{separator}a{separator}b", "%Y-%m-%d",
                         separator)  # fmt: skip
    table = read(text.replace("\n", end))
    assert table.columns == ("a", "b")
    assert values(table) == [[n, n * 2 + 0.5] for n in range(30)]
    assert next_times(table) == ["2024-01-31", "2024-02-01"]
    assert ("before the header passed over" in " ".join(table.notes)) == begin.startswith("a banner")


@pytest.mark.parametrize(
    ("text", "columns", "expected", "times"),
    [  # each as it lies in a file
        ("value\n1\n2\n3\n", ("value",), [[1], [2], [3]], ["4", "5"]),
        ("1.5\n2.5\n", ("column_1",), [[1.5], [2.5]], ["3", "4"]),
        ("value\n1,5\n2,5\n", ("value",), [[1.5], [2.5]], ["3", "4"]),
        ("a,b\n1,2\n3,4\n", ("a", "b"), [[1, 2], [3, 4]], ["3", "4"]),
        ("0,1,2\n7,8,9\n", ("0", "1", "2"), [[7, 8, 9]], ["2", "3"]),
        ("2024-01-01,5\n2024-01-02,6\n", ("column_2",), [[5], [6]], ["2024-01-03", "2024-01-04"]),
        (",date,a\n0,2024-01-01,5\n1,2024-01-02,6\n2,2024-01-03,7\n", ("a",), [[5], [6], [7]],
         ["2024-01-04", "2024-01-05"]),
        # As pandas writes a column below an index without a name.
        (",a\n2024-01-01,5\n2024-01-02,6\n", ("a",), [[5], [6]], ["2024-01-03", "2024-01-04"]),
        (",0\n2024-01-01,5\n2024-01-02,6\n", ("0",), [[5], [6]], ["2024-01-03", "2024-01-04"]),
        (",2023\n0,5\n1,6\n2,7\n", ("2023",), [[5], [6], [7]], ["3", "4"]),
        ("Report,\n,a\n2024-01-01,5\n2024-01-02,6\n", ("a",), [[5], [6]], ["2024-01-03", "2024-01-04"]),
        # A title may stand in any column above a header.
        (",,Sales\ndate,a,b\n2024-01-01,5,1\n2024-01-02,6,2\n", ("a", "b"), [[5, 1], [6, 2]],
         ["2024-01-03", "2024-01-04"]),
        (",,Sales\ndate,2022,2023\n2024-01-01,5,1\n2024-01-02,6,2\n", ("2022", "2023"), [[5, 1], [6, 2]],
         ["2024-01-03", "2024-01-04"]),
        (",Sales\ndate,a\n2024-01-01,5\n2024-01-02,6\n", ("a",), [[5], [6]], ["2024-01-03", "2024-01-04"]),
        ("date,a,\n2024-01-01,5,\n2024-01-02,6,\n", ("a",), [[5], [6]], ["2024-01-03", "2024-01-04"]),
        ("Report,,\n,,\ndate,a,b\n2024-01-01,5,1\n2024-01-02,6,2\n", ("a", "b"), [[5, 1], [6, 2]],
         ["2024-01-03", "2024-01-04"]),
        ('"date","a, b"\n"2024-01-01","5"\n"2024-01-02","6"\n', ("a, b",), [[5], [6]], ["2024-01-03", "2024-01-04"]),
        ("date;a\n01.12.2024;1.234,5\n02.12.2024;-2,25\n", ("a",), [[1234.5], [-2.25]], ["03.12.2024", "04.12.2024"]),
        ('date,a\n2024-01-01,"1,234.5"\n2024-01-02,"1,234,567"\n', ("a",), [[1234.5], [1234567]],
         ["2024-01-03", "2024-01-04"]),
        ("date;a\n2024-01-01;1 234,5\n2024-01-02;1\u202f234,5\n", ("a",), [[1234.5]] * 2, ["2024-01-03", "2024-01-04"]),
        ("date;a;b\n01.12.2024;1.234.567;1\n02.12.2024;987.654;2\n", ("a", "b"), [[1234567, 1], [987654, 2]],
         ["03.12.2024", "04.12.2024"]),
        ("date;a\n2024-01-01;1.234.567\n2024-01-02;\u2212987.654\n", ("a",), [[1234567], [-987654]],
         ["2024-01-03", "2024-01-04"]),
        # Points of no number say nothing of those of numbers.
        ("date,host,a\n2024-01-01,192.168.100.100,1.234\n2024-01-02,192.168.100.101,12.500\n", ("a",),
         [[1.234], [12.5]], ["2024-01-03", "2024-01-04"]),
        ("date,part,a\n2024-01-01,4.000.100,1.234\n2024-01-02,4.000.100,12.500\n", ("a",), [[1.234], [12.5]],
         ["2024-01-03", "2024-01-04"]),
        ("date,version,a\n2024-01-01,1.2.3,1.234\n2024-01-02,1.100.200,12.500\n", ("a",), [[1.234], [12.5]],
         ["2024-01-03", "2024-01-04"]),
        ("date,part,a\n2024-01-01,4.000.100,0.234\n2024-01-02,4.000.200,12.500\n", ("a",), [[0.234], [12.5]],
         ["2024-01-03", "2024-01-04"]),
        ("date,a\n2024-01-01,1e3\n2024-01-02,\u22122\n", ("a",), [[1000], [-2]], ["2024-01-03", "2024-01-04"]),
        ("date,a,a\n2024-01-01,1,2\n2024-01-02,3,4\n", ("a", "a.2"), [[1, 2], [3, 4]], ["2024-01-03", "2024-01-04"]),
        ("year,a\n2001,5\n2002,6\n2003,7\n", ("a",), [[5], [6], [7]], ["2004", "2005"]),
        ("ts,a\n1700000000,5\n1700000060,6\n1700000120,7\n", ("a",), [[5], [6], [7]], ["1700000180", "1700000240"]),
        ("ts,a\n1700000000500,5\n1700000060500,6\n", ("a",), [[5], [6]], ["1700000120500", "1700000180500"]),
        ("step,a\n10,5\n20,6\n30,7\n", ("a",), [[5], [6], [7]], ["40", "50"]),
        ("date,a\n2019-10-17 11-PM,5\n2019-10-18 12-AM,6\n", ("a",), [[5], [6]],
         ["2019-10-18 01-AM", "2019-10-18 02-AM"]),
        ("date,a\n1/31/2024 1:05 PM,5\n1/31/2024 1:10 PM,6\n", ("a",), [[5], [6]],
         ["1/31/2024 1:15 PM", "1/31/2024 1:20 PM"]),
        ("month,a\nJan 2024,5\nFeb 2024,6\nMar 2024,7\n", ("a",), [[5], [6], [7]], ["Apr 2024", "May 2024"]),
        ("when,a\nMarch 2024,5\nApril 2024,6\nMay 2024,7\n", ("a",), [[5], [6], [7]], ["June 2024", "July 2024"]),
        ("when,a\n1 Apr 2024,5\n1 May 2024,6\n", ("a",), [[5], [6]], ["1 Jun 2024", "1 Jul 2024"]),
        ("day,a\nThu 2 May 2024,5\nFri 3 May 2024,6\n", ("a",), [[5], [6]], ["Sat 4 May 2024", "Sun 5 May 2024"]),
        ('day,a\n"Monday, 1 Jan 2024",5\n"Monday, 8 Jan 2024",6\n', ("a",), [[5], [6]],
         ["Monday, 15 Jan 2024", "Monday, 22 Jan 2024"]),
        ("month,a\n202411,5\n202412,6\n202501,7\n", ("a",), [[5], [6], [7]], ["202502", "202503"]),
        ("q,a\n2024Q1,5\n2024Q2,6\n2024Q3,7\n", ("a",), [[5], [6], [7]], ["2024Q4", "2025Q1"]),
        ("date,a\n20240131,5\n20240229,6\n20240331,7\n", ("a",), [[5], [6], [7]], ["20240430", "20240531"]),
        ("Date,Time,a\n31/01/2024,23:00,5\n31/01/2024,23:30,6\n", ("a",), [[5], [6]],
         ["01/02/2024 00:00", "01/02/2024 00:30"]),
        ("a,when\n5,2024-01-01T00:00:00Z\n6,2024-01-01T01:00:00Z\n", ("a",), [[5], [6]],
         ["2024-01-01T02:00:00Z", "2024-01-01T03:00:00Z"]),
    ],
)  # fmt: skip
def test_columns_numbers_and_times_are_found(
    read: Read, text: str, columns: tuple[str, ...], expected: list[list[float]], times: list[str]
) -> None:
    table = read(text)
    assert table.columns == columns
    assert values(table) == expected
    assert next_times(table) == times


def test_other_encodings_are_read_and_said(read: Read) -> None:
    text = daily(["1,5", "2,5"], "Datum;Außen", "%d.%m.%Y", ";")
    for encoding, note in (("utf-16", "UTF-16"), ("cp1252", "Windows-1252"), ("utf-8-sig", "byte order mark")):
        table = read(text.encode(encoding))
        assert (table.columns, values(table)) == (("Außen",), [[1.5], [2.5]])
        assert note in " ".join(table.notes)


def test_times_that_go_back_are_put_in_order_and_said(read: Read) -> None:
    header, *rows = daily(map(str, range(9))).splitlines()
    backwards = read("\n".join([header, *reversed(rows)]))
    assert values(backwards) == [[n] for n in range(9)]
    assert backwards.notes == ["the newest row comes first: put in order"]
    rows[3], rows[4] = rows[4], rows[3]
    mixed = read("\n".join([header, *rows]))
    assert values(mixed) == [[n] for n in range(9)]
    assert mixed.notes == ["1 row out of order, from line 6 on: put in order"]
    assert mixed.items[0].lines.tolist() == [2, 3, 4, 6, 5, 7, 8, 9, 10]
    shuffled = read("\n".join([header, *(rows[place] for place in (8, 3, 6, 1, 7, 0, 4, 5, 2))]))
    assert values(shuffled)[0] == [0]
    assert shuffled.notes[0].endswith("out of order, from line 3 on: put in order")


def test_rows_that_are_often_the_same_are_no_copies(read: Read) -> None:
    """A row out of order that is like one beside it is an exporter's copy, unless rows are like that elsewhere too."""
    header, *rows = daily(["0,0"] * 30 + ["4,7", "0,0"] + ["0,0"] * 8, "date,a,b").splitlines()
    rows[10], rows[11] = rows[11], rows[10]
    table = read("\n".join([header, *rows]))
    assert not np.isnan(table.items[0].values).any()
    assert table.notes == ["1 row out of order, from line 13 on: put in order"]
    varied = daily([f"{place},{place % 7}" for place in range(40)], "date,a,b").splitlines()
    varied[12], varied[13] = varied[13], f"{varied[12][:10]}{varied[13][10:]}"
    copied = read("\n".join(varied))
    assert "1 row out of order and a copy of one beside it" in copied.notes[0]
    assert np.isnan(copied.items[0].values).all(axis=1).sum() == 1


def test_missing_rows_and_empty_cells_are_gaps(read: Read) -> None:
    text = daily(["1,5", "2,6", "3,7", ",8", "5,NA", "6,10"], "date,a,b")
    lines = text.splitlines()
    del lines[3]
    table = read("\n".join(lines))
    expected = np.array([[1, 5], [2, 6], [np.nan, np.nan], [np.nan, 8], [5, np.nan], [6, 10]])
    np.testing.assert_array_equal(table.items[0].values, expected)
    assert table.items[0].lines.tolist() == [2, 3, 0, 4, 5, 6]
    assert table.notes == [
        "1 row of 6 missing, the first of 2024-01-03, after line 3",
        "2 cells without a number, the first in line 4, column 'a'",
    ]
    assert table.place(table.items[0], 2, 1).endswith(
        "mine.csv: no row of 2024-01-03 (the one before is line 3), column 'b'"
    )
    assert table.place(table.items[0], 4, 1).endswith("mine.csv: line 5, column 'b'")


def test_rows_of_one_time_are_dropped_or_refused(read: Read) -> None:
    same = read("date,a\n2024-01-01,1\n2024-01-02,2\n2024-01-02,2\n2024-01-03,3\n")
    assert values(same) == [[1], [2], [3]]
    assert same.notes == ["1 row of the time of another, from 2024-01-02 on, and the same: dropped"]
    other = "date,a\n2024-01-01,1\n2024-01-02,2\n2024-01-02,5\n2024-01-03,3\n"
    with pytest.raises(SetupError, match="lines 3 and 4 are both of 2024-01-02 and differ: say --duplicates"):
        read(other)
    assert values(read(other, duplicates="first")) == [[1], [2], [3]]
    assert values(read(other, duplicates="last")) == [[1], [5], [3]]
    header, *rows = other.splitlines()
    assert values(read("\n".join([header, *reversed(rows)]), duplicates="last")) == [[1], [5], [3]]


def test_a_constant_text_is_left_out_and_said(read: Read) -> None:
    table = read(daily(["BTC,1", "BTC,2"], "date,symbol,a"))
    assert (table.columns, table.item) == (("a",), None)
    assert table.notes == ["left out, as no numbers to forecast: 'symbol'"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "it is empty: expected a header and rows"),
        ("\n \n", {}, "it is empty"),
        ("date,a\n", {}, "a header and no rows"),
        ("date,a\n2024-01-01,1\n2024-01-02\n", {}, "line 3: 1 cell, expected 2"),
        ("date,a\n\n2024-01-01,1\n2024-01-02,2,3\n", {}, "line 4: 3 cells, expected 2"),
        ('date,a\n2024-01-01,"1\n', {}, "line 2: no CSV: unexpected end of data"),
        (daily(["1", "2", "two", "4"]), {}, "line 4, column 'a': 'two' is no number"),
        (daily(["1", "2", "inf", "4"]), {}, "line 4, column 'a': 'inf' is no number"),
        (daily(["1", "2", "1_0", "4"]), {}, "line 4, column 'a': '1_0' is no number"),
        (daily(["1", "2", "1e39", "4"]), {}, "line 4, column 'a': a number beyond float32"),
        (daily(["1", "2", "1e999", "4"]), {}, "line 4, column 'a': '1e999' is no number"),
        (daily(["$5", "$6"]), {}, r"line 2, column 'a': no column of numbers to forecast, and '\$5' is none: write"),
        ("time,a\n00:00,1\n01:00,2\n", {}, "line 2, column 'time': '00:00' is no date or time that can be read"),
        ("date,a\n2024-01-01 00:00 CET,1\n2024-01-01 01:00 CET,2\n", {},
         "line 2, column 'date': .* or take the column out"),
        ("when,a\n1500-01-01,1\n1501-01-01,2\n", {}, "line 2, column 'when': expected a year from 1678 to 2261"),
        (daily(["", ""]), {}, "no column of numbers to forecast"),
        (daily(["x,1", "y,2"], "date,a,b"), {"columns": ("a",)}, "line 2, column 'a': 'x' is no number: it cannot be"),
        (daily(["1", "2"]), {"columns": ("b",)}, "no column 'b'; there is date, a"),
        (daily(["1", "2"]), {"columns": ("date",)}, "column 'date': no numbers"),
        (daily(["1", "2"]), {"time": "a", "columns": ()}, "no column of numbers to forecast"),
        (daily(["x", "y"]), {"time": "a"}, "column 'a': no times"),
        (daily(["1"]), {}, "one row: a step"),
        (daily(["1", "2"]), {"item": "a"}, "no column of numbers"),
        (daily(["1,5", "2,6"], "date,a,b"), {"item": "a"}, "no series has two rows: --id"),
        ("date,a\n2024-01-01,1\n2024-02-30,2\n", {},
         "line 3, column 'date': there is no such date or time as '2024-02-30'"),
        ("date,a\n2024-01-01,1\n,2\n", {}, "line 3, column 'date': no time: leave the row out"),
        ("date,a\n2024-01-01,1\nTotal,1\n", {}, "line 3, column 'date': 'Total' is no .*, or leave the row out"),
        ("date,a\n2024-01-01,1\nyesterday,2\n", {}, "line 3, column 'date': 'yesterday' is no date or time"),
        ("date,a\n01/02/2024,1\n02/02/2024,2\n", {}, "say --dates dmy or --dates mdy"),
        ("date,a\n13/01/2024,1\n01/13/2024,2\n", {},
         "line 3, column 'date': .* has its day first and .* its month"),
        ("date,a\n13/01/2024,1\n01/13/2024,2\n", {"dates": "dmy"}, "line 3, column 'date': there is no such date"),
        ("date;a\n2024-01-01;1,234\n2024-01-02;2,345\n", {},
         "line 2, column 'a': the comma of '1,234' may begin a fraction"),
        ("date;a;b\n2024-01-01;1.234.567;12.345\n2024-01-02;987.654;1.234\n", {},
         "line 2, column 'b': the point of '12.345' may begin a fraction"),
        ("date,a\n2024-01-01 00:00,1\n2024-01-01 01:00,2\n2024-01-01 02:00,2\n2024-01-01 02:30,3\n", {},
         "line 5, column 'date': 2024-01-01 02:30 follows 2024-01-01 02:00 by something else than whole steps"),
        ("date,a\n2024-01-01 00:00:00,1\n2024-01-01 00:00:01,2\n2024-01-01 00:00:02,2\n2200-01-01 00:00:00,3\n", {},
         "line 4: with a step of 1 second the rows that are missing make"),
        ("date,store,shop,a\n2024-01-01,x,p,1\n2024-01-01,y,q,1\n2024-01-02,x,p,2\n2024-01-02,y,q,2\n", {},
         "say with --id"),
        (b"\x00\x01\x02", {}, "it holds bytes that are no text"),
        (b"PK\x03\x04rest", {}, "a workbook or a zip archive: save the sheet as CSV"),
        (b"\x1f\x8b\x08rest", {}, "compressed: unpack it first"),
        (b"PAR1 and nothing else PAR1", {}, "no Parquet file that can be read"),
    ],
)  # fmt: skip
def test_a_fault_names_its_line_and_its_column(
    read: Read, text: str | bytes, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SetupError, match=message) as caught:
        read(text, **options)
    assert "\n" not in str(caught.value)


def test_options_say_what_cannot_be_found(read: Read) -> None:
    text = 'when,shop,a\n01/02/2024,x,"1,234"\n01/02/2024,y,"2,345"\n02/02/2024,x,"3,456"\n'
    table = read(text, time="when", item="shop", dates="mdy", decimal=",")
    assert values(table)[0] == [1.234]
    assert next_times(table, 1, item=1) == ["02/02/2024"] or table.items[1].name == "y"


def test_every_reading_is_bounded(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SetupError, match="10001 columns, more than the 10000"):
        read(",".join(["date", *(f"c{n}" for n in range(10_000))]) + "\n2024-01-01" + ",1" * 10_000 + "\n")
    monkeypatch.setattr(csv, "MOST_CELLS", 100)
    with pytest.raises(SetupError, match="more than 100 cells"):
        read(daily(map(str, range(100))))
    monkeypatch.setattr(files, "MOST_BYTES", 100)
    with pytest.raises(SetupError, match="more than 0 MiB"):
        read(daily(map(str, range(100))))


def test_parquet_is_read_with_its_types(tmp_path: Path) -> None:
    moments = [datetime(2024, 1, 1) + timedelta(hours=hour) for hour in range(4)]
    path = write_parquet(
        tmp_path / "wide.parquet",
        when=pyarrow.array(moments, pyarrow.timestamp("us", "UTC")),
        a=pyarrow.array([1, 2, None, 4], pyarrow.int64()),
        b=pyarrow.array([1.5, 2.5, 3.5, 4.5], pyarrow.float32()),
        c=pyarrow.array([[1], [2], [3], [4]]),
        d=pyarrow.array(["x", "y", "x", "y"]).dictionary_encode(),
    )
    table = read_table(path)
    np.testing.assert_array_equal(table.items[0].values, [[1, 1.5], [2, 2.5], [np.nan, 3.5], [4, 4.5]])
    assert next_times(table) == ["2024-01-01T04:00:00Z", "2024-01-01T05:00:00Z"]
    assert "column 'c' left out: list<element: int64> is no number, time or text" in table.notes
    assert "1 cell without a number, the first in row 3, column 'a'" in table.notes


def test_an_index_of_pandas_without_a_name_is_no_series(tmp_path: Path) -> None:
    frame = pd.DataFrame({"date": pd.date_range("2024-01-01", periods=6), "a": np.arange(6.0)})
    frame.iloc[[3, 1, 5, 0, 4, 2]].to_parquet(tmp_path / "shuffled.parquet")
    table = read_table(tmp_path / "shuffled.parquet")
    assert (table.columns, values(table)) == (("a",), [[n] for n in range(6)])
    assert "left out, as no numbers to forecast: '__index_level_0__'" in table.notes
    frame.iloc[[3, 1, 5, 0, 4, 2]].to_csv(tmp_path / "shuffled.csv")
    table = read_table(tmp_path / "shuffled.csv")
    assert (table.columns, values(table)) == (("a",), [[n] for n in range(6)])
    assert "left out, as no numbers to forecast: 'column_1'" in table.notes
    assert read_table(tmp_path / "shuffled.csv", TableOptions(columns=("column_1",))).columns == ("column_1",)
    # Several tables one below another have their numbers again and again; what is measured has no such order.
    frame.set_index(frame.index % 3).to_csv(tmp_path / "joined.csv")
    assert read_table(tmp_path / "joined.csv").columns == ("a",)
    frame.set_index(pd.Index([4, 4, 9, 0, 9, 2])).to_csv(tmp_path / "measured.csv")
    assert read_table(tmp_path / "measured.csv").columns == ("column_1", "a")
    frame[["date"]].set_index(frame.index[::-1] * 7).to_csv(tmp_path / "alone.csv")
    assert read_table(tmp_path / "alone.csv").columns == ("column_1",)
    frame.set_index("date").rename_axis(None).to_parquet(tmp_path / "times.parquet")
    assert next_times(read_table(tmp_path / "times.parquet"), 1) == ["2024-01-07"]


def test_a_long_parquet_of_days_and_numbers_for_names(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "long.parquet",
        unique_id=[7, 7, 8, 8],
        ds=pyarrow.array([date(2024, 1, 1), date(2024, 1, 2)] * 2),
        y=[1.0, 2.0, 3.0, 4.0],
    )
    table = read_table(path)
    assert [item.name for item in table.items] == ["7", "8"]
    assert next_times(table, 1) == ["2024-01-03"]


def test_a_parquet_file_beyond_the_bounds_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "many.parquet", a=list(range(101)))
    monkeypatch.setattr(parquet_cells, "MOST_CELLS", 100)
    with pytest.raises(SetupError, match="101 rows of 1 columns"):
        read_table(path)
    with pytest.raises(SetupError, match="no rows"):
        read_table(write_parquet(tmp_path / "none.parquet", a=pyarrow.array([], pyarrow.float64())))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"none\.csv: No such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(SetupError, match="Is a directory"):
        read_table(tmp_path)


@given(st.binary(max_size=300) | st.text('date,;\t|\n\r"0123456789.-/:abT Z\ufeff', max_size=300).map(str.encode))
def test_any_bytes_are_a_table_or_refused_in_a_sentence(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(data)
    try:
        table = read_table(path)
    except SetupError as error:
        assert str(error).startswith(str(path))  # noqa: PT017
    else:
        assert table.items[0].values.shape[1] == len(table.columns) > 0


@pytest.mark.shared_data
def test_the_hourly_candles_are_put_right_and_said() -> None:
    table = read_table(SHARED_DATA / "coinbase" / "BTCUSD_1h.csv")
    (item,) = table.items
    assert item.values.shape == (20_111, 6)
    assert np.isnan(item.values).all(axis=1).sum() == 5
    assert next_times(table) == ["2019-10-17 10-AM", "2019-10-17 11-AM"]
    said = "; ".join(table.notes)
    copies = "5 rows out of order and a copy of one beside it (2017-11-12 04-AM in line 16909 repeats 2017-11-11 11-PM"
    for part in (
        "1 line before the header",
        "'symbol'",
        f"{copies} in line 16908): taken",
        "the newest row comes first",
    ):
        assert part in said


@pytest.mark.shared_data
def test_the_transformer_is_read_without_a_word() -> None:
    table = read_table(SHARED_DATA / "ETTh1.csv")
    assert table.notes == []
    assert table.columns == ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
    assert table.items[0].values.shape == (17_420, 7)
    assert str(table.frequency) == "1 hour"
