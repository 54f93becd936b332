"""Frames of pandas and polars as windows and series, by narwhals.

Rows whose time is left out between two others are rows of missing values, which a request may refuse or interpolate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from vinocast.data.given import as_array
from vinocast.data.times.frequency import infer_frequency
from vinocast.data.times.steps import read_frequency
from vinocast.errors import InvalidRequestError, InvalidShapeError, InvalidValueError, in_one_line, quote
from vinocast.extras import missing_extra

if TYPE_CHECKING:
    import narwhals as nw
    from numpy.typing import NDArray

    from vinocast.data.given import Frame
    from vinocast.data.times.frequency import Frequency

# Columns that a message names.
MOST_NAMED = 20
# Of how many rows a frame may be that names few: a step that was guessed wrong would make millions.
MOST_HOLES = 1_000_000
# Days of the longest months, whose last day stays the last one with P1M.
LONGEST_MONTH = 31


@dataclass(frozen=True)
class Columns:
    """Which columns of a long table are what.

    Attributes:
        item_id: tells the series apart; where there is none, the table is one series.
        timestamp: orders a series, and gives its start; where there is none, the order of rows counts.
        target: the numbers.
    """

    item_id: str = "item_id"
    timestamp: str = "timestamp"
    target: str = "target"


def is_frame(given: object) -> TypeGuard[Frame]:
    """Whether something is a frame, of whichever library."""
    return hasattr(given, "columns") and hasattr(given, "__getitem__")


def window_of(
    given: Frame, terms: Mapping[str, Any], known: Callable[[], Sequence[str]]
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Return a wide frame as a window [rows, channels], and the terms that go with it.

    The columns are those that ``channels`` names. Without it they are all but one of dates or times, have to be the
    model's channels by name, and may be in any order. A column or an index of dates or times gives ``start`` and
    ``freq``, unless these are given.

    Args:
        given: the frame.
        terms: what is asked for.
        known: returns the model's channels; called where ``channels`` are not given.

    Raises:
        SetupError: narwhals is not installed.
        InvalidRequestError: columns that are not there, not the model's, or several of times; times without a step.
        InvalidValueError: a column that holds no numbers.
    """
    frame = _narwhal(given)
    times = _times(frame, frame.columns)
    others = [name for name in frame.columns if name not in times]
    channels = terms.get("channels")
    if channels is None:
        channels = list(known())
        if len(others) != len(channels) or set(others) != set(channels):
            raise InvalidRequestError(
                f"window: expected the columns {_named(channels)}, got {_named(others)}; "
                "channels names those that are to be forecast",
                "channels",
            )
    for index, name in enumerate(channels):
        if name not in others:
            path = f"channels[{index}]"
            raise InvalidRequestError(f"{path}: expected one of the columns {_named(others)}, got {quote(name)}", path)
    values = np.empty((len(frame), len(channels)), np.float32)
    for index, name in enumerate(channels):
        values[:, index] = _numbers(frame[name], name)
    given_times = {name: terms.get(name) for name in ("start", "freq", "timestamp_ms", "step_ms")}
    if not times or any(given_times[name] is not None for name in ("start", "timestamp_ms")):
        return values, dict(terms)
    if len(times) > 1:
        raise InvalidRequestError(
            f"window: expected one column of dates or times, got {_named(times)}: leave out the others", "start"
        )
    moments = _moments(frame[times[0]], times[0])
    if len(moments) < 2 and given_times["freq"] is None:
        return values, dict(terms)
    frequency = _frequency(given_times["freq"], moments, times[0])
    start = frame[times[0]][0].isoformat()
    values = _on_a_grid(values, moments, frequency, times[0])
    return values, {**terms, "start": start, "freq": given_times["freq"] or _words(frequency, moments[0])[0]}


