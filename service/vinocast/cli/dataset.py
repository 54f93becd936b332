"""What the commands share that take a data set: how a file is read and divided by time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vinocast.settings import FiniteRange

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vinocast.data.splits import Dataset

F = TypeVar("F", bound=Callable[..., Any])
COUNT = click.IntRange(1, 10**9)
SHARE = FiniteRange(0, 1, min_open=True, max_open=True)

OPTIONS = (
    click.option(
        "--data",
        type=click.Path(path_type=Path),
        required=True,
        metavar="FILE.csv",
        help="A table of series, CSV or Parquet: a column for each, or long (item_id, timestamp, target).",
    ),
    click.option(
        "--protocol",
        type=click.Choice(["etth1", "split"]),
        show_default="etth1 where the file has ETTh1's header and rows and nothing below is given, else split",
        help="How the rows are divided: as is usual for ETTh1, in whose unit a model is then asked, or as said below.",
    ),
    click.option("--columns", metavar="A,B,…", help="Names of the columns to take; default: all that hold numbers."),
    click.option("--validation-share", type=SHARE, show_default="0.1", help="Of the rows, those before the test rows."),
    click.option("--test-share", type=SHARE, show_default="0.2", help="Of the rows, the newest."),
    click.option("--validation-from", metavar="TIME", help="Of the first validation row, instead of a share."),
    click.option("--test-from", metavar="TIME", help="Of the first test row, instead of a share."),
    click.option(
        "--season", type=COUNT, show_default="found in the training rows", help="Rows after which series begin anew."
    ),
    click.option(
        "--missing",
        type=click.Choice(["refuse", "interpolate"]),
        show_default="refuse",
        help="Of cells and rows without a number; filled are they from their own split alone.",
    ),
)


def dataset_options(function: F) -> F:
    """Declare the options by which a file becomes a data set, for :func:`read_data`."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def check_division(said: Mapping[str, Any]) -> None:
    """Raise click.UsageError where both a share and a time are given for one split, each under its option's name."""
    for split in ("validation", "test"):
        if said[f"{split}_share"] is not None and said[f"{split}_from"] is not None:
            raise click.UsageError(f"give --{split}-share or --{split}-from, not both")


def read_data(
    context: int,
    *,
    data: Path,
    protocol: str | None,
    columns: str | None,
    validation_share: float | None,
    test_share: float | None,
    validation_from: str | None,
    test_from: str | None,
    season: int | None,
    missing: str | None,
) -> Dataset:
    """Read a data set for a model whose windows have so many rows, and say what was found in the file.

    Raises:
        click.UsageError: options that exclude each other.
        SetupError: the file cannot be read or divided so.
    """
    from vinocast.data.etth1 import has_its_form, read_etth1
    from vinocast.evaluation.dataset import Division, read_dataset

    said: dict[str, Any] = {
        "columns": tuple(name.strip() for name in columns.split(",")) if columns else None,
        "validation_share": validation_share,
        "test_share": test_share,
        "validation_from": validation_from,
        "test_from": test_from,
        "season": season,
        "missing": missing,
    }
    check_division(said)
    given = {name: value for name, value in said.items() if value is not None}
    if protocol == "etth1" and given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise click.UsageError(f"--protocol etth1 says how the rows are divided: leave out {names}")
    if protocol == "etth1" or (protocol is None and not given and has_its_form(data)):
        return read_etth1(data)
    found, notes = read_dataset(data, Division(**given), context)
    for note in notes:
        click.echo(f"{found.name}: {note}", err=True)
    return found
