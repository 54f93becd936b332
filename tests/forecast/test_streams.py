"""The ring of a stream, and the bound on streams."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vinocast.errors import (
    InvalidShapeError,
    NotEnoughHistoryError,
    OverloadedError,
    StaleTimestampError,
    TimestampAheadError,
    UnknownStreamError,
)
from vinocast.forecast.stream import Stream
from vinocast.forecast.streams import Streams


def rows(start: int, stop: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.arange(start * 2, stop * 2, dtype=np.float32).reshape(-1, 2)


def make_stream(context: int, channels: int = 2) -> Stream:
    return Stream(context, channels, max_steps_ahead=100)


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 9])
def test_a_stream_holds_the_last_rows_in_order_whatever_the_size_of_the_batches(batch: int) -> None:
    stream = make_stream(context=4)
    for start in range(0, 23, batch):
        stop = min(23, start + batch)
        stream.observe(rows(start, stop), None)
        assert stream.rows == min(4, stop)
        if stop >= 4:
            np.testing.assert_array_equal(stream.window(4, 2), rows(stop - 4, stop))


def test_a_window_says_how_many_rows_are_missing() -> None:
    stream = make_stream(context=4)
    stream.observe(rows(0, 3), None)
    with pytest.raises(NotEnoughHistoryError, match="1 are missing"):
        stream.window(4, 2)


def test_a_window_is_a_copy_that_later_rows_do_not_change() -> None:
    stream = make_stream(context=4)
    stream.observe(rows(0, 4), None)
    window = stream.window(4, 2)
    stream.observe(rows(4, 8), None)
    np.testing.assert_array_equal(window, rows(0, 4))


def test_an_equal_timestamp_replaces_the_newest_row_and_an_older_one_is_refused() -> None:
    stream = make_stream(context=3)
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
    stream = make_stream(context=3)
    stream.observe(rows(0, 3), 10)
    stream.observe(rows(3, 4), None)
    stream.observe(rows(9, 10), 10)
    np.testing.assert_array_equal(stream.window(3, 2), np.concatenate((rows(1, 2), rows(9, 10), rows(3, 4))))
    stream.observe(rows(4, 6), None)
    with pytest.raises(StaleTimestampError):
        stream.observe(rows(9, 10), 10)  # its row has left the window
    np.testing.assert_array_equal(stream.window(3, 2), rows(3, 6))


def test_rows_without_a_timestamp_follow_in_the_order_of_arrival() -> None:
    stream = make_stream(context=2)
    stream.observe(rows(0, 1), 100)
    stream.observe(rows(1, 2), None)
    np.testing.assert_array_equal(stream.window(2, 2), rows(0, 2))
    assert stream.newest_ms == 100


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(InvalidShapeError, match="expected 3 channels, got 2"):
        make_stream(context=2, channels=3).observe(rows(0, 1), None)


def test_a_model_of_another_shape_cannot_use_the_stream() -> None:
    stream = make_stream(context=2)
    stream.observe(rows(0, 2), None)
    with pytest.raises(InvalidShapeError):
        stream.window(3, 2)


class Clock:
    """Time that stands still until a test moves it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def make_streams(limit: int = 5) -> tuple[Streams, Clock]:
    clock = Clock()
    return Streams(limit, idle_seconds=10, max_steps_ahead=100, clock=clock), clock


def names(streams: Streams) -> list[str]:
    return [stream["stream"] for stream in streams.describe()]


def observe(streams: Streams, name: str, timestamp_ms: int | None = None) -> None:
    streams.observe(name, 4, 2, rows(0, 1), timestamp_ms)


@pytest.mark.parametrize(("horizon", "channels"), [(6, 7), (2, 7), (4, 7)])
def test_residuals_begin_anew_with_a_model_of_other_steps_in_the_place_of_the_first(
    horizon: int, channels: int
) -> None:
    stream = Stream(8, channels, 10, residuals=1)
    stream.observe(np.zeros((8, channels), np.float32), None)
    scales, every = np.ones(channels, np.float32), range(channels)

    def forecast(steps: int) -> bool:
        """Forecast and observe; return whether quantiles are the stream's own by then."""
        expected = stream.expect("same name", steps)
        assert expected is not None
        points = np.zeros((steps, channels), np.float32)
        expected.remember(points, scales, every)
        stream.observe(np.ones((1, channels), np.float32), None)
        return expected.improve(points[None], [0.5], points, scales, every) != "model"

    assert [forecast(4), forecast(4)] == [True, True]
    expected = stream.expect("same name", horizon)
    assert expected is not None
    points = np.zeros((horizon, channels), np.float32)
    told = expected.improve(points[None], [0.5], points, scales, every)
    assert (told == "model") == (horizon != 4)
    assert forecast(horizon)
    assert stream.expect("another", horizon) is None


def test_streams_are_bounded_and_the_idle_ones_make_room() -> None:
    streams, clock = make_streams(limit=2)
    observe(streams, "a")
    clock.now = 6
    observe(streams, "b")
    with pytest.raises(OverloadedError):
        observe(streams, "c")
    clock.now = 11
    observe(streams, "c")
    assert names(streams) == ["b", "c"]
    with pytest.raises(UnknownStreamError):
        streams.find("a")


