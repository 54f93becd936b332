"""No trade id, however wrong, leaves the bars of a market stream incomplete for ever."""

from __future__ import annotations

import pytest
from market_support import (
    Message,
    advanced,
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
)
from vinocast.market.counts import MOST

STREAM = "AAA-USD@1m"
YEAR = 366 * 86_400
FAR = 10**15
SOUND = [match(number, 20 * number) for number in range(1, 400)]
LEAPT = 8000 + 60 * 1000  # ahead of all bars that are kept


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
