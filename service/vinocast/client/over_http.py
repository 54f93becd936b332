"""Clients over HTTP, by httpx."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar
from urllib.parse import quote

from vinocast.client.calls import Call, read_answer, read_reply
from vinocast.client.faces import AsyncService, Service
from vinocast.errors import ServiceUnreachableError, SetupError, in_one_line
from vinocast.extras import missing_extra

try:
    import httpx
except ModuleNotFoundError as error:
    raise missing_extra("client", error) from error

# Imports httpx without a word about the extra.
from vinocast.client.http_events import SILENCE_SECONDS, AsyncHttpEvents, HttpEvents

T = TypeVar("T")

# Method and path of each op; what stands in braces is a field of the request.
ROUTES = {
    "forecast": ("POST", "/forecast"),
    "glyphs": ("POST", "/glyphs"),
    "observe": ("POST", "/streams/{stream}/observations"),
    "forget": ("DELETE", "/streams/{stream}"),
    "feed": ("POST", "/feed"),
    "bars": ("GET", "/streams/{stream}/bars"),
    "history": ("POST", "/streams/{stream}/history"),
    "ping": ("GET", "/readyz"),
}
# The fields of an op that stand behind its path.
QUERIES = {"bars": ("last",)}
# That a client for asyncio has on the way, as one over lines.
MOST_AT_ONCE = 64
# What says of a failed request that nothing of it was sent.
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class _Requests:
    """Makes requests of calls, ready to be sent: what httpx would add to each costs a tenth of a millisecond.

    Raises SetupError for an address that is none.
    """

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        try:
            base = httpx.URL(url)
        except (httpx.InvalidURL, TypeError) as error:
            raise SetupError(f"url: expected one such as http://127.0.0.1:8000: {error}") from None
        if base.scheme not in ("http", "https") or not base.host:
            raise SetupError(f"url: expected one such as http://127.0.0.1:8000, got {url}")
        self._base = str(base).rstrip("/")
        self._urls = {path: httpx.URL(self._base + path) for _, path in ROUTES.values() if "{" not in path}
        authorized = {"Authorization": f"Bearer {token}"} if token else {}
        # No other coding is read here.
        self._headers = httpx.Headers({"Host": base.netloc.decode(), "Accept-Encoding": "identity", **authorized})
        self._with_body = httpx.Headers([*self._headers.items(), ("Content-Type", "application/json")])
        self._timeout = timeout
        self._extensions = {"timeout": httpx.Timeout(timeout).as_dict()}

    def of(self, call: Call[Any], after: float) -> httpx.Request:
        """Return the request of a call, so many seconds after it was first made."""
        method, path = ROUTES[call.op]
        url = self._urls.get(path) or httpx.URL(self._base + path.format(stream=_segment(str(call.fields["stream"]))))
        if behind := {name: call.fields[name] for name in QUERIES.get(call.op, ()) if name in call.fields}:
            url = url.copy_merge_params(behind)
        if method == "POST":
            body = call.text(after)
            return httpx.Request(method, url, headers=self._with_body, content=body, extensions=self._extensions)
        return httpx.Request(method, url, headers=self._headers, extensions=self._extensions)

    def of_events(self, after: str | None) -> httpx.Request:
        """Return the request of those that listen to what is pushed, behind an event."""
        headers = self._headers.copy()
        if after is not None:
            headers["Last-Event-ID"] = after
        times = httpx.Timeout(self._timeout, read=max(self._timeout, SILENCE_SECONDS)).as_dict()
        return httpx.Request("GET", f"{self._base}/events", headers=headers, extensions={"timeout": times})


class Client(Service):
    """A service over HTTP; :func:`vinocast.connect` makes one."""

    def __init__(self, url: str, token: str | None, timeout: float, retries: int) -> None:
        super().__init__(retries)
        self._requests = _Requests(url, token, timeout)
        self._http = httpx.Client()

    def close(self) -> None:
        """Close its connections, in the process that made them: to end one of TLS is to write to it."""
        if self._is_owned():
            self._http.close()

    def events(self, *, after: str | None = None) -> HttpEvents:
        """Listen to the forecasts that are pushed when bars close: those behind an event's ``id``, or from now on."""
        self._check_owner()
        return HttpEvents(self._http, self._requests.of_events(after))

    def _ask(self, call: Call[T], after: float) -> T:
        request = self._requests.of(call, after)
        try:
            response = self._http.send(request)
        except (httpx.HTTPError, RuntimeError) as error:
            raise _fault(request.url, error) from error
        return _answer(call, response)


