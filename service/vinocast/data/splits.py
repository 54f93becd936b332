"""Rows divided by time into what is trained on, what is chosen by, and what is measured on."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from vinocast.errors import SetupError, quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

# What studies divide a data set by that has no division of its own.
VALIDATION_SHARE = 0.1
TEST_SHARE = 0.2


@dataclass(frozen=True)
class Dataset:
    """Series of one time axis, divided by time.

    Attributes:
        values: float [rows, columns], oldest row first, in the unit that a model is asked in.
        sha256: hash of the file they were read from.
        name: of the data set.
        columns: names of the series.
        targets: the first row and the one behind the last to forecast, by split.
        mean: float64 [columns], of the training rows; errors are taken from it in units of ``deviation``.
        deviation: float64 [columns], the biased deviation of the training rows.
        division: how the rows were divided, in words; empty where that goes without saying.
        options: the words of a command that reads and divides the file so.
        season: rows after which the series begin anew.
        spans: the times of the first and the last target row, by split, where the rows have times.
    """

    values: NDArray[np.floating[Any]]
    sha256: str
    name: str
    columns: Sequence[str]
    targets: Mapping[Split, tuple[int, int]]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    division: str
    options: Sequence[str]
    season: int
    spans: Mapping[Split, tuple[str, str]] = field(default_factory=dict)

    @cached_property
    def standardised(self) -> NDArray[np.float32]:
        """The values [rows, columns] less the mean, over the deviation, of the training rows."""
        return ((self.values - self.mean) / self.deviation).astype(np.float32)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides a run that trains on it, as JSON."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "columns": list(self.columns),
            "targets": {split: list(rows) for split, rows in self.targets.items()},
        }

    def rows(self, split: Split, context: int) -> NDArray[np.float32]:
        """Return the standardised rows [rows, columns] that the windows of a split are cut from.

        Validation and test begin with ``context`` rows of the split before, so that their first target row is the
        first that no earlier split has seen as a target. Raises SetupError when there are not so many.
        """
        return self.standardised[self._bounds(split, context)]

    def asked(self, split: Split, context: int) -> NDArray[np.float32]:
        """Return the same rows in the unit that a model is asked in."""
        return self.values[self._bounds(split, context)].astype(np.float32)

    def _bounds(self, split: Split, context: int) -> slice:
        start, end = self.targets[split]
        if split != "train":
            start -= context
        if start < 0:
            raise SetupError(
                f"{self.name}: a context of {context} rows is longer than all that precedes the {split} split"
            )
        return slice(start, end)


def divide_by_share(rows: int, validation: float, test: float) -> dict[Split, tuple[int, int]]:
    """Return the target rows of each split, the newest share for testing and that before it for validation.

    Raises SetupError where a split would have no rows.
    """
    tested = round(rows * test)
    validated = round(rows * validation)
    return _divide(rows, rows - tested - validated, rows - tested, f"shares of {validation:g} and {test:g}")


def divide_at(rows: int, validation: int, test: int) -> dict[Split, tuple[int, int]]:
    """Return the target rows of each split that begin at these rows; raises SetupError where one would have none."""
    return _divide(rows, validation, test, f"rows {validation} and {test}")


def _divide(rows: int, validation: int, test: int, asked: str) -> dict[Split, tuple[int, int]]:
    if not 0 < validation < test < rows:
        raise SetupError(
            f"{rows} rows cannot be divided at {asked}: each of training, validation and test needs rows of its own"
        )
    return {"train": (0, validation), "validation": (validation, test), "test": (test, rows)}


def standards(
    values: NDArray[np.float64], columns: Sequence[str], train: tuple[int, int], name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and biased deviation [columns] of the training rows alone.

    Raises SetupError for a column that does not change there: nothing can be learned of it, and it has no unit.
    """
    known = values[slice(*train)]
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    still = [
        column for column, low, high in zip(columns, known.min(axis=0), known.max(axis=0), strict=True) if low == high
    ]
    if still:
        raise SetupError(f"{name}: {quote(still[0])} does not change in the training rows: leave it out with --columns")
    return mean, deviation
