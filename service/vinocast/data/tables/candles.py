"""Candles out of a table that somebody else has made, whatever its columns are called and in whatever order it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from vinocast.data.tables.read import read_table
from vinocast.data.times.days import SECOND
from vinocast.errors import SetupError, printable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class CandleTable:
    """The candles of one product.

    Attributes:
        source: the name of the file, for messages.
        rows: float64 [n, 6], oldest first: unix seconds, low, high, open, close, volume. Of a time without a whole row
            there is none.
        seconds: from one candle to the next, where none is missing.
        notes: what was found and what was done about it, a sentence each.
    """

    source: str
    rows: NDArray[np.float64]
    seconds: int
    notes: list[str] = field(default_factory=list)


def read_candles(path: Path) -> CandleTable:
    """Read candles from a CSV or Parquet file, whose columns are called open, high, low, close and volume.

    Beside them there is a column of times. Names are taken in any case. Of several volumes the one in coins is taken:
    the first that has no "usd" in its name.

    Raises:
        SetupError: it cannot be read, has no such columns, or is of several products; the message says so.
    """
    table = read_table(path)
    names = {name.strip().lower(): place for place, name in reversed(list(enumerate(table.columns)))}
    volumes = [name for name in sorted(names, key=names.__getitem__) if name.startswith("volume")]
    volume = next((name for name in volumes if "usd" not in name), volumes[0] if volumes else "volume")
    if lacking := [name for name in (*PRICES, volume) if name not in names]:
        raise SetupError(
            f"{table.source}: expected columns open, high, low, close and volume of candles; there is no "
            f"{', '.join(lacking)} among {', '.join(printable(name[:40]) for name in table.columns[:12])}"
        )
    if len(table.items) > 1:
        raise SetupError(f"{table.source}: it has {len(table.items)} products: expected a file for each")
    if table.counted or not table.frequency.nanoseconds or table.frequency.nanoseconds % SECOND:
        raise SetupError(f"{table.source}: expected a time for each candle, whole seconds apart")
    (item,) = table.items
    times = table.times(item, 0, len(item.values)).astype(np.int64) - (table.form.offset or 0) * 60 * SECOND
    columns = [names[name] for name in ("low", "high", "open", "close", volume)]
    rows = np.column_stack([times // SECOND, item.values[:, columns]])
    notes = [*table.notes, f"volume is column '{printable(table.columns[names[volume]])}'"]
    return CandleTable(table.source, rows[~np.isnan(rows).any(axis=1)], table.frequency.nanoseconds // SECOND, notes)
