"""The channels of a market stream against TA-Lib's batch functions, however its closes come, go and are corrected."""

from __future__ import annotations

import numpy as np
import pytest
from channel_support import Floats, batch, equal, walk
from hypothesis import given, settings
from hypothesis import strategies as st
from market_support import count_calls
from numpy.typing import NDArray
from vinocast.errors import NotEnoughHistoryError
from vinocast.market.channels import PENDING, WARM_UP, Handles, Indicators, known_rows, seven


@pytest.mark.parametrize("size", [1, 2, 5, 33, 34, 35, 100, 1500])
def test_values_are_those_of_the_batch_functions_bit_for_bit_in_any_chunking(size: int) -> None:
    closes = walk(1500)
    closes[[0, 20, 700, 701, 1499]] = np.nan
    handles = Handles()
    values = np.concatenate([handles.fill(closes[at : at + size]) for at in range(0, len(closes), size)])
    expected = batch(closes)
    assert np.isnan(expected[:, 0]).sum() == 5 + WARM_UP
    assert equal(values, expected)


def test_volatility_is_the_unbiased_deviation_of_20_logarithmic_returns() -> None:
    closes = walk(1500)
    returns = np.diff(np.log(closes))
    expected = [returns[at - 20 : at].std(ddof=1) for at in range(WARM_UP, len(closes))]
    assert Handles().fill(closes)[WARM_UP:, 2] == pytest.approx(expected, rel=0, abs=1e-12)


def test_copies_of_handles_go_on_by_themselves() -> None:
    closes, others = walk(300), walk(300, seed=2)
    for at in (10, 100):
        handles = Handles()
        handles.fill(closes[:at])
        copied = handles.copy()
        handles.fill(others)
        assert equal(copied.fill(closes[at:]), batch(closes)[at:])


# What may happen to a stream: bars close, the oldest go, some are missing, and any that is kept may be corrected.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("close"), st.integers(1, 60)),
        st.tuples(st.just("drop"), st.integers(1, 60)),
        st.tuples(st.just("correct"), st.integers(0, 10**6)),
        st.tuples(st.just("lose"), st.integers(0, 10**6)),
        st.tuples(st.just("ask"), st.integers(0, 60)),
        st.tuples(st.just("look"), st.integers(0, 60)),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(1, 5))
def test_a_corrected_stream_is_as_if_it_had_always_been_so(steps: list[tuple[str, int]], seed: int) -> None:
    closes, end, kept = walk(2500, seed), 90, 0
    indicators = Indicators()
    for step, number in [*steps, ("ask", 0)]:
        at = kept + number % (end - kept) if end > kept else kept
        match step:
            case "close":
                end += number
            case "drop":
                count = min(number, end - kept)
                indicators.drop(closes[kept : kept + count].tolist())
                kept += count
            case "ask":  # with 0 for all
                values = indicators.values(closes[kept:end], number or None)
                assert equal(values, batch(closes[:end])[max(kept, end - number if number else 0) :])
            case "look":
                values = indicators.newest(closes[kept:end], number)
                assert equal(values, batch(closes[:end])[max(kept, end - number) :])
            case _ if end > kept:
                closes[at] = np.nan if step == "lose" else closes[at] * 1.01
                indicators.change(at - kept)


def test_of_a_stream_that_nobody_asks_for_closes_that_are_dropped_are_filled_in_many_together() -> None:
    def calls(each: int) -> int:
        """Return what it takes to drop so many closes with each call, beside the calls themselves."""
        indicators, closes = Indicators(), walk(8 * PENDING).tolist()
        parts = [closes[at : at + each] for at in range(0, len(closes), each)]

        def drop_all() -> None:
            for part in parts:
                indicators.drop(part)

        return count_calls(drop_all) - 2 * len(parts)

    assert calls(1) < 1.1 * calls(PENDING)


def test_what_begins_anew_with_the_closes_that_are_kept_nears_what_never_stopped() -> None:
    closes = walk(5000)
    kept = closes[-900:]
    anew, whole = Indicators().values(kept), batch(closes)[-900:]
    assert equal(anew, batch(kept))
    difference = np.abs(Handles().fill(kept) - whole)[370:]
    assert 0 < difference.max() < 1e-9


def columns(closes: Floats) -> Floats:
    volumes = np.where(np.isnan(closes), np.nan, np.arange(len(closes)))
    return np.stack((closes, closes + 1, closes - 1, volumes))


def window(numbers: Floats, values: NDArray[np.float32], context: int, *, fewer: bool = False) -> NDArray[np.float32]:
    rows = known_rows(numbers[0], values, context, fewer=fewer)
    behind = numbers.shape[1]
    return seven(numbers[:, behind - rows :], values[behind - rows :])


def test_a_window_holds_the_newest_bars_in_the_order_of_the_channels() -> None:
    closes = walk(600)
    values = Indicators().values(closes)
    got = window(columns(closes), values, 512)
    assert got.dtype == np.float32
    rsi, macd, volatility = batch(closes)[-512:].T
    expected = np.column_stack((*(each[-512:] for each in columns(closes)), rsi, macd, volatility))
    assert equal(got, expected)
    got[:] = 0
    assert equal(Indicators().values(closes), batch(closes))
    assert equal(values, batch(closes))


ENOUGH = [
    (0, [], 545),
    (1, [], 544),
    (33, [], 512),
    (34, [], 511),
    (544, [], 1),
    (545, [], 0),
    (545, [0], 1),
    (545, [33, 100], 1),
    (546, [33, 100], 0),
]


@pytest.mark.parametrize(("bars", "lost", "missing"), ENOUGH)
def test_how_many_bars_are_missing_counts_those_that_the_indicators_begin_with(
    bars: int, lost: list[int], missing: int
) -> None:
    closes = walk(600)[:bars]
    closes[lost] = np.nan
    values = Indicators().values(closes)
    if missing:
        with pytest.raises(NotEnoughHistoryError, match=f"holds {bars}; {missing} are missing") as raised:
            window(columns(closes), values, 512)
        assert raised.value.field == "stream"
    else:
        rows = window(columns(closes), values, 512)
        assert np.isnan(rows).all(axis=1).sum() == len([at for at in lost if at > WARM_UP])


def test_a_window_may_be_shorter_where_that_is_asked_for() -> None:
    closes = walk(40)
    values = Indicators().values(closes)
    assert equal(window(columns(closes), values, 512, fewer=True), seven(columns(closes), values)[WARM_UP:])
    with pytest.raises(NotEnoughHistoryError, match=r"expected 1 closed bars .* holds 30; 4 are missing"):
        window(columns(closes[:30]), values[:30], 512, fewer=True)


def test_closes_that_are_far_apart_break_nothing() -> None:
    closes = walk(100)
    closes[50:52] = 1e-300, 1e300
    values = Indicators()
    assert np.isfinite(values.values(closes[:50])[WARM_UP:]).all()
    values.values(closes)
    assert np.isinf(window(columns(closes), values.values(closes), 60)).any()


def test_a_market_that_never_moved_has_an_rsi_of_0() -> None:
    assert Indicators().values(np.full(50, 7.0))[WARM_UP:].tolist() == [[0, 0, 0]] * 17
