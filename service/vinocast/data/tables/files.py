"""The cells of a table out of a file, of whichever kind."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from vinocast.data.regular import open_input
from vinocast.data.tables.cells import MIB, MOST_BYTES, Cells
from vinocast.data.tables.csv import read_csv
from vinocast.data.tables.parquet import read_parquet
from vinocast.errors import SetupError, shown

if TYPE_CHECKING:
    from pathlib import Path

STANDARD_INPUT = "-"


def read_cells(path: Path) -> Cells:
    """Read a CSV or a Parquet file, told apart by what they begin with; ``-`` is standard input.

    Raises:
        SetupError: it cannot be read, is neither, has no rows, or holds more than the bounds of this module.
    """
    source = "standard input" if str(path) == STANDARD_INPUT else shown(path)
    try:
        data = _read(path)
    except OSError as error:
        raise SetupError(f"{source}: {error.strerror}") from error
    if len(data) > MOST_BYTES:
        raise SetupError(f"{source}: more than {MOST_BYTES // MIB} MiB: leave out columns or older rows")
    if data[:4] == b"PAR1":
        return read_parquet(source, data)
    return read_csv(source, data)


def _read(path: Path) -> bytes:
    if str(path) == STANDARD_INPUT:
        return sys.stdin.buffer.read(MOST_BYTES + 1)
    with open_input(path) as file:
        return file.read(MOST_BYTES + 1)
