"""Who may ask: what a web page or a stranger sends is refused in front of every route, before its body is read.

The head of a request answers three questions:

- Was it asked for by a name of ours (``Host``)? This counts where nobody but this host can ask, or where names were
  given. A page whose own name was made to point here (DNS rebinding) is at home with us as its browser sees it, and
  nothing else gives it away.
- Was it sent by a page (``Origin``), and is that page ours, or of an origin that was given?
- Does it carry the token, where there is one?
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import re
import socket
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING

import click
from starlette.middleware.cors import CORSMiddleware

from vinocast.errors import ForbiddenError, MisdirectedError, RequestError, UnauthorizedError, quote
from vinocast.settings import HOST
from vinocast.transports.http.bodies import discard_body
from vinocast.transports.http.exchange import note_refusal
from vinocast.transports.http.pages import OPEN_PAGES
from vinocast.transports.http.responses import Refusal, fields_of, refusal
from vinocast.transports.http.targets import ABSOLUTE, HEALTH, METHODS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi import Response
    from starlette.datastructures import Headers as Fields
    from starlette.types import ASGIApp, Receive, Scope, Send

    from vinocast.settings import HttpSettings

    Headers = tuple[tuple[bytes, bytes], ...]

MOST_REMEMBERED = 64
LOOKED_AT = frozenset((b"host", b"origin"))
AUTHORITY = re.compile(rf"({HOST})(?::(\d*))?")
OPEN = re.compile("|".join(OPEN_PAGES).encode())
BODY_FIELDS = frozenset((b"content-length", b"transfer-encoding"))


def is_loopback(address: str) -> bool:
    """Return whether a text is an address of the loopback, also one of IPv4 as IPv6 writes it."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


