"""Forecasts of a table as CSV, JSON or Parquet, with times in the form of the table's own."""

from __future__ import annotations

import csv
import io
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson

from vinocast.errors import SetupError, printable
from vinocast.extras import missing_extra

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from vinocast.data.tables.table import Table
    from vinocast.data.times.days import Times
    from vinocast.files.forecasts import ItemForecast

Format = Literal["csv", "json", "parquet"]
FORMATS: dict[str, Format] = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".pq": "parquet"}


def check(form: Format, table: Table, levels: Sequence[float], steps: int) -> None:
    """Raise SetupError where so many steps of forecasts of a table cannot be written, before any is computed.

    Two columns would have one name, or a time would be one that none can be written of.
    """
    if form != "json":
        first = [table.item] if table.item is not None else []
        name, count = Counter([*first, table.time, *names(table, levels)]).most_common(1)[0]
        if count > 1:
            raise SetupError(
                f"{table.source}: two columns of what is written would be called '{printable(name)}': call the file's "
                "own otherwise, leave it out with --columns, or write --format json"
            )
    for item in table.items:
        try:
            table.times(item, len(item.lines) + steps - 1, 1)
        except ValueError as error:
            whose = "" if item.name is None else f"{table.item} '{printable(item.name)}': "
            raise SetupError(
                f"{table.source}: {whose}{error}, {steps} steps of {table.step} after the last row: ask for fewer with "
                "--prediction-length"
            ) from None


def check_extra(form: Format) -> None:
    """Raise SetupError where what writes a format is not installed."""
    if form == "parquet":
        try:
            import pyarrow.parquet  # noqa: F401, PLC0415 - of an extra
        except ModuleNotFoundError as error:
            raise missing_extra("files", error) from error


def encode(form: Format, model: str, table: Table, levels: Sequence[float], forecasts: Sequence[ItemForecast]) -> bytes:
    """Return the bytes of a file."""
    if form == "json":
        return to_json(model, table, levels, forecasts)
    if form == "csv":
        return to_csv(table, levels, forecasts)
    return to_parquet(table, levels, forecasts)


def names(table: Table, levels: Sequence[float]) -> list[str]:
    """Return the names of the columns of numbers: the table's, then each with each level."""
    return [*table.columns, *(f"{name}_{name_level(level)}" for level in levels for name in table.columns)]


def name_level(level: float) -> str:
    """Return what a level is called, here as in a reply of the service: the shortest text that reads back the same."""
    return repr(level).removesuffix(".0")


def _numbers(forecast: ItemForecast) -> NDArray[np.floating]:
    """Return [steps, names], a row in memory for each step."""
    return np.ascontiguousarray(np.concatenate([forecast.points, *forecast.quantiles], axis=1))


def _times(table: Table, forecast: ItemForecast) -> Times:
    return table.times(forecast.window.item, forecast.window.stop, len(forecast.points))


def to_csv(table: Table, levels: Sequence[float], forecasts: Sequence[ItemForecast]) -> bytes:
    """Return a header and a row for each step: of a long table the item first, then the time, then the numbers."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    first = [table.item] if table.item is not None else []
    writer.writerow([*first, table.time, *names(table, levels)])
    for forecast in forecasts:
        item = [forecast.window.item.name] if first else []
        # As the service writes float32, or float64: as few digits as tell it from its neighbours. numpy would write
        # 1e+06 beside 999999.9.
        written = (orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in _numbers(forecast))
        rows = [row.decode()[1:-1].split(",") for row in written]
        moments = table.form.write(_times(table, forecast))
        writer.writerows([*item, moment, *row] for moment, row in zip(moments, rows, strict=True))
    return text.getvalue().encode()


def to_json(model: str, table: Table, levels: Sequence[float], forecasts: Sequence[ItemForecast]) -> bytes:
    """Return one object: of a wide table as the service answers a window, of a long one as it answers ``inputs``."""
    answer: dict[str, Any] = {"model": model}
    if table.item is None:
        (forecast,) = forecasts
        answer |= {"channels": table.columns, **_described(table, levels, forecast, slice(None))}
    else:
        answer["outputs"] = list(_outputs(table, levels, forecasts))
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


def _outputs(table: Table, levels: Sequence[float], forecasts: Sequence[ItemForecast]) -> Iterator[dict[str, Any]]:
    for forecast in forecasts:
        for place, name in enumerate(table.columns):
            of = {"item_id": forecast.window.item.name} | ({"channel": name} if len(table.columns) > 1 else {})
            yield of | _described(table, levels, forecast, place)


def _described(table: Table, levels: Sequence[float], forecast: ItemForecast, column: Any) -> dict[str, Any]:
    window = forecast.window
    described: dict[str, Any] = {
        "timestamps": table.form.write(_times(table, forecast)),
        "predictions": np.ascontiguousarray(forecast.points[:, column]),
    }
    if levels:
        made = zip(levels, forecast.quantiles[..., column], strict=True)
        described["quantiles"] = {name_level(level): np.ascontiguousarray(values) for level, values in made}
    return described | {key: count for key, count in (("filled", window.filled), ("padded", window.padded)) if count}


def to_parquet(table: Table, levels: Sequence[float], forecasts: Sequence[ItemForecast]) -> bytes:
    """Return the columns of :func:`to_csv`; times as times, in UTC where they have a zone, and counts as numbers."""
    import pyarrow  # noqa: PLC0415 - of an extra, and slow to import
    from pyarrow import parquet  # noqa: PLC0415 - as above

    columns: dict[str, Any] = {}
    if table.item is not None:
        items = [forecast.window.item.name for forecast in forecasts for _ in forecast.points]
        columns[table.item] = pyarrow.array(items, pyarrow.string())
    times = np.concatenate([_times(table, forecast) for forecast in forecasts])
    form = table.form
    if form.epoch:
        counts = times.astype(np.int64)
        columns[table.time] = counts // form.epoch if (counts % form.epoch == 0).all() else counts / form.epoch
    elif form.offset is None:
        columns[table.time] = pyarrow.array(times, pyarrow.timestamp("ns"))
    else:
        columns[table.time] = pyarrow.array(times - np.timedelta64(form.offset, "m"), pyarrow.timestamp("ns", "UTC"))
    numbers = np.concatenate([_numbers(forecast) for forecast in forecasts])
    # Of float32, unless that would cut off digits of some item.
    wide = np.any([forecast.window.units.offsets != 0 for forecast in forecasts], axis=0).tolist()
    for place, name in enumerate(names(table, levels)):
        kind = np.float64 if wide[place % len(wide)] else np.float32
        columns[name] = np.ascontiguousarray(numbers[:, place], kind)
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(list(columns.values()), names=list(columns)), file)
    return file.getvalue()
