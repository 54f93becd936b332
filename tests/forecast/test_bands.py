"""How often outcomes lay in the bands of forecasts of a stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from vinocast.forecast.bands import EVERY, Bands, Tally

NAN = float("nan")
NEXT = EVERY  # the position of the next forecast whose band is kept


def band(low: float, high: float, steps: int = 3, channels: int = 1) -> NDArray[np.float32]:
    return np.stack([np.full((steps, channels), end, np.float32) for end in (low, high)])


def column(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)[:, None]


def test_a_row_is_counted_once_the_next_has_come_and_within_the_horizon() -> None:
    bands, tally = Bands(3, 1), Tally()
    bands.remember(0, band(-1, 1), [0], tally)
    for position, (row, judged, within) in enumerate([(1, 0, 0), (1.5, 1, 1), (-1, 2, 1), (0, 3, 2), (0, 3, 2)]):
        bands.observe(position, column(row))
        assert (tally.judged, tally.within) == (judged, within)


def test_many_rows_at_once_are_each_an_outcome() -> None:
    bands, tally = Bands(3, 1), Tally()
    bands.remember(0, band(-1, 1), [0], tally)
    bands.observe(0, column(0, 5, 0, 0, 0, 0))
    assert (tally.judged, tally.within) == (3, 2)
    bands.replace(column(5)[0])  # the sixth of them
    bands.observe(6, column(0))
    assert (tally.judged, tally.within) == (3, 2)


def test_a_row_that_is_replaced_counts_as_what_it_became() -> None:
    bands, tally = Bands(3, 1), Tally()
    bands.replace(column(7)[0])  # before there was any
    bands.remember(0, band(-1, 1), [0], tally)
    bands.observe(0, column(9))
    bands.replace(column(0)[0])
    bands.observe(1, column(9))
    assert (tally.judged, tally.within) == (1, 1)


def test_of_one_position_the_first_of_each_channel_counts_and_what_is_missing_does_not() -> None:
    bands, tally = Bands(2, 2), Tally()
    bands.remember(0, band(0, 1, 2), [1], tally)
    bands.remember(0, band(5, 6, 2), [0], tally)
    bands.remember(0, band(7, 8, 2, 2), [0, 1], tally)  # the first of neither
    bands.observe(0, np.array([[5.5, 0.5], [NAN, 9], [0, 0]], np.float32))
    assert (tally.judged, tally.within) == (3, 2)


def test_after_a_jump_nothing_waits_and_what_came_before_it_is_counted() -> None:
    bands, tally = Bands(40, 1), Tally()
    bands.remember(0, band(-1, 1, 40), [0], tally)
    bands.observe(0, column(0, 0))
    bands.skip(NEXT)
    assert (tally.judged, tally.within) == (2, 2)
    bands.remember(NEXT, band(-1, 1, 40), [0], tally)  # computed meanwhile
    bands.observe(NEXT, column(0, 0, 0))
    assert tally.judged == 2
    bands.remember(2 * NEXT, band(-1, 1, 40), [0], tally)
    bands.observe(2 * NEXT, column(0, 0, 0))
    assert tally.judged == 4


def test_several_forecasts_wait_side_by_side() -> None:
    horizon = 5 * EVERY
    bands, tally = Bands(horizon, 1), Tally()
    for position in range(20 * EVERY):
        if position % EVERY == 0:
            bands.remember(position, band(0, 1, horizon), [0], tally)
        bands.observe(position, column(position % 2))
    # All but the row that came last; five wait for each, once as many were made.
    assert tally.judged == tally.within == EVERY * (1 + 2 + 3 + 4) + 16 * EVERY * 5 - 5