def test_a_full_table_says_when_there_will_be_room_and_then_there_is(caplog: pytest.LogCaptureFixture) -> None:
    streams, clock = make_streams(limit=2)
    observe(streams, "a", 10)
    clock.now = 6
    observe(streams, "b", 10)
    clock.now = 7.5
    with pytest.raises(StaleTimestampError):
        observe(streams, "a", 5)  # which is no use of it
    for _ in range(3):
        with pytest.raises(OverloadedError, match=r"room in 4 s.*--stream-idle-seconds.*forget") as refused:
            observe(streams, "c")
    assert refused.value.retry_after == 4
    assert names(streams) == ["a", "b"]
    assert caplog.text.count("2 streams already, the most there may be (--max-streams)") == 1
    clock.now += refused.value.retry_after
    observe(streams, "c")
    assert names(streams) == ["b", "c"]
    with pytest.raises(OverloadedError):
        observe(streams, "d")
    assert caplog.text.count("2 streams already") == 2
    streams.forget("b")
    observe(streams, "d")


def test_a_refused_row_makes_no_stream() -> None:
    streams, _ = make_streams(limit=1)
    for _ in range(3):
        with pytest.raises(InvalidShapeError):
            streams.observe("wrong", 4, 3, rows(0, 1), None)
    assert names(streams) == []
    observe(streams, "right")


def test_only_a_row_that_is_taken_keeps_a_stream_from_being_idle() -> None:
    streams, clock = make_streams()
    for name in ("observed", "forecast", "refused"):
        observe(streams, name, 10)
    clock.now = 8
    observe(streams, "observed", 11)
    streams.find("forecast")
    streams.describe()
    with pytest.raises(StaleTimestampError):
        observe(streams, "refused", 9)
    clock.now = 12
    assert names(streams) == ["observed"]


def test_a_stream_that_is_forgotten_begins_anew() -> None:
    streams, _ = make_streams()
    observe(streams, "a", 1_705_678_900_000_000)
    with pytest.raises(StaleTimestampError, match="forget"):
        observe(streams, "a", 1_705_678_960_000)
    dropped = streams.forget("a")
    assert (dropped.rows, dropped.newest_ms) == (1, 1_705_678_900_000_000)
    with pytest.raises(UnknownStreamError):
        streams.forget("a")
    observe(streams, "a", 1_705_678_960_000)
    assert streams.describe() == [{"stream": "a", "rows": 1, "missing": 3, "timestamp_ms": 1_705_678_960_000}]


DAY_MS = 86_400_000
NOW = 1_705_678_900_000


@pytest.mark.parametrize(
    ("seen", "count", "furthest"),
    [
        pytest.param([(1, 0)], 1, 366 * DAY_MS, id="one row: 366 days"),
        pytest.param([(512, 0)], 1, 366 * DAY_MS, id="one timestamp of many rows: 366 days"),
        pytest.param([(1, 0)], 3, 3 * 366 * DAY_MS, id="each of three rows behind the first: 366 days"),
        pytest.param([(1, None), (1, 0)], 1, 366 * DAY_MS, id="rows before the first timestamp tell nothing"),
        pytest.param([(1, 0), (1, 1000)], 1, 100 * 1000, id="100 steps of 1 s"),
        pytest.param([(1, 0), (5, 5000)], 1, 100 * 1000, id="a batch of five is five steps"),
        pytest.param([(1, 0), (1, 1000)], 5, 104 * 1000, id="four of the five rows are steps on the way"),
        pytest.param([(1, 0), (1, 1000), (4, None)], 1, 104 * 1000, id="and so are rows without a timestamp"),
        pytest.param([(1, 0), (3, None), (1, 4000)], 1, 100 * 1000, id="which are steps behind a timestamp too"),
        pytest.param([(1, 0), (1, 1000), (1, 1000)], 1, 100 * 1000, id="a row that replaces another is no step"),
        pytest.param([(1, 0), *((1, s) for s in range(1, 10)), (1, 100_000)], 1, 100 * 10_000, id="a step is the mean"),
        pytest.param([(200, 0), (200, 3)], 1, 100 * 1000, id="of a burst, a step counts as a second"),
        pytest.param([(1, 0), (1, 999)], 3, 102 * 1000, id="and as no less in a stream of short steps"),
    ],
)  # fmt: skip
def test_a_row_may_lie_as_far_ahead_as_the_bound_and_no_further(
    seen: list[tuple[int, int | None]], count: int, furthest: int
) -> None:
    def fresh() -> Stream:
        stream = make_stream(context=600)
        for number, after in seen:
            stream.observe(rows(0, number), None if after is None else NOW + after)
        return stream

    stream = fresh()
    newest = stream.newest_ms
    assert newest is not None
    held = stream.rows
    with pytest.raises(TimestampAheadError, match=f"newest, {newest}, got .*forget"):
        stream.observe(rows(0, count), newest + furthest + 1)
    assert (stream.rows, stream.newest_ms) == (held, newest)
    stream.observe(rows(0, count), newest + furthest)
    assert (stream.rows, stream.newest_ms) == (held + count, newest + furthest)


def test_the_first_timestamp_of_a_stream_may_be_any() -> None:
    for first in (-(2**63), 0, 2**64 - 1):
        stream = make_stream(context=4)
        stream.observe(rows(0, 1), first)
        assert stream.newest_ms == first


@given(
    step=st.integers(1, DAY_MS),
    count=st.integers(1, 60),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_row_stamped_in_microseconds_freezes_no_stream(step: int, count: int, seed: int) -> None:
    jitter = np.random.default_rng(seed).integers(0, step, count, endpoint=True)
    stream = Stream(64, 2, max_steps_ahead=100_000)
    for row, late in enumerate(jitter):
        stream.observe(rows(0, 1), NOW + 2 * step * row + int(late))
    ahead = NOW + 2 * step * count
    with pytest.raises(TimestampAheadError):
        stream.observe(rows(0, 1), ahead * 1000)
    stream.observe(rows(0, 1), ahead)
    assert stream.rows == count + 1


def test_a_thousand_streams_of_seven_channels_take_less_than_64_mb() -> None:
    stream = make_stream(context=512, channels=7)
    assert stream._ring.nbytes * 1000 < 64e6
