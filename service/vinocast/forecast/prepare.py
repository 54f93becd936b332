"""What a window lacks, made up as was asked for: values that are missing, rows in front, the times of what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vinocast.errors import InvalidRequestError, InvalidValueError, quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast.data.times.frequency import Frequency
    from vinocast.requests import Forecast

# What JSON's readers in other languages hold exactly.
MOST_MS = 2**53


def fill_gaps(window: NDArray[np.float32], most_share: float, path: str, names: Sequence[str] | None = None) -> int:
    """Fill the gaps of series in place: linear between two values, the nearest value at the ends.

    Args:
        window: float32 [points, series], NaN where a value is missing.
        most_share: of a series' points that may be filled.
        path: where the window stands, for the message.
        names: of the series, for the message; None for a single one.

    Returns how many values were filled.

    Raises:
        InvalidValueError: a series lacks more than that, or has no value at all.
    """
    gaps = np.isnan(window)
    points = np.arange(len(window))
    for series in np.flatnonzero(gaps.any(axis=0)).tolist():
        there = ~gaps[:, series]
        missing = len(window) - int(there.sum())
        if missing > most_share * len(window) or missing == len(window):
            which = "" if names is None else f" of {quote(names[series])}"
            share = f"{missing} of {len(window)}, {missing / len(window):.3g}"
            raise InvalidValueError(
                f"{path}: expected at most a share of {most_share:g} of the values{which} to be missing "
                f"(--max-missing-share), got {share}"
                if missing < len(window)
                else f"{path}: expected values{which} to interpolate between, got none of {len(window)}",
                path,
            )
        known = window[there, series].astype(np.float64)
        window[~there, series] = np.interp(points[~there], points[there], known)
    return int(gaps.sum())


def pad_front(window: NDArray[np.float32], context: int) -> NDArray[np.float32]:
    """Return [context, series]: fewer rows, one at least, behind as many rows of each series' mean as are missing.

    Of what was measured it is the best that needs no search (docs/quantiles.md, "A context that is too short").
    """
    mean = window.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32)
    return np.concatenate((np.repeat(mean, context - len(window), axis=0), window))


def step_of(freq: str | None) -> Frequency | None:
    """Return the step that ``freq`` says; raises InvalidRequestError."""
    if freq is None:
        return None
    from vinocast.data.times.steps import read_frequency  # noqa: PLC0415 - few ask for times, and a service starts fast

    try:
        return read_frequency(freq)
    except ValueError as error:
        raise InvalidRequestError(f"freq: {error}", "freq") from None


def follow(start: str, freq: Frequency, points: int, steps: int, path: str) -> list[str]:
    """Return the times of the steps behind so many points of which the first is at ``start``, in its form.

    Raises InvalidRequestError, with the path of ``start``, for what is no time or leads to none.
    """
    from vinocast.data.times.moment import read_moment  # noqa: PLC0415 - see above

    try:
        return read_moment(start).after(freq, points, steps)
    except ValueError as error:
        raise InvalidRequestError(f"{path}: {error}", path) from None


def count_times(request: Forecast, steps: int) -> Sequence[int] | None:
    """Return the times of the steps in milliseconds, where ``timestamp_ms`` and ``step_ms`` are given.

    Raises InvalidRequestError where they lead too far.
    """
    if request.step_ms is None or request.timestamp_ms is None:
        return None
    last = request.timestamp_ms + steps * request.step_ms
    if not abs(last) < MOST_MS:
        most = f"the last step to be below 2**53 ms, got {last}"
        raise InvalidRequestError(f"step_ms: expected {most}", "step_ms")
    return list(range(request.timestamp_ms + request.step_ms, last + 1, request.step_ms))