def inputs_of(given: Frame, columns: Columns, terms: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return a long frame as ``inputs`` in the order in which the series appear, and the terms that go with them.

    The rows of a series may be in any order where they have times.

    Raises as :func:`window_of` does.
    """
    frame = _narwhal(given, columns)
    if columns.target not in frame.columns:
        raise InvalidRequestError(
            f"inputs: expected a column {quote(columns.target)}, got {_named(frame.columns)}; "
            "target_column, id_column and time_column name them",
            "inputs",
        )
    for name, default in ((columns.item_id, Columns.item_id), (columns.timestamp, Columns.timestamp)):
        if name not in frame.columns and name != default:
            raise InvalidRequestError(f"inputs: expected a column {quote(name)}, got {_named(frame.columns)}", "inputs")
    values = _numbers(frame[columns.target], columns.target)
    timed = columns.timestamp in frame.columns
    if timed and not _times(frame, [columns.timestamp]):
        raise InvalidRequestError(
            f"inputs: expected dates or times in the column {quote(columns.timestamp)}, got "
            f"{frame.schema[columns.timestamp]}: convert them, or leave them out",
            "inputs",
        )
    moments = _moments(frame[columns.timestamp], columns.timestamp) if timed else None
    groups = (
        _groups(frame[columns.item_id].to_list()) if columns.item_id in frame.columns else {None: np.arange(len(frame))}
    )
    freq, fixed = terms.get("freq"), terms.get("freq") is not None
    common: Sequence[str] = ()  # words for the step of all series so far
    inputs: list[dict[str, Any]] = []
    for item_id, rows in groups.items():
        item: dict[str, Any] = {} if item_id is None else {"item_id": item_id}
        if moments is None:
            inputs.append({**item, "target": values[rows]})
            continue
        order = rows[np.argsort(moments[rows], kind="stable")]
        name = f"{columns.timestamp} of {quote(item_id)}"
        if item_id is None:
            name = f"{columns.timestamp} (one series, as id_column names no column)"
        target = values[order, None]
        if fixed or len(order) > 1:
            frequency = _frequency(terms.get("freq"), moments[order], name)
            words = _words(frequency, moments[order[0]])
            if not fixed:
                common = [word for word in common or words if word in words]
                if not common:
                    raise InvalidRequestError(
                        f"freq: expected one step of all series, got {freq} and {words[0]} ({name}): ask for each in a "
                        "request of its own",
                        "freq",
                    )
                freq = common[0]
            target = _on_a_grid(target, moments[order], frequency, name)
            item["start"] = frame[columns.timestamp][int(order[0])].isoformat()
        inputs.append({**item, "target": target[:, 0]})
    return inputs, {**terms, "freq": freq} if moments is not None and freq is not None else dict(terms)


def _narwhal(given: Frame, columns: Columns | None = None) -> nw.DataFrame[Any]:
    """Return a frame whose columns have texts for names, with what an index of pandas says as columns.

    That are its times, and of a long frame what has the name of one of its ``columns``.
    """
    try:
        import narwhals as nw  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise missing_extra("frames", error) from error
    if hasattr(given, "index") and hasattr(given, "reset_index"):  # pandas
        given = _with_index(given, columns)
    try:
        return nw.from_native(given, eager_only=True)
    except (TypeError, nw.exceptions.DuplicateError) as error:
        reason = in_one_line(error)
        raise InvalidRequestError(f"expected numbers, or a frame of pandas or polars: {reason}") from None


def _with_index(given: Any, columns: Columns | None) -> Any:
    if hasattr(given.index, "to_timestamp"):  # of periods
        given = given.set_axis(given.index.to_timestamp())
    index = given.index
    wanted = (columns.item_id, columns.timestamp) if columns else ()
    kinds = [getattr(index.get_level_values(level).dtype, "kind", "") for level in range(index.nlevels)]
    levels = [level for level, kind in enumerate(kinds) if kind == "M" or index.names[level] in wanted]
    try:
        given = given.reset_index(level=levels) if levels else given
    except ValueError as error:  # a column of that name
        raise InvalidRequestError(f"expected an index and columns of names of their own: {error}") from None
    return given.set_axis([str(name) for name in given.columns], axis=1)


def _times(frame: nw.DataFrame[Any], names: Sequence[str]) -> list[str]:
    import narwhals as nw  # noqa: PLC0415 - an extra

    schema = frame.schema
    return [name for name in names if isinstance(schema[name], nw.Datetime | nw.Date)]


def _numbers(series: nw.Series[Any], name: str) -> NDArray[np.float32]:
    """Return a column as float32, NaN where there is nothing."""
    import narwhals as nw  # noqa: PLC0415 - an extra

    if isinstance(series.dtype, nw.Object):  # as pandas has what a database calls decimal
        return as_array(series.to_list(), f"window: in the column {quote(name)}")
    if not series.dtype.is_numeric():
        raise InvalidValueError(f"window: expected numbers in the column {quote(name)}, got {series.dtype}", "window")
    with np.errstate(over="ignore"):  # what becomes infinite is refused where all numbers are looked at
        numbers: NDArray[np.float32] = series.cast(nw.Float64).to_numpy().astype(np.float32)
    return numbers


def _moments(series: nw.Series[Any], name: str) -> NDArray[np.datetime64]:
    """Return a column of dates or times as datetime64[ns] in UTC; those without a zone as they are."""
    import narwhals as nw  # noqa: PLC0415 - an extra

    if series.null_count():
        raise InvalidValueError(
            f"window: expected a date or a time in each row of {quote(name)}, got none in some", "window"
        )
    if isinstance(series.dtype, nw.Date):
        series = series.cast(nw.Datetime)
    moments: NDArray[np.datetime64] = series.dt.timestamp("ns").to_numpy().astype("datetime64[ns]")
    return moments


def _frequency(freq: str | None, moments: NDArray[np.datetime64], name: str) -> Frequency:
    if not (np.diff(moments.astype(np.int64)) > 0).all():
        raise InvalidValueError(f"window: expected rising times in {name}, oldest first, each once", "window")
    try:
        return infer_frequency(moments) if freq is None else read_frequency(freq)
    except ValueError as error:
        raise InvalidRequestError(f"freq: {error}", "freq") from None


def _words(frequency: Frequency, first: np.datetime64) -> tuple[str, ...]:
    """Return the step of times that begin at ``first`` as ``freq`` takes it, in all words that say the same of them."""
    if not frequency.months:
        return (f"{frequency.business_days}B" if frequency.business_days else str(frequency),)
    # "1 month" is the last day of each where the first one is that; P1M is the 30th of each, from the 30th of April on.
    words = (str(frequency), f"P{frequency.months}M")
    ends = int((first.astype("datetime64[D]") + 1).item().day) == 1
    if ends and frequency.day == "same":
        return words[1:]
    return words[:1] if ends and first.astype("datetime64[D]").item().day < LONGEST_MONTH else words


def _on_a_grid(
    values: NDArray[np.float32], moments: NDArray[np.datetime64], frequency: Frequency, name: str
) -> NDArray[np.float32]:
    """Return rows with one of NaN for each step that has none."""
    try:
        places = frequency.places(moments[0], moments)
    except ValueError as error:
        raise InvalidRequestError(f"freq: {error}", "freq") from None
    if places.min() < 0 or places[0] != 0:
        stray = moments[int(places.argmin())]
        raise InvalidRequestError(
            f"freq: expected times of {name} a step of {frequency} apart, got {str(stray)[:19]}, which is on none; "
            "freq says another, and a frame without times needs none",
            "freq",
        )
    count = int(places[-1]) + 1
    if count == len(values):
        return values
    if count > max(MOST_HOLES, 2 * len(values)):
        raise InvalidShapeError(f"freq: {name} has {len(values)} rows, and {count} steps of {frequency}", "freq")
    filled = np.full((count, values.shape[1]), np.nan, np.float32)
    filled[places] = values
    return filled


def _groups(keys: Sequence[Any]) -> dict[Any, NDArray[np.int64]]:
    """Return the rows of each key, in the order in which they appear."""
    rows: dict[Any, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    return {key: np.array(each) for key, each in rows.items()}


def _named(names: Sequence[str]) -> str:
    return ", ".join([*map(str, names[:MOST_NAMED]), *(["…"] if len(names) > MOST_NAMED else [])]) or "none"
