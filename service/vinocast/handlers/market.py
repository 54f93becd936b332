"""What answers the ops of market streams, and what is pushed when bars close."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vinocast.engine.budget import BYTES_A_REQUEST
from vinocast.errors import InternalError, OverloadedError, PayloadTooLargeError, RequestError
from vinocast.handlers.bars import find_bars, find_market
from vinocast.handlers.forecast import forecast
from vinocast.markets import MOST_CANDLES, MOST_MESSAGES, Fed, HeldBars

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vinocast import markets, requests
    from vinocast.dataplane import DataPlane
    from vinocast.engine.ticket import Ticket
    from vinocast.forecast.followed import Followed
    from vinocast.handlers.bars import ClosedBars
    from vinocast.market.feed import Fed as FedMarket

# Of a request: to take the window of one, some 0.1 ms.
MOST_PUSHES = 1000


def feed(plane: DataPlane, request: markets.Feed, ticket: Ticket) -> None:
    """Take raw messages in; raises RequestError for a single one that is refused."""
    market, messages = find_market(plane), request.messages
    if len(messages) > MOST_MESSAGES:
        raise PayloadTooLargeError(f"messages: expected at most {MOST_MESSAGES}, got {len(messages)}", "messages")
    if request.connected:
        market.connect()
    if request.single:
        try:
            fed = market.feed_one(messages[0])
        except RequestError as error:
            raise _within("message", error) from None
        _answer(plane, request.on_bar, fed, (), ticket)
    else:
        fed = market.feed(messages)
        warnings = [_within(f"messages[{index}]", error).message for index, error in fed.refused]
        _answer(plane, request.on_bar, fed, warnings, ticket)


def history(plane: DataPlane, request: markets.History, ticket: Ticket) -> None:
    """Give a stream candles; raises RequestError where they are refused, all of them."""
    market, count = find_market(plane), len(request.source)
    if count > MOST_CANDLES:
        raise PayloadTooLargeError(f"candles: expected at most {MOST_CANDLES}, got {count}", "candles")
    _answer(plane, request.on_bar, market.history(request.stream, request.source.candles()), (), ticket)


def bars(plane: DataPlane, request: markets.Bars, ticket: Ticket) -> None:
    """Answer the last bars of a stream; raises UnknownStreamError."""
    stream = find_market(plane).find(request.stream)
    ticket.succeed(HeldBars(stream.name, stream.bars(request.last), stream.counts.told()))


def _answer(
    plane: DataPlane, on_bar: requests.Forecast | None, fed: FedMarket, warnings: Sequence[str], ticket: Ticket
) -> None:
    """Answer what came of messages or candles; behind that, push what is to be forecast of the bars that closed."""
    if fed.more:
        warnings = [*warnings, f'closed: {fed.more} more bars have closed than are listed here; op "bars" has them']
    ticket.succeed(Fed(fed.closed, fed.counts, warnings))
    left = 0 if on_bar is None else MOST_PUSHES
    for name, starts in fed.starts.items():
        followed, forecast_now = plane.followed.get(name), starts[:left]
        left -= len(forecast_now)
        if followed is not None or forecast_now:
            held = _find(plane, name, followed, starts[0])
        if on_bar is not None:
            for start in forecast_now:
                _push(plane, on_bar, name, start, held)
            if len(starts) > len(forecast_now):
                told = f"{len(starts) - len(forecast_now)} bars more have closed than are forecast with one request"
                plane.push_ticket(name, None).refuse(OverloadedError(f"stream: {told}", "stream"))


def _find(plane: DataPlane, name: str, followed: Followed | None, start: int) -> ClosedBars | RequestError:
    """Return the bars of a stream, and have those from a start on be outcomes; else why its bars cannot be forecast.

    The request has been answered: what goes wrong here is of its pushes alone.
    """
    try:
        held = find_bars(plane, name)
        if followed is not None:
            held.tell(followed, start)
    except Exception as error:  # noqa: BLE001 - as above
        return error if isinstance(error, RequestError) else InternalError.logged(error)
    return held


def _push(plane: DataPlane, wanted: requests.Forecast, name: str, start: int, held: ClosedBars | RequestError) -> None:
    """Have a forecast of the bars up to a start be pushed, or why there is none."""
    ticket = plane.push_ticket(name, start * 1000, in_base64=wanted.in_base64)
    try:
        if isinstance(held, RequestError):
            raise held
        ticket.claim.hold(BYTES_A_REQUEST)
        forecast(plane, wanted, ticket, held.up_to(start))
    except Exception as error:  # noqa: BLE001 - one push must not end the service
        ticket.fail(error)


def _within(path: str, error: RequestError) -> RequestError:
    """Return the refusal of a message by its path in the request."""
    if error.field is None:
        return type(error)(f"{path}: {error.message}", path)
    return type(error)(f"{path}.{error.message}", f"{path}.{error.field}")
