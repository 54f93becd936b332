"""A data set out of a file of the user's own: its series, its division by time, its scaler, its season."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from vinocast.data.splits import SPLITS, TEST_SHARE, VALIDATION_SHARE, Dataset, divide_at, divide_by_share, standards
from vinocast.data.tables.read import read_table
from vinocast.data.tables.table import TableOptions
from vinocast.data.times.days import SECOND
from vinocast.data.times.moment import read_moment
from vinocast.errors import SetupError, quote, shown
from vinocast.evaluation.baselines import find_season, usual_seasons

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from vinocast.data.splits import Split
    from vinocast.data.tables.table import Table

Missing = Literal["refuse", "interpolate"]


@dataclass(frozen=True)
class Division:
    """How a file becomes a data set: each field is an option of the commands that take one.

    Attributes:
        columns: names of those to take; all, where there are none.
        validation_share: of the rows, those before the test rows, to choose by.
        test_share: of the rows, the newest, to measure on.
        validation_from: the time of the first validation row, instead of a share.
        test_from: the time of the first test row.
        season: rows after which the series begin anew; None to find it in the training rows.
        missing: what becomes of cells without a number.
    """

    columns: tuple[str, ...] = ()
    validation_share: float = VALIDATION_SHARE
    test_share: float = TEST_SHARE
    validation_from: str | None = None
    test_from: str | None = None
    season: int | None = None
    missing: Missing = "refuse"

    @property
    def options(self) -> list[str]:
        """The words that say it to a command, all written out."""
        words = ["--columns", ",".join(self.columns)] if self.columns else []
        for name, share, moment in (
            ("validation", self.validation_share, self.validation_from),
            ("test", self.test_share, self.test_from),
        ):
            words += [f"--{name}-share", f"{share:g}"] if moment is None else [f"--{name}-from", moment]
        words += [] if self.season is None else ["--season", str(self.season)]
        return [*words, "--missing", self.missing]


def read_dataset(path: Path, division: Division, context: int) -> tuple[Dataset, list[str]]:
    """Read a table and divide it by time; means, deviations and the season are those of the training rows.

    A long table whose series all have the same times is a wide one, a column for each. Missing values are filled from
    their own split alone, so that no split knows of a later one.

    Args:
        path: a CSV or Parquet file.
        division: how to read and divide it.
        context: rows of a model's window, which a season must fit into.

    Returns:
        The data set, and what was found in the file, a sentence each.

    Raises:
        SetupError: the file cannot be read or divided so, a cell is empty, a column does not change.
    """
    table = read_table(path, TableOptions(columns=division.columns))
    values, columns = _wide(table)
    name = shown(path.name)
    targets, words = _divide(table, len(values), division)
    if np.isnan(values).any():
        _fill(table, values, columns, targets, division.missing)
    mean, deviation = standards(values, columns, targets["train"], name)
    trained = (values[slice(*targets["train"])] - mean) / deviation
    usual = () if table.counted else usual_seasons(table.frequency)
    season = division.season or find_season(trained.T, usual)
    if season > context and division.season is None:
        # A longer one is of no use to a window; a season fits three times where it is looked for.
        season = find_season(trained[-3 * context :].T, usual)
    if season > context:
        raise SetupError(f"--season {season} is longer than the {context} rows of the model's window")
    spans = {split: _span(table, rows) for split, rows in targets.items()} if not table.counted else {}
    options = ["--data", name, *division.options]
    data = Dataset(
        values, table.sha256, name, columns, targets, mean, deviation, words, options, season, spans
    )  # fmt: skip
    step = "" if table.counted else f" from {_moment(table, table.items[0].first)} on, one every {table.frequency}"
    return data, [*table.notes, f"{len(values)} rows{step}; {words}; a season of {season}"]


def _wide(table: Table) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the values [rows, columns] of all items side by side, and their names."""
    first = table.items[0]
    if len(table.items) == 1:
        return first.values.copy(), table.columns
    for item in table.items:
        if (item.first, len(item.values)) != (first.first, len(first.values)):
            raise SetupError(
                f"{table.source}: {quote(item.name)} has {len(item.values)} rows from {_moment(table, item.first)} on, "
                f"{quote(first.name)} {len(first.values)} from {_moment(table, first.first)} on: a file is divided at "
                "the same times for all its series, so give them the same times"
            )
    alone = len(table.columns) == 1
    names = [f"{item.name}" if alone else f"{item.name}.{column}" for item in table.items for column in table.columns]
    return np.hstack([item.values for item in table.items]), tuple(names)


def _divide(table: Table, rows: int, division: Division) -> tuple[Mapping[Split, tuple[int, int]], str]:
    """Return the target rows of each split, and how they were found, in words."""
    try:
        if division.test_from is None and division.validation_from is None:
            targets = divide_by_share(rows, division.validation_share, division.test_share)
            validated, tested = division.validation_share, division.test_share
            words = f"{1 - validated - tested:.4g} train, {validated:.4g} validation, {tested:.4g} test"
            return targets, f"rows divided by share: {words}"
        test = rows - round(rows * division.test_share)
        if division.test_from is not None:
            test = _row_of(table, rows, division.test_from, "--test-from")
        validation = test - round(rows * division.validation_share)
        if division.validation_from is not None:
            validation = _row_of(table, rows, division.validation_from, "--validation-from")
        targets = divide_at(rows, validation, test)
    except SetupError as error:
        raise SetupError(f"{table.source}: {error}") from None
    starts = (f"{split} from {_moment(table, _times(table, targets[split][0]))}" for split in SPLITS[1:])
    return targets, f"rows divided by time: {', '.join(starts)}"


def _row_of(table: Table, rows: int, text: str, option: str) -> int:
    """Return the first row at a time or after it."""
    if table.counted:
        raise SetupError(f"{option}: the rows have no times; divide them by share")
    try:
        moment = read_moment(text)
    except ValueError as error:
        raise SetupError(f"{option}: {error}") from None
    zones = moment.form.offset, table.form.offset
    local = moment.local if None in zones else moment.utc + (zones[1] or 0) * 60 * SECOND
    times = table.times(table.items[0], 0, rows).astype(np.int64)
    return int(np.searchsorted(times, local))


def _fill(
    table: Table,
    values: NDArray[np.float64],
    columns: tuple[str, ...],
    targets: Mapping[Split, tuple[int, int]],
    missing: Missing,
) -> None:
    """Fill gaps in place, linear inside a split and with the nearest value at its ends."""
    gaps = np.isnan(values)
    if missing == "refuse":
        row, column = np.argwhere(gaps)[0].tolist()
        item = table.items[column // len(table.columns)]
        place = table.place(item, row, column % len(table.columns))
        raise SetupError(f"{place}: no number; --missing interpolate fills the {int(gaps.sum())} there are")
    for split, (first, behind) in targets.items():
        rows = np.arange(first, behind)
        for column in np.flatnonzero(gaps[first:behind].any(axis=0)).tolist():
            part, gap = values[first:behind, column], gaps[first:behind, column]
            if gap.all():
                raise SetupError(f"{table.source}: {quote(columns[column])} has no number in any {split} row")
            part[gap] = np.interp(rows[gap], rows[~gap], part[~gap])


def _span(table: Table, rows: tuple[int, int]) -> tuple[str, str]:
    return _moment(table, _times(table, rows[0])), _moment(table, _times(table, rows[1] - 1))


def _times(table: Table, row: int) -> int:
    return int(table.times(table.items[0], row, 1).astype(np.int64)[0])


def _moment(table: Table, nanoseconds: int) -> str:
    return table.form.write(np.array([nanoseconds], "datetime64[ns]"))[0]
