"""The table of ops: what can be asked, over lines and over HTTP. To add one is an entry here, and its handler."""

from __future__ import annotations

from typing import Final

from vinocast.dataplane import Op, Route
from vinocast.forecast.kind import FORECASTER
from vinocast.glyphs.kind import GLYPHS
from vinocast.handlers import forecast, glyphs, market, status, streams
from vinocast.protocols import examples, replies, schemas
from vinocast.protocols import market as market_schemas

OPS: Final[dict[str, Op]] = {}


def register(op: Op) -> None:
    """Add an op; raises ValueError where there is one of that name."""
    if op.name in OPS:
        raise ValueError(f"there is an op {op.name} already")
    OPS[op.name] = op


for _op in (
    Op(
        "forecast",
        schemas.ForecastRequest,
        replies.ForecastReply,
        forecast.forecast,
        waits=True,
        computes=True,
        kind=FORECASTER.name,
        route=Route("POST", "/forecast", "Forecast a window, or many series"),
        example=examples.forecast,
    ),
    Op(
        "glyphs",
        schemas.GlyphsRequest,
        replies.GlyphsReply,
        glyphs.glyphs,
        waits=True,
        computes=True,
        kind=GLYPHS.name,
        route=Route("POST", "/glyphs", "Recognize glyphs"),
        example=examples.glyphs,
    ),
    Op(
        "observe",
        schemas.ObserveRequest,
        replies.ObserveReply,
        streams.observe,
        keeps=True,
        route=Route(
            "POST", "/streams/{stream}/observations", "Append rows to a stream", named={"stream": examples.STREAM}
        ),
        example=examples.observe,
    ),
    Op(
        "forget",
        schemas.ForgetRequest,
        replies.ForgetReply,
        streams.forget,
        keeps=True,
        route=Route(
            "DELETE", "/streams/{stream}", "Drop a stream", may_lack_body=True, named={"stream": examples.STREAM}
        ),
    ),
    Op(
        "feed",
        market_schemas.FeedRequest,
        market_schemas.FeedReply,
        market.feed,
        keeps=True,
        route=Route("POST", "/feed", "Feed raw messages of an exchange"),
        example=examples.feed,
    ),
    Op(
        "bars",
        market_schemas.BarsRequest,
        market_schemas.BarsReply,
        market.bars,
        keeps=True,
        route=Route(
            "GET",
            "/streams/{stream}/bars",
            "The last bars of a market stream",
            may_lack_body=True,
            query=("last",),
            named={"stream": examples.MARKET_STREAM},
        ),
    ),
    Op(
        "history",
        market_schemas.HistoryRequest,
        market_schemas.FeedReply,
        market.history,
        keeps=True,
        route=Route(
            "POST",
            "/streams/{stream}/history",
            "Give a market stream candles",
            named={"stream": examples.MARKET_STREAM},
        ),
        example=examples.history,
    ),
    Op("ping", schemas.PingRequest, replies.PingReply, status.ping, waits=True),
    Op(
        "stats",
        schemas.StatsRequest,
        replies.StatsReply,
        status.stats,
        route=Route("GET", "/stats", "What was counted since the start", may_lack_body=True),
    ),
):
    register(_op)
