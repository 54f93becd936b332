"""What a window lacks, made up: gaps, rows in front, times."""

from __future__ import annotations

import numpy as np
import pytest
from vinocast.errors import InvalidRequestError, InvalidValueError
from vinocast.forecast.prepare import count_times, fill_gaps, follow, pad_front, step_of
from vinocast.requests import Forecast

NAN = np.nan


def test_gaps_are_straight_lines_inside_and_the_nearest_value_at_the_ends() -> None:
    window = np.array([[NAN, 1], [NAN, 2], [1, NAN], [NAN, NAN], [NAN, 8], [4, NAN]], np.float32)
    assert fill_gaps(window, 0.7, "past_values", ["a", "b"]) == 7
    assert window.T.tolist() == [[1, 1, 1, 2, 3, 4], [1, 2, 4, 6, 8, 8]]


def test_more_gaps_than_a_share_are_refused_with_the_figures() -> None:
    window = np.array([[1, 1], [NAN, 2], [NAN, 3], [4, 4]], np.float32)
    assert fill_gaps(window.copy(), 0.5, "past_values", ["a", "b"]) == 2
    with pytest.raises(InvalidValueError) as refused:
        fill_gaps(window, 0.49, "past_values", ["a", "b"])
    assert refused.value.field == "past_values"
    assert refused.value.message == (
        "past_values: expected at most a share of 0.49 of the values of 'a' to be missing (--max-missing-share), "
        "got 2 of 4, 0.5"
    )


def test_a_series_without_a_value_is_refused_whatever_the_share() -> None:
    with pytest.raises(InvalidValueError, match=r"^x: expected values to interpolate between, got none of 3$"):
        fill_gaps(np.full((3, 1), NAN, np.float32), 1, "x")


def test_the_mean_of_each_series_stands_in_front() -> None:
    assert pad_front(np.array([[1, 2], [3, 8]], np.float32), 4).tolist() == [[2, 5], [2, 5], [1, 2], [3, 8]]


def test_times_follow_the_points_in_the_form_of_the_start() -> None:
    step = step_of("h")
    assert step is not None
    assert follow("2026-01-31T22:00Z", step, 1, 3, "start") == [f"{day}Z" for day in (
        "2026-01-31T23:00", "2026-02-01T00:00", "2026-02-01T01:00"
    )]  # fmt: skip
    assert step_of(None) is None


@pytest.mark.parametrize(("start", "freq", "field"), [("nonsense", "h", "x"), ("2261-12-31", "D", "x")])
def test_times_that_lead_nowhere_are_refused_by_their_path(start: str, freq: str, field: str) -> None:
    step = step_of(freq)
    assert step is not None
    with pytest.raises(InvalidRequestError) as refused:
        follow(start, step, 5, 3, field)
    assert refused.value.field == field


@pytest.mark.parametrize("freq", ["", "m", "0h", "h" * 1000, "hours and hours"])
def test_a_step_that_is_none_is_refused_by_its_path(freq: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        step_of(freq)
    assert refused.value.field == "freq"


def test_times_in_milliseconds_are_exact_or_refused() -> None:
    assert count_times(Forecast(timestamp_ms=-5, step_ms=10), 3) == [5, 15, 25]
    assert count_times(Forecast(timestamp_ms=5), 3) is None
    for timestamp, step in ((2**53 - 2, 1), (0, 2**62), (2**63 - 1, 1), (-(2**63), 1)):
        with pytest.raises(InvalidRequestError) as refused:
            count_times(Forecast(timestamp_ms=timestamp, step_ms=step), 3)
        assert refused.value.field == "step_ms"
