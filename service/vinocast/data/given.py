"""What a caller in Python may give: windows and series as arrays, and the terms of a forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

import numpy as np
import orjson

from vinocast.errors import InvalidRequestError, InvalidShapeError, InvalidValueError, describe

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from numpy.typing import ArrayLike, NDArray

    Frame: TypeAlias = pd.DataFrame | pl.DataFrame
    # Numbers, or {"item_id": …, "target": numbers, "start": …}, of which target is required.
    OneOfMany: TypeAlias = ArrayLike | Mapping[str, Any]


class Terms(TypedDict, total=False):
    """What a forecast may be asked for beside its window; ``docs/protocol.md`` says more of each.

    Attributes:
        channels: the names of the window's columns, where they are not the model's.
        prediction_length: how many steps are wanted.
        rollout: forecast steps beyond the horizon from forecasts.
        quantile_levels: each in 0..1.
        missing: what becomes of values that are NaN.
        short: what becomes of fewer rows than the model's context.
        start: the time of the first row; with ``freq`` the steps of the forecast get times in this form.
        freq: the step between two rows, such as ``h`` or ``15min``.
        timestamp_ms: the time of the last row; with ``step_ms`` the steps of the forecast get times.
        step_ms: the step between two rows in milliseconds.
    """

    channels: Sequence[str] | None
    prediction_length: int | None
    rollout: bool | None
    quantile_levels: Sequence[float] | None
    missing: Literal["refuse", "interpolate"] | None
    short: Literal["refuse", "pad"] | None
    start: str | None
    freq: str | None
    timestamp_ms: int | None
    step_ms: int | None


class ServiceTerms(Terms, total=False):
    """What may be asked of a service besides.

    Attributes:
        model: the name of a model; else the service's default.
        deadline_ms: after so many milliseconds the answer is not wanted; further tries are within it.
    """

    model: str | None
    deadline_ms: float | None


def as_array(values: ArrayLike, path: str) -> NDArray[np.float32]:
    """Return numbers as float32, of which what is beyond it is infinite, and None is NaN.

    Raises InvalidValueError for what is no number: text and truth values are not, although numpy would convert them.
    """
    try:
        if isinstance(values, np.ma.MaskedArray):  # what is masked is missing, and no value
            values = np.ma.filled(values.astype(np.float64), np.nan)
        array = np.asarray(values)
        if array.dtype.kind == "O":
            strangers = [each for each in array.flat if isinstance(each, str | bytes | bool | np.bool_)]
            if strangers:
                raise TypeError(f"got {type(strangers[0]).__name__}")
        elif array.dtype.kind not in "fiu":
            raise TypeError(f"got {array.dtype}")
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(array, np.float32) if array.ndim else array.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{path}: expected numbers: {error}", path) from None


def as_fields(terms: Mapping[str, Any]) -> dict[str, Any]:
    """Return terms as JSON has them: lists for tuples and arrays, Python's numbers for numpy's, nothing for None.

    Raises InvalidRequestError for what JSON has not.
    """
    try:
        given = {name: value for name, value in terms.items() if value is not None}
        fields: dict[str, Any] = orjson.loads(orjson.dumps(given, _plain, orjson.OPT_SERIALIZE_NUMPY))
    except (TypeError, orjson.JSONEncodeError) as error:
        raise InvalidRequestError(f"expected terms that JSON can hold: {error}") from None
    return fields


def _plain(value: object) -> str:
    """Return what a time of pandas is to JSON, which has one of Python's own class alone."""
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"got {type(value).__name__}")


def as_inputs(many: Any) -> list[dict[str, Any]]:
    """Return series as a request has them, ``{"item_id", "target", "start"}``, each target as :func:`as_series` has it.

    Args:
        many: numbers by item_id, or an array of numbers or of such objects.

    Raises InvalidRequestError, InvalidShapeError or InvalidValueError with a path.
    """
    if isinstance(many, Mapping):
        items: list[Any] = [{"item_id": key, "target": values} for key, values in many.items()]
    else:
        try:
            items = [each if isinstance(each, Mapping) else {"target": each} for each in many]
        except TypeError:
            raise InvalidRequestError(f"inputs: expected an array of series, got {describe(many)}", "inputs") from None
    inputs = []
    for index, item in enumerate(items):
        fields = as_fields({str(name): value for name, value in item.items() if name != "target"})
        if "target" in item:
            fields["target"] = as_series(item["target"], f"inputs[{index}].target")
        inputs.append(fields)
    return inputs


def as_series(values: ArrayLike, path: str) -> NDArray[np.float32]:
    """Return float32 [points], of which one that is missing is NaN; raises InvalidShapeError or InvalidValueError."""
    series = as_array(values, path)
    if series.ndim != 1:
        raise InvalidShapeError(f"{path}: expected an array of numbers, got one of shape {list(series.shape)}", path)
    if np.isinf(series).any():  # which JSON has not
        place = f"{path}[{int(np.isinf(series).argmax())}]"
        raise InvalidValueError(f"{place}: expected a number within float32", place)
    return series
