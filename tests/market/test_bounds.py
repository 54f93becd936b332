"""What a market stream holds has a bound: bars, holes, products; and no time, however wrong, ends it."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest
from market_support import (
    START,
    Message,
    advanced,
    candle,
    candles,
    count_calls,
    count_lines,
    heartbeat,
    market_of,
    market_trades,
    match,
    restarted,
    states,
    take,
    told,
)
from vinocast.data.sealed import pack
from vinocast.errors import (
    InvalidValueError,
    OverloadedError,
    PayloadTooLargeError,
    StaleTimestampError,
    TimestampAheadError,
    UnknownStreamError,
)
from vinocast.market.closing import MOST_CLOSING
from vinocast.market.counts import MOST
from vinocast.market.feed import CONNECT, MOST_CLOSED, Fed
from vinocast.market.folds import fold
from vinocast.market.ring import KEPT
from vinocast.market.trade_ids import MOST_HOLES

STREAM = "AAA-USD@1m"
YEAR = 366 * 86_400


def test_the_newest_bars_are_kept() -> None:
    market = market_of("1s")
    fed = market.feed([match(number, number, str(number + 1)) for number in range(2000)])
    stream = market.find("AAA-USD@1s")
    assert (stream.rows, len(stream.closed), len(fed.closed)) == (KEPT, KEPT, KEPT)
    assert [bar[3] for bar in told(stream)] == list(range(2000 - KEPT, 2001))
    assert [each.bar.close for each in fed.closed] == list(range(2000 - KEPT, 2000))


def test_no_more_bars_are_made_of_what_closes_at_once_than_a_reply_may_hold() -> None:
    def fed_to(products: int) -> tuple[Fed, int]:
        """Return what came of 899 bars each that close with one request, and what that took of memory."""
        market = market_of("1m")
        market.feed([match(1, 0, product=f"P{number}-USD") for number in range(products)])
        tracemalloc.start()
        try:
            fed = market.feed([match(2, 60 * 899, "11", product=f"P{number}-USD") for number in range(products)])
            return fed, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    _, memory = fed_to(120)
    fed, of_more = fed_to(200)
    assert (len(fed.closed), fed.more, fed.counts) == (MOST_CLOSED, 200 * 899 - MOST_CLOSED, {"seen": 200, "used": 200})
    assert of_more < 1.1 * memory
    every = range(START, START + 60 * 899, 60)
    assert fed.starts == {f"P{number}-USD@1m": every for number in range(200)}
    whole, part = divmod(MOST_CLOSED, 899)
    told = [*every] * whole + [*every[:part]]
    assert [each.bar.start for each in fed.closed] == told
    assert [each.stream for each in fed.closed[::899]] == [f"P{number}-USD@1m" for number in range(whole + 1)]


@pytest.mark.parametrize("minutes", [899, 900, 901, 902, 5000, 90_000])
def test_a_long_quiet_time_is_filled_as_far_as_bars_are_kept(minutes: int) -> None:
    market = take(market_of("1m"), [match(1, 0, "5"), match(2, 60, "6"), match(3, 60 * minutes, "7")])
    bars = told(market.find(STREAM))
    assert len(bars) == min(minutes, KEPT) + 1
    assert bars[-2] == [60 * (minutes - 1), 6, 6, 6, 6, 0, "filled"]
    assert {bar[3] for bar in bars[2:-1]} == {6}
    assert bars[0][:2] == (
        [0, 5] if minutes <= KEPT else [60, 6] if minutes == KEPT + 1 else [60 * (minutes - KEPT), 6]
    )


def test_bars_of_a_quiet_time_have_nothing_of_those_whose_rows_they_take() -> None:
    traded = [match(number, number, "5") for number in range(KEPT)]
    market = take(market_of("1s"), [*traded, match(KEPT, 2 * KEPT - 1, "5")])
    bars = told(market.find("AAA-USD@1s"))
    assert bars[0] == [KEPT - 1, 5, 5, 5, 5, 1, "complete"]
    assert bars[1:-1] == [[KEPT + at, 5, 5, 5, 5, 0, "filled"] for at in range(KEPT - 1)]


def test_a_quiet_time_costs_the_same_whatever_was_missed_before_it() -> None:
    def silence(step: int) -> int:
        market = market_of("1s")
        take(market, [match(1 + step * number, 0) for number in range(MOST_HOLES)])
        end = match(2 + step * (MOST_HOLES - 1), KEPT)
        return count_calls(lambda: market.feed([end]))

    # Each hole is looked at a few times, and not for each of the bars.
    assert silence(2) < silence(1) + 5 * MOST_HOLES


def test_a_trade_of_a_bar_that_is_not_kept_counts_as_late_and_changes_nothing() -> None:
    market = take(market_of("1m"), [match(10, 0), match(12, 60), match(13, 60 * 2000)])
    before = told(market.find(STREAM))
    assert market.feed([match(5, 0), match(4, 0)]).counts["late"] == 2
    assert told(market.find(STREAM)) == before


def test_the_oldest_of_too_many_holes_is_forgotten_and_its_bars_stay_incomplete() -> None:
    market = market_of("1m")
    take(market, [match(10 * number, 60 * number) for number in range(MOST_HOLES + 100)])
    take(market, [match(10 * (MOST_HOLES + 99) + 1 + number, 60 * (MOST_HOLES + 100 + number)) for number in range(3)])
    stream = market.find(STREAM)
    assert states(stream) == ["incomplete"] * (MOST_HOLES + 100) + ["complete"] * 2 + ["open"]
    assert market.counts.missed_trades == 9 * (MOST_HOLES + 99)
    # Of a hole that is forgotten nothing is known any more: what comes of it is taken for seen.
    assert market.feed([match(5, 30)]).counts == {"seen": 1, "duplicates": 1}
    assert market.feed([match(10 * (MOST_HOLES + 98) + 1, 60 * (MOST_HOLES + 98) + 1)]).counts["late"] == 1


def test_holes_of_bars_that_are_not_kept_are_forgotten() -> None:
    market = take(market_of("1s"), [match(2 * number, 50 * number) for number in range(100)])
    record = list(market.dump())[1]
    assert len(record["ids"]["holes"]) == 1 + KEPT // 50 + 1


def test_products_are_as_many_as_there_may_be_streams() -> None:
    market = market_of("1m", "5m", limit=20)
    with pytest.raises(OverloadedError, match=r"20 market streams already.*--max-streams"):
        take(market, [match(1, 0, product=f"P{number}-USD") for number in range(10_000)])
    fed = market.feed([match(1, 0, product=f"P{number}-USD") for number in range(10_000)])
    assert (len(market.streams), fed.counts) == (20, {"seen": 10_000, "refused": 9_990, "duplicates": 10})
    # What is kept goes on, but for a message that would need another.
    assert market.feed([match(2, 1, product="P0-USD")]).counts == {"seen": 1, "used": 1}
    both = market_trades([match(3, 1, product="P0-USD"), match(1, 1, product="NEW-USD")])
    assert market.feed([both]).counts == {"seen": 1, "refused": 1}
    market.forget("P3-USD@5m")
    assert market.find("P3-USD@1m").rows == 0
    assert market.feed([both]).counts == {"seen": 1, "refused": 1}
    market.forget("P3-USD@1m")
    with pytest.raises(UnknownStreamError):
        market.find("P3-USD@1m")
    assert market.feed([both]).counts == {"seen": 1, "used": 2}


def test_a_time_far_ahead_is_refused_once_and_taken_if_the_next_is_as_far() -> None:
    market = take(market_of("1m"), [match(1, 0), match(2, 60)])
    with pytest.raises(TimestampAheadError, match="--max-steps-ahead"):
        market.feed_one(match(3, 100 * YEAR))
    take(market, [match(4, 61), match(5, 120)])  # one wrong clock
    assert states(market.find(STREAM)) == ["incomplete", "incomplete", "open"]
    with pytest.raises(TimestampAheadError):
        market.feed_one(match(6, 2 * YEAR))
    take(market, [match(7, 2 * YEAR + 60)])  # a long night
    assert states(market.find(STREAM)) == ["incomplete"] * (KEPT + 1)
    assert market.counts.told() == {"seen": 7, "used": 5, "refused": 2, "missed_trades": 2}


def test_a_time_far_behind_is_refused_once_and_begins_the_product_anew_if_the_next_is_as_far() -> None:
    market = take(market_of("1m"), [match(1, 2 * YEAR), match(2, 2 * YEAR)])
    with pytest.raises(StaleTimestampError):
        market.feed_one(match(3, 0))
    take(market, [match(4, 2 * YEAR + 1)])
    with pytest.raises(StaleTimestampError):
        market.feed_one(match(5, 0, "3"))
    take(market, [match(6, 10, "4")])
    assert told(market.find(STREAM)) == [[0, 4, 4, 4, 4, 1, "incomplete"]]
    # What is only old, and was told before, is a duplicate.
    market = take(market_of("1m"), [match(1, 0), match(2, 0), *(match(3 + n, n * YEAR / 20) for n in range(100))])
    assert market.feed([match(1, 0), match(2, 0)]).counts == {"seen": 2, "duplicates": 2}


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("leap", [901, 5000, 99_000])
def test_one_time_ahead_of_all_bars_costs_a_stream_none_of_its_history(leap: int, restarts: bool) -> None:
    right = [match(number, 60 * number, str(number)) for number in range(1, 1000)]
    market = take(market_of("1m"), right[:990])
    kept = told(market.find(STREAM))
    market.feed([match(991, 60 * (990 + leap), "7")])
    refused = []
    for each in right[991:]:
        if restarts:
            market = restarted(market, market_of("1m"))
        refused.append(market.feed([each]).counts.get("refused", 0))
    # The first that comes behind it may itself be wrong; with the second the stream is as it was before.
    assert refused == [1, *[0] * 7]
    bars = told(market.find(STREAM))
    assert [bar for bar in bars if bar[0] < 60 * 990] == kept[9:-1]
    assert [bar[-1] for bar in bars[-10:]] == [*["incomplete"] * 4, *["complete"] * 5, "open"]
    assert bars[-1][3] == 999
    # Where the next is as far, it was a silence.
    market = take(market_of("1m"), [match(1, 0), match(2, 60), match(3, 60 * leap), match(4, 60 * leap + 1)])
    assert market.feed([match(5, 60 * leap + 60)]).counts == {"seen": 1, "used": 1}
    assert states(market.find(STREAM)) == [*["filled"] * 899, "complete", "open"]


def test_what_was_before_a_leap_is_kept_until_it_is_known_for_a_silence_and_of_candles_never() -> None:
    def grown(begin: list[Message], *later: list[Message]) -> list[float]:
        """Return by how many bytes 20 products have grown, each, with each list of messages behind the first."""
        market = market_of("5m")
        tracemalloc.start()
        try:
            sizes = []
            for messages in (begin, *later):
                market.feed(messages)
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
            return [(size - sizes[0]) / 20 for size in sizes[1:]]
        finally:
            tracemalloc.stop()

    names, far = [f"P{number}-USD" for number in range(20)], 2000 * 300
    first, leapt, confirmed = (
        [match(number, at, product=name) for name in names for number in numbers]
        for at, numbers in ((0, (1, 2)), (far, (3,)), (far + 1, (4,)))
    )
    while_in_doubt, after = grown(first, leapt, confirmed)
    assert while_in_doubt > 50_000
    assert after < 20_000  # what rows of trades take beside their numbers
    first, leapt = ([candles(candle(at, "10 11 9 10 5", name)) for name in names] for at in (0, far))
    (of_candles,) = grown(first, leapt)
    assert of_candles < 10_000


def test_history_far_ahead_is_refused_once_by_its_row_and_taken_if_it_comes_again() -> None:
    market = take(market_of("1m"), [match(1, 0), match(2, 60)])
    before = told(market.find(STREAM))
    rows = np.array([[START + at, 9, 11, 10, 10, 5] for at in (60, 100 * YEAR // 60 * 60, 0)], np.float64)
    with pytest.raises(
        TimestampAheadError, match=r"candles\[1\]\[0\]: expected a time within .*--max-steps-ahead"
    ) as raised:
        market.history(STREAM, rows)
    assert raised.value.field == "candles[1][0]"
    assert told(market.find(STREAM)) == before
    market.history(STREAM, rows)
    assert market.find(STREAM).newest * 60 == START + 100 * YEAR // 60 * 60
    # Of a product that has none yet any history is taken, and what is older than what is kept is late.
    market = market_of("1m")
    market.history(STREAM, rows)
    assert market.history(STREAM, rows[::2]).counts == {"late": 2}


WRONG = [match(7, 200 * YEAR), heartbeat(3, 200 * YEAR), candles(candle(200 * YEAR // 300 * 300, "10 11 9 10 5"))]


def test_a_message_that_is_refused_for_one_product_changes_no_other() -> None:
    market = take(market_of("1m"), [match(1, 2 * YEAR), match(1, 0, product="BBB-USD")])
    before = told(market.find(STREAM))
    with pytest.raises(StaleTimestampError):
        market.feed_one(match(2, 0))
    with pytest.raises(TimestampAheadError):
        market.feed_one(market_trades([match(2, 2 * YEAR, product="BBB-USD"), match(3, 1)]))
    assert told(market.find(STREAM)) == before
    market.feed_one(match(4, 2))  # as it would have been taken before
    assert told(market.find(STREAM)) == [[0, 10, 10, 10, 10, 1, "incomplete"]]


def test_several_products_of_one_message_go_on_together_after_a_long_silence() -> None:
    names = [f"P{number}-USD" for number in range(5)]
    market = take(market_of("1m"), [match(1, 0, product=name) for name in names])
    later = [market_trades([match(number, 2 * YEAR, product=name) for name in names]) for number in (2, 3)]
    assert [market.feed([each]).counts for each in later] == [
        {"seen": 1, "refused": 1},
        {"seen": 1, "used": 5, "missed_trades": 5},
    ]


FAR = 10**15
SOUND = [match(number, 20 * number) for number in range(1, 400)]


@pytest.mark.parametrize("wrong", [match(FAR, 1000), heartbeat(FAR, 1000)], ids=["match", "heartbeat"])
def test_an_id_that_is_far_too_high_is_refused_and_changes_nothing(wrong: Message) -> None:
    market = take(market_of("1m"), SOUND[:50])
    with pytest.raises(InvalidValueError, match=r"within 1000000 of the last trade of AAA-USD, which is 50"):
        market.feed_one(wrong)
    market = restarted(market, market_of("1m"))
    take(market, SOUND[50:])
    assert told(market.find(STREAM)) == told(take(market_of("1m"), SOUND).find(STREAM))
    assert market.feed([wrong]).counts == {"seen": 1, "refused": 1}  # since others came between


@pytest.mark.parametrize(
    "leap",
    [[match(FAR, 7980), match(FAR + 1, 7990)], [heartbeat(FAR, 7980 + at) for at in range(3)]],
    ids=["matches", "heartbeats"],
)
def test_ids_that_leap_twice_to_the_same_place_are_missed(leap: list[Message]) -> None:
    market = take(market_of("1m"), SOUND)
    assert market.feed(leap).counts["refused"] == 1
    market.feed([match(FAR + 2, 8050), match(FAR + 3, 8100)])
    assert market.counts.missed_trades == FAR - 399 + (leap[0]["type"] == "heartbeat")
    assert states(market.find(STREAM))[-4:-2] == ["complete", "incomplete"]
    take(market, [match(FAR + 4, 8200), match(FAR + 5, 8250)])
    assert states(market.find(STREAM))[-3:] == ["complete", "complete", "open"]


def test_a_bar_in_which_ids_leap_further_than_a_row_holds_has_its_first_price_first() -> None:
    market = take(market_of("1m"), [match(1, 0), match(2, 60, "5"), match(3, 61, "6")])
    market.feed([match(FAR, 62, "8"), match(FAR + 1, 63, "9"), match(FAR + 20, 64, "10"), match(FAR + 21, 120)])
    assert told(market.find(STREAM))[1] == [60, 5, 10, 5, 10, 4, "incomplete"]
    market.feed([match(FAR + 10, 63, "7")])
    assert told(market.find(STREAM))[1] == [60, 5, 10, 5, 10, 5, "incomplete"]


def test_ids_go_on_below_one_that_was_far_too_high_and_no_bar_is_complete_without_them() -> None:
    for first in ([match(FAR, 0)], [*SOUND[:50], match(FAR, 1000), match(FAR + 5, 1001)]):
        market = market_of("1m")
        market.feed(first)
        fed = market.feed(SOUND[60:])
        assert fed.counts["refused"] == 1
        assert isinstance(fed.refused[0][1], InvalidValueError)
        # The second is at 1240 seconds, in a bar that was begun without the ids before it.
        before = len(first) > 1
        expected = [*["incomplete"] * before, *["complete"] * 15 * before, *["incomplete"] * (5 if before else 21)]
        assert states(market.find(STREAM)) == [*expected, *["complete"] * 112, "open"]
        # What was seen below it is a duplicate still, and what is missed is counted by the sound ids alone.
        kept = told(market.find(STREAM))
        assert market.counts.missed_trades == (11 if before else 0)
        assert market.feed(SOUND[:50]).counts.get("duplicates", 0) == (50 if before else 0)
        assert not before or told(market.find(STREAM)) == kept
        assert market.feed([match(400, 8000), match(402, 8040), match(403, 8100)]).counts["missed_trades"] == 1
        assert states(market.find(STREAM))[-3:] == ["incomplete", "incomplete", "open"]


LEAPT = 8000 + 60 * 1000  # ahead of all bars that are kept


@pytest.mark.parametrize(
    ("wrong", "then"),
    [
        (match(FAR, LEAPT), 8000),
        (heartbeat(FAR, LEAPT), 8000),
        (market_trades([match(FAR, LEAPT), match(400, 7999)]), 8000),
        (match(FAR, LEAPT + 1), LEAPT + 2),
        (heartbeat(FAR, LEAPT + 1), LEAPT + 2),
    ],
    ids=["match", "heartbeat", "batch", "match behind a leap", "heartbeat behind a leap"],
)
def test_an_id_that_is_far_too_high_is_refused_where_the_time_leaps_as_well_or_did(wrong: Message, then: int) -> None:
    silence = [match(400, LEAPT)] if then > LEAPT else []
    sound = [match(400 + len(silence) + number, then + 20 * number) for number in range(30)]
    market = take(market_of("1m"), [*SOUND, *silence])
    assert market.feed([wrong]).counts == {"seen": 1, "refused": 1}
    assert market.feed(sound).counts == {"seen": 30, "used": 30}
    assert told(market.find(STREAM)) == told(take(market_of("1m"), [*SOUND, *silence, *sound]).find(STREAM))


def test_a_silence_in_which_more_than_a_million_were_traded_costs_one_message() -> None:
    market = take(market_of("1m"), SOUND)
    later = [match(FAR + number, 2 * YEAR + number) for number in range(10)]
    assert market.feed(later).counts == {"seen": 10, "refused": 1, "used": 9, "missed_trades": FAR + 1 - 400}


@pytest.mark.parametrize(
    "wrong",
    [
        match(7, 7980),
        match(7, 8000),
        market_trades([match(7, 8000), match(FAR + 400, 8000)]),
        market_trades([match(1, -9000), match(7, 7990), match(FAR + 400, 8000)]),
    ],
    ids=["in the same second", "later", "among sound ones", "among sound and late ones"],
)
def test_an_id_that_is_far_too_low_is_refused_and_leaves_all_bars_as_they_are(wrong: Message) -> None:
    market = take(market_of("1m"), [match(FAR + number, 20 * number) for number in range(400)])
    before = told(market.find(STREAM))
    for _ in range(3):
        assert market.feed([wrong]).counts == {"seen": 1, "refused": 1}
        assert told(market.find(STREAM)) == before
        market.feed([match(FAR + 399, 7980)])


def test_a_state_that_knows_of_no_wrong_id_is_loaded() -> None:
    market, empty = take(market_of("1m"), SOUND), market_of("1m")
    records = list(market.dump())
    del records[1]["suspect_id"], records[1]["before"]
    empty.load(records)
    assert told(empty.find(STREAM)) == told(market.find(STREAM))
    assert empty.feed([match(FAR, 8000), match(400, 8001)]).counts == {"seen": 2, "refused": 1, "used": 1}


def test_what_was_missed_for_days_is_found_at_once() -> None:
    market = take(market_of("1m"), [*SOUND[:50], match(900_000, 40_000), match(900_001, 40_060)])
    assert market.counts.missed_trades == 900_000 - 51
    assert states(market.find(STREAM))[-3:] == ["incomplete", "incomplete", "open"]


def test_an_id_that_is_far_too_high_leaves_the_time_of_the_others_as_the_newest() -> None:
    market = market_of("1s")
    market.feed([match(1, 0), match(2**63 - 3, 1), match(2**63 - 2, 1)])
    # The first is of a bar that has closed, and the next is refused for its id.
    assert market.feed([match(2 + number, 50_000 * number) for number in range(10)]).counts["used"] == 8


def test_counts_of_ids_and_numbers_that_leap_end_where_integers_of_json_do() -> None:
    market = market_of("1m")
    leap = [advanced("heartbeats", [], number) for number in (0, 2**63 - 2)] * 3
    trades = [match(number, 0, product=name) for name in ("A", "B", "C") for number in (1, 2**63 - 3, 2**63 - 2)]
    assert market.feed([*leap, *trades]).counts == {
        "seen": 15,
        "missed_messages": MOST,
        "used": 6,
        "refused": 3,
        "missed_trades": MOST,
    }
    assert [stream.counts.missed_trades for stream in market.streams] == [MOST] * 3
    assert [pack(record) for record in market.dump()]
    assert market.feed([match(2, -1, product="A")]).counts["missed_trades"] == -1


def test_bars_that_nobody_reads_are_not_looked_at_again_with_each_that_closes() -> None:
    def calls(messages: list[Message]) -> int:
        market = take(market_of("1s"), [match(1, 0), *(match(1000 + 2 * at, at) for at in range(1, 1500))])
        return count_calls(lambda: market.feed(messages))

    new = [match(4000 + 2 * at, at) for at in range(1500, 1700)]
    late = [match(2 + at, 700 + at) for at in range(200)]  # of the oldest bars, in a hole that touches all
    both = [each for pair in zip(late, new, strict=True) for each in pair]
    assert calls(both) < 3 * (calls(new) + calls(late))


def test_a_candle_costs_longer_bars_the_same_however_many_bars_there_are() -> None:
    def calls(bars: int, *messages: list[int]) -> int:
        """Return what messages of candles of some bars cost, each counted from the newest on, where so many came."""
        market = take(
            market_of("15m", "1h"), [candles(*(candle(300 * at, "10 11 9 10 5") for at in range(3000 - bars, 3000)))]
        )
        old = [candles(*(candle(300 * (2999 - at), "10 11 9 10 6") for at in each)) for each in messages]
        return count_calls(lambda: market.feed(old))

    assert calls(1000, *[[890]] * 20) < calls(100, *[[80]] * 20) + 100
    assert calls(1000, *[[20, 890]] * 20) < calls(100, *[[20, 80]] * 20) + 100
    assert calls(1000, [*range(2000, 2500)]) < calls(100, [*range(2000, 2500)]) + 100  # which are not kept


def test_a_candle_that_comes_alone_costs_nothing_but_what_it_is_compared_by() -> None:
    alone = [(0, 10.0, 11.0, 9.0, 10.0, 5.0)]
    held = fold(alone, 0)
    # That fold, the comparison, and what makes a tuple with names.
    assert count_calls(lambda: fold(alone, 0).is_as(held)) <= 4


def test_what_is_sent_costs_the_same_however_many_holes_there_are_and_however_long_they_are() -> None:
    def lines(holes: int, last: int) -> tuple[int, int]:
        """Return what candles of bars of trades, and trades behind a hole each, cost where so many holes were before.

        Each of the holes, which are in the first bar, and of those behind them reaches up to another bar.
        """
        market = market_of("5m", "4h")
        trades = [*range(1, 2 * holes + 1, 2), *range(2 * holes + 1, 2 * holes + 601)]
        take(market, [match(number, 300 * max(number - 2 * holes, 0)) for number in trades])
        again = [candles(candle(300 * at, "10 11 9 10 5")) for at in range(100, 200)]
        behind = [match(10_000 + 2 * at, 300 * (600 - at % 2 * last)) for at in range(300)]
        return count_lines(lambda: market.feed(again)), count_lines(lambda: market.feed(behind))

    few, many, long = lines(1, 1), lines(MOST_HOLES - 1, 1), lines(1, 590)
    assert many[0] < 1.5 * few[0]
    assert long[1] < 1.5 * few[1]


def test_no_more_bars_close_with_one_request_than_are_gone_through_in_a_moment() -> None:
    jumps = [match(number, 901 * number) for number in range(1200)]
    market = market_of("1s")
    fed = market.feed(jumps)
    taken = -(-MOST_CLOSING // KEPT) + 1
    assert fed.counts == {"seen": 1200, "refused": 1200 - taken, "used": taken}
    assert isinstance(fed.refused[0][1], OverloadedError)
    assert market.feed(jumps[taken:]).counts == {"seen": 1200 - taken, "used": 1200 - taken}
    # A connection that begins among what is refused has begun: its numbers are compared with no earlier one's.
    market = market_of("1s")
    assert market.feed([{"channel": "status", "sequence_num": 0}, *jumps, CONNECT]).counts["refused"] == 1200 - taken
    assert "missed_messages" not in market.feed([{"channel": "status", "sequence_num": 900}]).counts
    # Of one message, or of candles, all is refused.
    with pytest.raises(PayloadTooLargeError):
        market_of("1s").feed_one(market_trades(jumps))
    with pytest.raises(PayloadTooLargeError):
        market_of("5m").feed_one(candles(*(candle(300_000 * at, "10 11 9 10 5") for at in range(1200))))
    with pytest.raises(PayloadTooLargeError):
        market_of("1s").history("AAA-USD@1s", np.array([[901 * at, 9, 11, 10, 10, 5] for at in range(1200)], float))


@pytest.mark.parametrize("wrong", WRONG, ids=["match", "heartbeat", "candle"])
def test_a_message_with_a_wrong_clock_ends_no_stream(wrong: Message) -> None:
    market = take(market_of("5m"), [match(1, 0), match(2, 300), match(3, 301)])
    assert market.feed([wrong]).counts == {"seen": 1, "refused": 1}
    fed = market.feed([match(4, 302), match(5, 600)])
    assert [(each.bar.start - START, each.bar.state) for each in fed.closed] == [(300, "complete")]


@pytest.mark.parametrize("wrong", [-20 * YEAR, 2 * 86_400, 200 * YEAR])
def test_a_product_that_began_with_a_wrong_clock_goes_on_by_the_right_one(wrong: int) -> None:
    market = market_of("1m")
    market.feed([market_trades([match(1, wrong), match(2, 0)])])
    refused = sum(market.feed([match(3 + number, 60 * number)]).counts.get("refused", 0) for number in range(5))
    assert refused == (wrong > 0)
    assert [bar[0] for bar in told(market.find(STREAM))][-2:] == [180, 240]


def test_a_thousand_streams_of_all_bars_take_less_than_64_mb_with_their_indicators() -> None:
    market = market_of("1s")

    def filled(names: list[str]) -> int:
        """Return how much memory there is once streams of products have all their bars."""
        for number in range(KEPT + 1):
            market.feed([match(number, number, str(100 + number % 7), "0.1", name) for name in names])
        for stream in market.streams:
            stream.indicators.values(stream.closed[:, 3], 512)
        gc.collect()  # which empties Python's own lists of what is free as well
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = filled(["FIRST-USD"])  # and what is imported
        size = filled([f"P{number}-USD" for number in range(10)]) - before
    finally:
        tracemalloc.stop()
    assert all(stream.rows == KEPT for stream in market.streams)
    # TA-Lib's own memory, which Python does not see, is 0.9 kB for each of three sets of handles.
    assert size / 10 + 2700 < 62_000
