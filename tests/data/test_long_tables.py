"""Long tables: how the series of one are known, and what is none."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from table_support import Read, daily, next_times, values

if TYPE_CHECKING:
    pass

LONG = "item_id,timestamp,target\nA,2024-01-01,1\nA,2024-01-02,2\nB,2024-01-02,3\nB,2024-01-03,4\nB,2024-01-05,5\n"


@pytest.mark.parametrize(
    "header",
    ["item_id,timestamp,target", "unique_id,ds,y", "ID,Date,Value", "series,time,values", "store,day,sales"],
)
def test_a_long_table_is_known_by_its_names_or_by_its_rows(read: Read, header: str) -> None:
    table = read(LONG.replace("item_id,timestamp,target", header))
    assert [item.name for item in table.items] == ["A", "B"]
    assert [table.item, table.time, *table.columns] == header.split(",")
    np.testing.assert_array_equal(table.items[1].values[:, 0], [3, 4, np.nan, 5])
    assert next_times(table, 1) == ["2024-01-03"]
    assert next_times(table, 1, item=1) == ["2024-01-06"]
    assert "1 row of 6 missing, the first of 'B' of 2024-01-04, after line 5" in table.notes


def test_items_may_lie_in_any_order(read: Read, rng: np.random.Generator) -> None:
    header, *rows = LONG.splitlines()
    table = read("\n".join([header, *rng.permutation(rows).tolist()]), duplicates="refuse")
    items = {item.name: item.values[:, 0].tolist() for item in table.items}
    np.testing.assert_array_equal(items["A"], [1, 2])
    np.testing.assert_array_equal(items["B"], [3, 4, np.nan, 5])


def test_of_a_long_table_the_target_is_forecast_or_what_is_named(read: Read) -> None:
    text = "unique_id,ds,price,y\nA,2024-01-01,7,1\nB,2024-01-01,8,2\nA,2024-01-02,9,3\nB,2024-01-02,6,4\n"
    table = read(text)
    assert table.columns == ("y",)
    assert "only 'y' is forecast, and not 'price': --columns chooses" in table.notes
    assert values(read(text, columns=("price",)), 1) == [[8], [6]]


def long_rows(name: str, series: Iterable[tuple[str, range]]) -> str:
    """A long table of hours: of each series the hours that are its rows, and as its values the same."""
    first = datetime(2024, 1, 1)
    rows = [f"{item},{first + timedelta(hours=hour)},{hour}" for item, hours in series for hour in hours]
    return "\n".join([f"{name},timestamp,target", *rows, ""])


@pytest.mark.parametrize(
    ("name", "items"),
    [("item_id", "AB"), ("unique_id", "12"), ("symbol", "AB"), ("sensor", "12"), ("id", "12"), ("Meter", "71")],
)
@pytest.mark.parametrize("second", [range(20, 40), range(19, 39), range(200, 220)])
def test_series_that_do_not_overlap_in_time_are_as_many(read: Read, name: str, items: str, second: range) -> None:
    table = read(long_rows(name, zip(items, (range(20), second), strict=True)))
    assert (table.item, table.columns) == (name, ("target",))
    assert {item.name: item.values[:, 0].tolist() for item in table.items} == {
        items[0]: list(range(20)),
        items[1]: list(second),
    }


def test_series_that_take_turns_are_as_many(read: Read) -> None:
    table = read(long_rows("symbol", [("A", range(0, 20, 2)), ("B", range(1, 20, 2))]))
    assert [(item.name, len(item.values)) for item in table.items] == [("A", 10), ("B", 10)]
    assert "a long table: its series are named by 'symbol'" in table.notes


def test_what_a_sensor_measures_is_no_name_of_it(read: Read) -> None:
    for readings in ([0, 1, 1, 0] * 10, [n // 2 for n in range(40)], [0.5] * 20 + [1.5] * 20):
        table = read(daily([f"{reading},1" for reading in readings], "date,sensor,a"))
        assert (table.item, table.columns) == (None, ("sensor", "a"))
        # Fewer than ten rows of each could be names all the same.
        assert table.notes == ["'sensor' is taken for numbers to forecast: --id sensor says that it names series"]
    # As far as the numbers go these are two series; who says otherwise is believed.
    text = daily([f"{n // 20},1" for n in range(40)], "date,sensor,a")
    assert read(text).item == "sensor"
    assert read(text, columns=("sensor", "a")).item is None


def test_a_single_series_keeps_its_name(read: Read) -> None:
    table = read(long_rows("item_id", [("A", range(5))]))
    assert (table.item, [item.name for item in table.items]) == ("item_id", ["A"])
    # A column of nothing names none.
    assert read(long_rows("item_id", [("", range(5))])).item is None
    # Where another column tells the rows of a time apart, that is the name of the series.
    rows = [f"A,{store},2024-01-0{day},{day}" for store in "xy" for day in (1, 2, 3)]
    table = read("\n".join(["item_id,store,date,sales", *rows, ""]))
    assert (table.item, [item.name for item in table.items]) == ("store", ["x", "y"])