def is_local(host: str) -> bool:
    """Return whether only this machine reaches what listens on a host: each of its addresses is of the loopback."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(is_loopback(str(address[0])) for *_, address in found)


def refuse_open_door(settings: HttpSettings, addresses: Iterable[str]) -> None:
    """Raise click.UsageError where others reach one of the addresses, need no token, and nobody has said so."""
    if settings.token or settings.insecure or all(map(is_loopback, addresses)):
        return
    raise click.UsageError(open_door(settings.host))


def open_door(host: str) -> str:
    """Return what is wrong with listening on a host that others reach, and what to do about it."""
    return (
        f"--host {host} lets other machines ask: give a token (--token-file, or the variable VINOCAST_TOKEN), or say "
        "--insecure where whoever reaches the port may ask"
    )


class Guard:
    """An application in front of another, which sees only what may be asked.

    What a head's Host and Origin lead to is remembered, so that a client which asks again costs one look.
    """

    def __init__(self, app: ASGIApp, settings: HttpSettings) -> None:
        self._app = _Gate(app, settings.token) if settings.token else app
        # Before the gate: a browser asks whether it may ask without a token.
        self._shared = _Sharing(
            self._app,
            allow_origin_regex=".*",  # only what has been given gets there, and is answered as it was written
            allow_methods=METHODS,
            allow_headers=("*",),
            allow_private_network=True,
            expose_headers=("Retry-After", "X-Request-ID"),
        )
        self._origins = frozenset(settings.allowed_origins)
        self._local = is_local(settings.host)
        self._asks_names = self._local or bool(settings.allowed_hosts)
        self._names = frozenset((settings.host.lower(), *settings.allowed_hosts))
        self._endings = tuple(name[1:] for name in settings.allowed_hosts if name.startswith("*."))
        self._way = lru_cache(MOST_REMEMBERED)(self._find_way)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        asked = tuple([field for field in scope["headers"] if field[0] in LOOKED_AT])
        target: bytes = scope["raw_path"]
        host = None if target.startswith(b"/") else _parts(target)[0]
        await self._way(scope["server"], host, asked)(scope, receive, send)

    def _find_way(self, here: tuple[str, int | None] | None, target: bytes | None, asked: Headers) -> ASGIApp:
        """Return the application for a request that came to an address of ours.

        Args:
            here: the address that its connection came to.
            target: the authority in its target, which counts in place of Host.
            asked: its Host and Origin.
        """
        fields = [(name, value.decode("latin-1").lower()) for name, value in asked]
        host = target.decode("latin-1").lower() if target is not None else dict(fields).get(b"host")
        # No browser leaves Host out; the parser of heads lets it be left out by HTTP/1.0 alone.
        if host is not None and self._asks_names and not self._is_ours(host, here[0] if here else ""):
            return _Refusing(
                MisdirectedError(
                    f"Host: expected localhost, this address, or one of --allowed-hosts, got {quote(host)}"
                )
            )
        origins = [value for name, value in fields if name == b"origin"]
        for origin in origins:
            if origin not in self._origins and not self._is_own(origin, host):
                return _Refusing(
                    ForbiddenError(
                        f"Origin: expected that of this service, or one of --allowed-origins, got {quote(origin)}"
                    )
                )
        return self._shared if self._origins.intersection(origins) else self._app

    def _is_ours(self, host: str, here: str) -> bool:
        match = AUTHORITY.fullmatch(host)
        if match is None:
            return False
        name = match[1].strip("[]")
        return (
            _names_loopback(match[1])
            or match[1] in self._names
            # No page can be at home at an address that is ours. Probes of Kubernetes ask a pod by it.
            or name in (here, here.removeprefix("::ffff:"))
            or name.endswith(self._endings)
        )

    def _is_own(self, origin: str, host: str | None) -> bool:
        """Return whether a page came from the host that it asks, over HTTP without TLS, as we speak it."""
        scheme, _, authority = origin.partition("://")
        if scheme != "http" or host is None:
            return False
        if authority == host:
            return True
        page, asked = AUTHORITY.fullmatch(authority), AUTHORITY.fullmatch(host)
        return (
            self._local
            and page is not None
            and asked is not None
            and _names_loopback(page[1])
            and _names_loopback(asked[1])
            and (page[2] or "80") == (asked[2] or "80")
        )


class _Sharing(CORSMiddleware):
    """CORS, whose refusals are those of the service."""

    def preflight_response(self, request_headers: Fields) -> Response:
        """Say what a page may ask; that its method is none of ours is all that may be wrong."""
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        method = quote(request_headers["access-control-request-method"])
        methods = ", ".join(METHODS)
        refused = Refusal(ForbiddenError(f"Access-Control-Request-Method: expected one of {methods}, got {method}"))
        for name, value in answer.headers.items():
            refused.headers.setdefault(name, value)
        return refused


class _Gate:
    """An application in front of another, which sees only what carries the token or needs none."""

    def __init__(self, app: ASGIApp, token: bytes) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if (len(given) == 1 and opens(given[0], self._token)) or _is_open(_parts(scope["raw_path"])[1]):
            await self._app(scope, receive, send)
        else:
            got = "another" if given else "none"
            error = UnauthorizedError(f"Authorization: expected Bearer and the token of this service, got {got}")
            await _refuse(error, scope, receive, send, (b"www-authenticate", b"Bearer"))


def opens(given: bytes, token: bytes) -> bool:
    """Return whether what a request carries for its authorization is the token."""
    scheme, _, carried = given.partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(carried.strip(), token)


class _Refusing:
    """An application that refuses whatever it is asked."""

    def __init__(self, error: RequestError) -> None:
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _refuse(self._error, scope, receive, send)


async def _refuse(
    error: RequestError, scope: Scope, receive: Receive, send: Send, *headers: tuple[bytes, bytes]
) -> None:
    """Send an error at once, then let the body go by, up to a limit: many clients send it all before they read."""
    note_refusal(scope, error)
    body = refusal(error, _parts(scope["raw_path"])[1])
    fields = [*fields_of(body, error), *headers]
    if any(name in BODY_FIELDS for name, _ in scope["headers"]):  # of which not all may come
        fields.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": error.status, "headers": fields})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    with contextlib.suppress(asyncio.CancelledError):  # the service ends, and waits no longer
        await discard_body(receive)
    await send({"type": "http.response.body", "body": b""})


def _parts(target: bytes) -> tuple[bytes | None, bytes]:
    """Return the authority in a target, None where there is none, and the path."""
    absolute = ABSOLUTE.fullmatch(target)
    return (None, target) if absolute is None else (absolute[1].rpartition(b"@")[2], absolute[2] or b"/")


def _is_open(path: bytes) -> bool:
    """Return whether a path needs no token: it keeps the service alive, or tells a reader how to ask."""
    return path in HEALTH or OPEN.fullmatch(path) is not None


def _names_loopback(name: str) -> bool:
    """Return whether the name in a Host or an Origin is one of the loopback's, which no other machine can take."""
    return name.removesuffix(".") == "localhost" or is_loopback(name.strip("[]"))