class AsyncClient(AsyncService):
    """A service over HTTP, for asyncio; :func:`vinocast.connect_async` makes one."""

    def __init__(self, url: str, token: str | None, timeout: float, retries: int) -> None:
        super().__init__(retries)
        self._requests = _Requests(url, token, timeout)
        self._http = httpx.AsyncClient()
        self._timeout = timeout
        self._room = asyncio.Semaphore(MOST_AT_ONCE)

    async def close(self) -> None:
        """Close its connections, in the process that made them."""
        if self._is_owned():
            await self._http.aclose()

    def events(self, *, after: str | None = None) -> AsyncHttpEvents:
        """Listen to the forecasts that are pushed when bars close: those behind an event's ``id``, or from now on."""
        self._check_owner()
        return AsyncHttpEvents(self._http, self._requests.of_events(after))

    async def _ask(self, call: Call[T], after: float) -> T:
        # What waits here is no request yet: httpx looks through all that wait at each turn, and its times run out.
        try:
            async with asyncio.timeout(self._timeout):
                await self._room.acquire()
        except TimeoutError:
            said = f"{MOST_AT_ONCE} requests have not been answered for {self._timeout:g} s"
            raise ServiceUnreachableError(said, unsent=True) from None
        try:
            request = self._requests.of(call, after)
            response = await self._http.send(request)
        except (httpx.HTTPError, RuntimeError) as error:
            raise _fault(request.url, error) from error
        finally:
            self._room.release()
        return _answer(call, response)


def connect(url: str, *, token: str | None = None, timeout: float = 30.0, retries: int = 0) -> Client:
    """Return a client of a service over HTTP. Nothing is sent before the first request.

    Args:
        url: of the service, such as ``http://127.0.0.1:8000``; a path in it goes before each route.
        token: where the service asks for one.
        timeout: seconds that a request may stand still, in connecting, in sending and in waiting for its answer.
        retries: how often a request is made again whose error is ``retryable``, or that was lost on its way and can be
            repeated: after what ``Retry-After`` says and a random time besides, within its ``deadline_ms``.

    Raises:
        SetupError: the extra ``client`` is not installed, or the URL is none of HTTP.
    """
    return Client(url, token, timeout, retries)


def connect_async(url: str, *, token: str | None = None, timeout: float = 30.0, retries: int = 0) -> AsyncClient:
    """Return a client for asyncio; see :func:`connect`."""
    return AsyncClient(url, token, timeout, retries)


def _segment(name: str) -> str:
    """Return a name as one segment of a path, also where it is a dot or two, by which httpx would leave a folder."""
    quoted = quote(name, safe="")
    return quoted if quoted.strip(".") else quoted.replace(".", "%2E")


def _answer(call: Call[T], response: httpx.Response) -> T:
    source = f"{response.url} ({response.status_code})"
    after = response.headers.get("Retry-After", "")
    reply = read_reply(response.content, source)
    return read_answer(call, reply, source, int(after) if after.isdecimal() else 0)


def _fault(url: httpx.URL, error: Exception) -> ServiceUnreachableError:
    if isinstance(error, RuntimeError) and not isinstance(error, httpx.HTTPError):
        # What httpx says of a client that is closed.
        return ServiceUnreachableError(f"{url}: {in_one_line(error)}", unsent=True)
    return ServiceUnreachableError(f"{url}: no answer: {in_one_line(error)}", unsent=isinstance(error, UNSENT))
