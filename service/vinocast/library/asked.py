"""What a caller in Python gives, as a request has it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vinocast.data.given import Terms, as_fields
from vinocast.errors import InvalidRequestError, InvalidShapeError, InvalidValueError
from vinocast.protocols.json import validate
from vinocast.protocols.schemas import ForecastRequest
from vinocast.protocols.series import series_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from vinocast import requests

# What is about a service, and not about one model in this process.
OF_A_SERVICE = ForecastRequest.model_fields.keys() - Terms.__annotations__.keys() - {"targets"}


@dataclass(slots=True)
class Window:
    """An array as a request's window."""

    field: ClassVar[str] = "window"
    values: NDArray[np.float32]

    def window(self, context: int, channels: int, *, fewer: bool = False, gaps: bool = False) -> NDArray[np.float32]:
        """Return [context, channels]; see ``requests.WindowSource``."""
        rows, columns = self.values.shape
        if columns != channels or not (rows == context or (fewer and 1 <= rows <= context)):
            raise InvalidShapeError(expected([context, channels], self.values), "window")
        _check(self.values, "window", gaps=gaps)
        return self.values


class Inputs:
    """Arrays as a request's series; see ``requests.SeriesSource``."""

    nbytes = 0

    def __init__(self, items: Sequence[Mapping[str, Any]]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    @staticmethod
    def path(index: int) -> str:
        """Return the path of the numbers of one."""
        return f"inputs[{index}].target"

    def read(self, *, gaps: bool = False) -> Iterator[requests.Series]:
        """Return the series."""
        for index, item in enumerate(self._items):
            series = series_of(item, f"inputs[{index}]", gaps=gaps)
            if not len(series.values):
                raise InvalidShapeError(f"{self.path(index)}: expected one number at least, got none", self.path(index))
            _check(series.values, self.path(index), gaps=gaps)
            yield series


def request_of(terms: Mapping[str, Any], place: Mapping[str, Any]) -> requests.Forecast:
    """Return what is asked, as the schema of requests has it, with something in the place of what is forecast."""
    fields = as_fields(terms)
    if strangers := fields.keys() & OF_A_SERVICE:
        name = min(strangers)
        raise InvalidRequestError(f"{name}: expected none of a model in this process", name)
    request: requests.Forecast = validate(ForecastRequest, {**fields, **place}).ask(b"", time.monotonic())
    return request


def expected(shape: list[int], values: NDArray[np.float32]) -> str:
    """Return what is said of a window of another shape."""
    return f"window: expected {shape} or [n, …] of it, got {list(values.shape)}"


def _check(values: NDArray[np.float32], path: str, *, gaps: bool) -> None:
    """Raise InvalidValueError for the first value that is infinite, or missing where none may be."""
    wrong = np.isinf(values) if gaps else ~np.isfinite(values)
    if wrong.any():
        place = tuple(np.argwhere(wrong)[0].tolist())
        path += "".join(f"[{index}]" for index in place)
        raise InvalidValueError(f"{path}: expected a finite number within float32, got {values[place]}", path)
