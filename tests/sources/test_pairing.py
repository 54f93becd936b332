"""Bars beside what is pushed of them: in order, each once, whatever overtakes, is missing, or is of several."""

from __future__ import annotations

import numpy as np
import pytest
from vinocast.client.market import Event
from vinocast.errors import InvalidValueError, OverloadedError, RequestError
from vinocast.markets import Bar
from vinocast.results import Forecast
from vinocast.sources.pairing import MOST_UNPAIRED, PUSH_SECONDS, Pairing, Told

STREAM = "AAA-USD@1m"
REFUSED, LEFT = InvalidValueError("missing"), OverloadedError("left")


def bar(start: int) -> Bar:
    return Bar(start, 1.0, 1.0, 1.0, 1.0, 1.0, "complete")


def forecast(start: int, lost: int = 0) -> Event:
    made = Forecast(np.zeros((1, 1), np.float32), ("close",), "m", newest_timestamp_ms=1000 * start)
    return Event(STREAM, made, None, 1000 * start, lost)


def error(start: int | None, fault: RequestError = REFUSED) -> Event:
    return Event(STREAM, None, fault, None if start is None else 1000 * start)


def shape(told: Told) -> tuple[int, str]:
    return told.bar.start, "forecast" if told.forecast else told.error.code if told.error else "lost"


def pairing(*starts: int) -> Pairing:
    made = Pairing(STREAM)
    for start in starts:
        made.close(bar(start), 0.0)
    return made


def test_an_error_that_overtakes_waits_for_the_forecasts_of_the_bars_before() -> None:
    pairs = pairing(60, 120, 180)
    pairs.push(error(180))
    assert list(pairs.certain(1.0)) == []
    pairs.push(forecast(60))
    assert list(map(shape, pairs.certain(1.0))) == [(60, "forecast")]
    pairs.push(forecast(120))
    assert list(map(shape, pairs.certain(1.0))) == [(120, "forecast"), (180, "invalid_value")]
    assert not pairs.waits


@pytest.mark.parametrize("event", [forecast(180), Event(STREAM, None, REFUSED, 180_000, lost=2)], ids=["later", "told"])
def test_a_bar_is_lost_where_that_of_a_later_one_has_come_or_is_told_to_be_lost(event: Event) -> None:
    pairs = pairing(60, 120, 180)
    pairs.push(error(120))
    pairs.push(event)
    assert [each for _, each in map(shape, pairs.certain(1.0))][:2] == ["lost", "invalid_value"]
    assert not pairs.waits


def test_a_bar_is_lost_once_nothing_has_come_for_so_long_and_not_while_others_do() -> None:
    pairs = pairing(60, 120, 180)
    pairs.push(forecast(60))
    assert list(map(shape, pairs.certain(PUSH_SECONDS - 1))) == [(60, "forecast")]
    assert list(pairs.certain(2 * PUSH_SECONDS - 2)) == []
    assert next(map(shape, pairs.certain(2 * PUSH_SECONDS))) == (120, "lost")


def test_an_error_of_several_is_of_those_that_nothing_else_comes_of() -> None:
    pairs = pairing(60, 120, 180)
    pairs.push(error(None, LEFT))
    pairs.push(forecast(60))
    assert list(map(shape, pairs.certain(1.0))) == [(60, "forecast")]
    assert pairs.rest is LEFT
    assert list(map(shape, pairs.give_up())) == [(120, "overloaded"), (180, "overloaded")]
    pairs.close(bar(240), 0.0)
    assert list(map(shape, pairs.give_up())) == [(240, "lost")]


def test_what_is_pushed_before_its_bar_is_told_of_waits_and_what_nobody_wants_is_bounded() -> None:
    pairs = pairing()
    for start in range(3 * MOST_UNPAIRED):
        pairs.push(forecast(start))
    assert list(pairs.certain(1.0)) == []
    last = 3 * MOST_UNPAIRED - 1
    pairs.close(bar(last), 1.0)
    assert list(map(shape, pairs.certain(1.0))) == [(last, "forecast")]
    early = pairing(*range(60, 60 * (MOST_UNPAIRED + 3), 60))
    assert list(map(shape, early.certain(1.0))) == [(60, "lost"), (120, "lost")]
