"""The cells of a Parquet file."""

from __future__ import annotations

import hashlib
import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.data.tables.cells import MOST_CELLS, MOST_COLUMNS, Cells, Column, cut, own_names
from vinocast.errors import SetupError, printable
from vinocast.extras import missing_extra

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What pandas calls an index without a name.
OF_PANDAS = re.compile(r"__index_level_\d+__", re.ASCII)
# Up to which float64 holds every integer.
MOST_EXACT = 2**53


def read_parquet(source: str, data: bytes) -> Cells:
    """Return the cells of a Parquet file's bytes; raises SetupError where they are none, or the extra is missing."""
    try:
        import pyarrow  # noqa: PLC0415 - of an extra, and slow to import
        from pyarrow import parquet  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise missing_extra("files", error) from error

    try:
        file = parquet.ParquetFile(io.BytesIO(data))
        rows, count = file.metadata.num_rows, file.metadata.num_columns
        if count > MOST_COLUMNS or rows * count > MOST_CELLS:
            raise SetupError(
                f"{source}: {rows} rows of {count} columns: at most {MOST_COLUMNS} columns and {MOST_CELLS} cells are "
                "read; leave out columns or older rows"
            )
        table = file.read(use_threads=False)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise SetupError(f"{source}: no Parquet file that can be read: {cut(printable(str(error)), 200)}") from None
    cells = Cells(source, hashlib.sha256(data).hexdigest(), [], np.arange(1, rows + 1), word="row")
    if not rows:
        raise cells.fault("no rows")
    names = own_names(table.column_names, cells.notes)
    for name, values in zip(names, table.columns, strict=True):
        column = _typed(name, values)
        if column is None:
            cells.notes.append(f"column '{printable(name)}' left out: {values.type} is no number, time or text")
        else:
            column.index = OF_PANDAS.fullmatch(name) is not None
            cells.columns.append(column)
    return cells


def _typed(name: str, values: Any) -> Column | None:
    import pyarrow  # noqa: PLC0415 - as above
    from pyarrow import types  # noqa: PLC0415 - as above

    kind = values.type
    if types.is_dictionary(kind):
        values = values.cast(kind.value_type)
        kind = values.type
    if types.is_string(kind) or types.is_large_string(kind):
        return Column(name, [(text or "").strip() for text in values.to_pylist()])
    if types.is_timestamp(kind) or types.is_date(kind):
        try:
            moments = values.cast(pyarrow.timestamp("ns", getattr(kind, "tz", None)))
        except pyarrow.ArrowInvalid:
            return None
        zoned = getattr(kind, "tz", None) is not None
        return Column(
            name, times=_numpy(moments, "datetime64[ns]"), utc=zoned, local=_local(moments) if zoned else None
        )
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        numbers = _numpy(values.cast(pyarrow.float64(), safe=False), "float64")
        column = Column(name, numbers=numbers)
        if types.is_integer(kind) and not values.null_count and (np.abs(numbers) > MOST_EXACT).any():
            try:
                column.integers = _numpy(values.cast(pyarrow.int64()), "int64")
            except pyarrow.ArrowInvalid:
                column.integers = None  # beyond int64, where no time is
        return column
    return None


def _local(moments: Any) -> NDArray[np.datetime64] | None:
    """Return times with a zone by the clock of its place; None where this machine does not know the place."""
    import pyarrow  # noqa: PLC0415 - as above
    from pyarrow import compute  # noqa: PLC0415 - as above

    try:
        return _numpy(compute.local_timestamp(moments), "datetime64[ns]")
    except pyarrow.ArrowInvalid:
        return None


def _numpy(values: Any, dtype: str) -> NDArray[Any]:
    array: NDArray[Any] = values.combine_chunks().to_numpy(zero_copy_only=False).astype(dtype)
    return array
