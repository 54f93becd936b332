"""The ring of a stream, and the bound on streams."""

from __future__ import annotations

import numpy as np
import pytest

from service.errors import (
    InvalidShapeError,
    NotEnoughHistoryError,
    OverloadedError,
    StaleTimestampError,
    UnknownStreamError,
)
from service.forecast.streams import Stream, Streams


def rows(start: int, stop: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.arange(start * 2, stop * 2, dtype=np.float32).reshape(-1, 2)


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 9])
def test_a_stream_holds_the_last_rows_in_order_whatever_the_size_of_the_batches(batch: int) -> None:
    stream = Stream(context=4, channels=2)
    for start in range(0, 23, batch):
        stop = min(23, start + batch)
        stream.observe(rows(start, stop), None)
        assert stream.rows == min(4, stop)
        if stop >= 4:
            np.testing.assert_array_equal(stream.window(4, 2), rows(stop - 4, stop))


def test_a_window_says_how_many_rows_are_missing() -> None:
    stream = Stream(context=4, channels=2)
    stream.observe(rows(0, 3), None)
    with pytest.raises(NotEnoughHistoryError, match="1 are missing"):
        stream.window(4, 2)


def test_a_window_is_a_copy_that_later_rows_do_not_change() -> None:
    stream = Stream(context=4, channels=2)
    stream.observe(rows(0, 4), None)
    window = stream.window(4, 2)
    stream.observe(rows(4, 8), None)
    np.testing.assert_array_equal(window, rows(0, 4))


def test_an_equal_timestamp_replaces_the_newest_row_and_an_older_one_is_refused() -> None:
    stream = Stream(context=3, channels=2)
    for second in range(3):
        stream.observe(rows(second, second + 1), second)
    stream.observe(rows(9, 10), 2)
    np.testing.assert_array_equal(stream.window(3, 2), np.concatenate((rows(0, 2), rows(9, 10))))
    with pytest.raises(StaleTimestampError, match="newest, 2, got 1"):
        stream.observe(rows(5, 6), 1)
    with pytest.raises(StaleTimestampError):
        stream.observe(rows(5, 7), 2)  # the first of two rows would be older than the newest
    np.testing.assert_array_equal(stream.window(3, 2)[-1:], rows(9, 10))


def test_an_equal_timestamp_replaces_its_own_row_when_rows_without_one_have_followed() -> None:
    stream = Stream(context=3, channels=2)
    stream.observe(rows(0, 3), 10)
    stream.observe(rows(3, 4), None)
    stream.observe(rows(9, 10), 10)
    np.testing.assert_array_equal(stream.window(3, 2), np.concatenate((rows(1, 2), rows(9, 10), rows(3, 4))))
    stream.observe(rows(4, 6), None)
    with pytest.raises(StaleTimestampError):
        stream.observe(rows(9, 10), 10)  # its row has left the window
    np.testing.assert_array_equal(stream.window(3, 2), rows(3, 6))


def test_rows_without_a_timestamp_follow_in_the_order_of_arrival() -> None:
    stream = Stream(context=2, channels=2)
    stream.observe(rows(0, 1), 100)
    stream.observe(rows(1, 2), None)
    np.testing.assert_array_equal(stream.window(2, 2), rows(0, 2))
    assert stream.newest_ms == 100


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(InvalidShapeError, match="expected 3 channels, got 2"):
        Stream(context=2, channels=3).observe(rows(0, 1), None)


def test_a_model_of_another_shape_cannot_use_the_stream() -> None:
    stream = Stream(context=2, channels=2)
    stream.observe(rows(0, 2), None)
    with pytest.raises(InvalidShapeError):
        stream.window(3, 2)


def test_streams_are_bounded_and_the_idle_ones_make_room() -> None:
    now = 0.0
    streams = Streams(limit=2, idle_seconds=10, clock=lambda: now)
    streams.find_or_create("a", 4, 2)
    now = 6.0
    streams.find_or_create("b", 4, 2)
    with pytest.raises(OverloadedError):
        streams.find_or_create("c", 4, 2)
    now = 11.0
    streams.find_or_create("c", 4, 2)
    assert [stream["stream"] for stream in streams.describe()] == ["b", "c"]
    with pytest.raises(UnknownStreamError):
        streams.find("a")


def test_a_stream_in_use_is_not_idle() -> None:
    now = 0.0
    streams = Streams(limit=5, idle_seconds=10, clock=lambda: now)
    for name in "ab":
        streams.find_or_create(name, 4, 2)
    now = 8.0
    streams.find("a")
    now = 12.0
    assert [stream["stream"] for stream in streams.describe()] == ["a"]


def test_a_thousand_streams_of_seven_channels_take_less_than_64_mb() -> None:
    stream = Stream(context=512, channels=7)
    assert stream._ring.nbytes * 1000 < 64e6
