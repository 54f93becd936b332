"""Tables that tests write, and what is in them once they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow
from pyarrow import parquet
from vinocast.data.tables.table import Table

if TYPE_CHECKING:
    from pathlib import Path

Read = Callable[..., Table]


def values(table: Table, item: int = 0) -> list[list[float]]:
    return [[round(value, 9) for value in row] for row in table.items[item].values.tolist()]


def next_times(table: Table, count: int = 2, item: int = 0) -> list[str]:
    which = table.items[item]
    return table.form.write(table.times(which, len(which.values), count))


def daily(cells: Iterable[str], head: str = "date,a", form: str = "%Y-%m-%d", separator: str = ",") -> str:
    first = date(2024, 1, 1)
    rows = [f"{(first + timedelta(days=day)).strftime(form)}{separator}{cell}" for day, cell in enumerate(cells)]
    return "\n".join([head, *rows, ""])


def write_parquet(path: Path, **columns: Any) -> Path:
    parquet.write_table(pyarrow.table(columns), path)
    return path
