"""Heartbeats of the Exchange feed: they end the bars of a quiet market, and tell of trades that have not come."""

from __future__ import annotations

from market_support import heartbeat, market_of, match, restarted, states, take, told

STREAM = "AAA-USD@1m"


def test_a_heartbeat_behind_the_last_trade_ends_the_bars_before_it() -> None:
    market = take(market_of("1m"), [match(1, 10), match(2, 70, "11")])
    fed = market.feed([heartbeat(2, 119), heartbeat(2, 200)])
    assert [(each.stream, tuple(each.bar)[1:]) for each in fed.closed] == [
        (STREAM, (11, 11, 11, 11, 1, "complete")),
        (STREAM, (11, 11, 11, 11, 0, "filled")),
    ]
    assert fed.counts == {"seen": 2}
    assert states(market.find(STREAM)) == ["incomplete", "complete", "filled"]
    take(market, [match(3, 210, "12")])
    assert told(market.find(STREAM))[3] == [180, 12, 12, 12, 12, 1, "open"]


def test_a_hole_behind_a_heartbeat_touches_no_bar_before_it() -> None:
    market = take(market_of("1m"), [match(1, 10), match(2, 70), heartbeat(2, 190), match(5, 250)])
    assert states(market.find(STREAM)) == ["incomplete", "complete", "filled", "incomplete", "incomplete"]
    assert market.counts.missed_trades == 2


def test_a_heartbeat_ahead_of_the_trades_is_settled_by_the_next_trade() -> None:
    market = take(market_of("1m"), [match(1, 10), match(2, 70), heartbeat(3, 130)])
    assert states(market.find(STREAM)) == ["incomplete", "open"]
    take(market, [match(3, 129), match(4, 190)])
    assert market.counts.told() == {"seen": 5, "used": 4}
    assert states(market.find(STREAM)) == ["incomplete", "complete", "complete", "open"]


def test_a_heartbeat_ahead_of_the_trades_is_settled_by_the_next_heartbeat() -> None:
    market = take(market_of("1m"), [match(1, 10), match(2, 70), heartbeat(4, 130), heartbeat(4, 200)])
    assert market.counts.missed_trades == 2
    assert states(market.find(STREAM)) == ["incomplete", "incomplete", "incomplete"]
    # What was missed comes after all.
    take(market, [match(3, 75, "8"), match(4, 125, "9"), match(5, 210)])
    assert market.counts.told() == {"seen": 7, "used": 3, "late": 2}
    assert [bar[3:] for bar in told(market.find(STREAM))[1:3]] == [[8, 8, 2, "complete"], [9, 9, 1, "complete"]]


def test_heartbeats_that_tell_nothing_change_nothing() -> None:
    market = take(market_of("1m"), [heartbeat(7, 0), match(5, 10), heartbeat(0, 500), heartbeat(4, 500)])
    assert states(market.find(STREAM)) == ["incomplete"]
    assert market.find(STREAM).rows == 0
    assert market.counts.told() == {"seen": 4, "used": 1}


def test_a_heartbeat_begins_no_stream_that_has_had_no_trade() -> None:
    trades = [match(1, 10), match(2, 70)]
    market = restarted(take(market_of("5m"), trades), market_of("1m", "5m"))
    fed = market.feed([heartbeat(2, at) for at in (80, 350, 400)])
    assert [(each.stream, each.bar.state) for each in fed.closed] == [("AAA-USD@5m", "incomplete")]
    assert [stream.name for stream in market.streams] == ["AAA-USD@5m"]
    # Nor where no stream that is kept has had any.
    market = restarted(take(market_of("5m"), trades), market_of("1m"))
    assert market.feed([heartbeat(2, at) for at in (80, 350)]).counts == {"seen": 2}
    assert market.streams == []
    take(market, [match(3, 400), match(4, 460)])
    assert states(market.find(STREAM)) == ["incomplete", "open"]


def test_a_heartbeat_of_a_product_that_is_not_kept_is_ignored() -> None:
    market = take(market_of("1m", products=["AAA-USD"]), [match(1, 10), heartbeat(1, 500, "BBB-USD")])
    assert market.counts.told() == {"seen": 2, "used": 1, "ignored": 1}
    assert market.find(STREAM).rows == 0
