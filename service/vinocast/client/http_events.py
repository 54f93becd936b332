"""What a service pushes, over HTTP: server-sent events, by httpx."""

from __future__ import annotations

from collections import deque
from typing import Self

import httpx

from vinocast.client.calls import read_reply
from vinocast.client.market import AsyncEvents, Event, Events, read_event
from vinocast.errors import ServiceUnreachableError, from_body, in_one_line

# Between two events the service sends a comment every ten seconds.
SILENCE_SECONDS = 30.0
# An event is a reply, which has 16 MiB at most.
MOST_EVENT_BYTES = 64 << 20
# Of a client or a response that is closed httpx raises a RuntimeError.
FAULTS = (httpx.HTTPError, RuntimeError)
CUT_OFF = "the connection has ended without a last event"


class Decoder:
    """Makes events of the bytes of a response.

    Attributes:
        ready: events to be taken.
        ended: whether the service has said that nothing more comes.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._left = bytearray()
        self._lost = 0
        self.ready: deque[Event] = deque()
        self.ended = False

    def feed(self, data: bytes) -> None:
        """Take bytes in; raises ServiceUnreachableError for what is no event of Vinocast."""
        self._left += data
        if len(self._left) > MOST_EVENT_BYTES:
            raise ServiceUnreachableError(f"{self._source}: an event of more than {MOST_EVENT_BYTES} bytes")
        if b"\n\n" in self._left:
            *blocks, self._left = self._left.split(b"\n\n")
            for block in blocks:
                self._take(bytes(block))

    def _take(self, block: bytes) -> None:
        fields = dict(
            line.split(b": ", 1) for line in block.split(b"\n") if b": " in line and not line.startswith(b":")
        )
        if b"data" not in fields:
            return
        data = read_reply(fields[b"data"], self._source)
        try:
            match fields.get(b"event"):
                case b"end":
                    self.ended = True
                case b"lost":
                    self._lost += int(data["lost"])
                case _:
                    self.ready.append(read_event(data, self._lost, fields[b"id"].decode()))
                    self._lost = 0
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ServiceUnreachableError(f"{self._source}: an event that is none of Vinocast: {error!r}") from error


class HttpEvents(Events):
    """Events over HTTP; :meth:`Client.events` makes them."""

    def __init__(self, http: httpx.Client, request: httpx.Request) -> None:
        try:
            self._response = http.send(request, stream=True)
        except FAULTS as error:
            raise _unreachable(request.url, error, unsent=True) from error
        if self._response.status_code != 200:
            try:
                self._response.read()
            finally:
                self._response.close()
            raise _refusal(self._response)
        self._decoder = Decoder(str(request.url))
        self._pieces = self._response.iter_raw()

    def __next__(self) -> Event:
        """Return the next event; raises StopIteration at the end, ServiceUnreachableError for an end that is none."""
        decoder = self._decoder
        try:
            while not decoder.ready:
                if decoder.ended or self._response.is_closed:
                    raise StopIteration
                piece = next(self._pieces, None)
                if piece is None and not decoder.ended:
                    raise ServiceUnreachableError(f"{self._response.url}: {CUT_OFF}")
                decoder.feed(piece or b"")
        except FAULTS as error:
            raise _unreachable(self._response.url, error) from error
        return decoder.ready.popleft()

    def close(self) -> None:
        """Listen no more."""
        self._response.close()


class AsyncHttpEvents(AsyncEvents):
    """Events over HTTP, for asyncio; :meth:`AsyncClient.events` makes them."""

    def __init__(self, http: httpx.AsyncClient, request: httpx.Request) -> None:
        self._http = http
        self._request = request
        self._response: httpx.Response | None = None
        self._decoder = Decoder(str(request.url))

    async def __aenter__(self) -> Self:
        try:
            response = await self._http.send(self._request, stream=True)
        except FAULTS as error:
            raise _unreachable(self._request.url, error, unsent=True) from error
        if response.status_code != 200:
            try:
                await response.aread()
            finally:
                await response.aclose()
            raise _refusal(response)
        self._response, self._pieces = response, response.aiter_raw()
        return self

    async def __anext__(self) -> Event:
        """Return the next event; see :meth:`HttpEvents.__next__`."""
        decoder = self._decoder
        if self._response is None:
            await self.__aenter__()
        try:
            while not decoder.ready:
                if decoder.ended or self._response is None or self._response.is_closed:
                    raise StopAsyncIteration
                piece = await anext(self._pieces, None)
                if piece is None and not decoder.ended:
                    raise ServiceUnreachableError(f"{self._request.url}: {CUT_OFF}")
                decoder.feed(piece or b"")
        except FAULTS as error:
            raise _unreachable(self._request.url, error) from error
        return decoder.ready.popleft()

    async def close(self) -> None:
        """Listen no more."""
        if self._response is not None:
            await self._response.aclose()


def _unreachable(url: httpx.URL, error: Exception, *, unsent: bool = False) -> ServiceUnreachableError:
    return ServiceUnreachableError(f"{url}: no events: {in_one_line(error)}", unsent=unsent)


def _refusal(response: httpx.Response) -> Exception:
    """Return what a response says that is none of events."""
    source = f"{response.url} ({response.status_code})"
    body = read_reply(response.content, source).get("error")
    if not isinstance(body, dict):
        return ServiceUnreachableError(f"{source}: its reply is none of Vinocast")
    after = response.headers.get("Retry-After", "")
    return from_body(body, int(after) if after.isdecimal() else 0)
