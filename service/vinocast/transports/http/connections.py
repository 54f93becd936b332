"""uvicorn's HTTP/1.1 connection, but for how it reads requests, what it says of bad HTTP, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_to_bytes

from uvicorn.protocols.http.flow_control import CLOSE_HEADER, HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from vinocast.errors import InvalidRequestError, OverloadedError, RequestError, ShuttingDownError
from vinocast.transports.http.drain import is_readable
from vinocast.transports.http.joining import Joining
from vinocast.transports.http.lingering import Discard
from vinocast.transports.http.messages import Chunks, Head, MalformedError, end_of_head, parse_head, past_empty_lines
from vinocast.transports.http.responses import fields_of, refusal
from vinocast.transports.http.targets import ABSOLUTE, HEALTH, METRICS

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvicorn._types import ASGIReceiveEvent, HTTPScope

    from vinocast.transports.http.admission import Admission, Departures

# uvicorn's, for what goes wrong here; of what a client does wrong, it learns itself and the log does not.
log = logging.getLogger("uvicorn.error.connection")
log.setLevel(logging.ERROR)
# What is answered where there is room for nothing else.
WATCHED = HEALTH | {METRICS}


class Connection(HttpToolsProtocol):
    """A connection that takes in no more than the request at hand and what one read brought with it.

    Only what uvicorn does once a request is read is uvicorn's: it would read requests ahead without a limit, heads of
    any size, and no body behind an offered upgrade. A client that has said that nothing more comes is answered all the
    same; whether it has left for good shows as soon as something is sent to it.

    Args:
        admission: which of all connections are kept.
        tell: is told of a request that is refused here, and returns the field of the response that names it.
        arguments, options: uvicorn's.
    """

    def __init__(
        self, admission: Admission, tell: Callable[[RequestError], tuple[bytes, bytes]], *arguments: Any, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.parser = None  # type: ignore[assignment]  # takes 10 kB, and nothing here makes use of it
        self.logger = log
        self._admission = admission
        self._tell = tell
        self._extra = False
        # Kept by the admission: of what was sent, how much waited unread; where it is watched for its client's leaving.
        self.unread_bytes = 0
        self.watched: int | None = None
        # What has come and is not yet read; of the request at hand, what its body still lacks.
        self.unread = b""
        self._searched = 0  # for the end of a head
        self._missing = 0
        self._chunks: Chunks | None = None
        self.ended = False  # nothing more comes
        # Whether the client may send another request, and what answers the one at hand.
        self._lasts = True
        self._task: asyncio.Task[None] | None = None
        self._joining: Joining

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """Take the connection over."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self, self._admission.departures)
        self._extra = self._admission.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let everything go."""
        self._admission.leave(self)
        super().connection_lost(exc)
        # Each refers to this connection, which else would stay until Python looks for such rings, maybe for hours.
        self.cycle = self.flow = self._joining = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Take in what has come, as far as the request at hand goes."""
        self.unread += data
        self._read()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's closes whatever comes
        """Answer what has come, though nothing more does; return whether an answer is still to be sent."""
        self.ended = True
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            self.flow.pause_reading()
            self.departed(reset=False)
            return True
        if self._missing or self._chunks is not None:
            if not self.cycle.response_complete:
                self._refuse(MalformedError("the body ends before it is complete"))
        elif self.unread:
            self._refuse(MalformedError("the head ends before it is complete"))
        self.end()
        return False

    def departed(self, *, reset: bool) -> None:
        """Find out whether a client has left."""
        cycle: RequestResponseCycle | None = self.cycle
        if reset:
            self.transport.abort()
        elif cycle is not None and not (cycle.response_started or cycle.more_body):
            self._joining.begin()

    def pause_writing(self) -> None:
        """Give a client that does not read a while to do so."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """Go on with a client that reads."""
        if not self.transport.is_closing():
            self._admission.unread.discard(self)
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Go on with what has come behind the request."""
        self._joining.flush()  # what has no body
        if self not in self.connections:  # it has ended with this response
            return
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self._admission.idle.add(self)
        self._read()

    def part(self) -> None:
        """Close behind the last response, not at once where its client may be sending: it would see but a reset."""
        if not self.ended and (self._lasts or self.unread or self._missing or self._chunks is not None):
            self._linger()
        else:
            self.end()

    def end(self) -> None:
        """Close the connection once its client has read what waits for it, or does not read it."""
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self._await_reader()

    def _await_reader(self) -> None:
        self.unread_bytes = self.transport.get_write_buffer_size()
        self._admission.unread.add(self)

    def shutdown(self) -> None:
        """End with the response to the request at hand, if there is one: the service ends."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None:
            cycle.keep_alive = False

    def wind_up(self) -> None:
        """Answer a request that lacks its end, and close what is idle; what is whole goes on. Can be repeated."""
        cycle: RequestResponseCycle | None = self.cycle
        if self.transport.is_closing():
            return
        if cycle is not None and not cycle.response_complete:
            if cycle.more_body:
                self._give_up_body()
        elif self.unread:
            self._refuse(ShuttingDownError("the service has shut down before the request was there"))
        elif not is_readable(self.transport.get_extra_info("socket").fileno()):  # else it is answered next
            self.end()

    def give_up(self) -> None:
        """Answer, without what was waited for; close what cannot even be sent an answer."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_started:
            self.transport.abort()
        else:
            self._cancel()

    def _give_up_body(self) -> None:
        if self.cycle.response_started:  # what comes is thrown away, and is not waited for
            self._pass_on(b"", complete=True)
        else:  # and so told that it came too late
            self._cancel()

    def _cancel(self) -> None:
        """Have the application answer at once, unless it does already."""
        if self._task is not None and not self.cycle.response_started and not self._task.cancelling():
            self._task.cancel()

    def _read(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        try:
            while self.unread:
                if self._missing:
                    self._read_known_length()
                elif self._chunks is not None:
                    self._read_chunks(self._chunks)
                elif cycle is None or cycle.response_complete:
                    if self.unread.startswith(b"\r\n"):
                        self.unread = past_empty_lines(self.unread)
                        self._searched = 0
                        continue
                    end = end_of_head(self.unread, self._searched)
                    if end is None:
                        self._searched = len(self.unread)
                        self._await_head()
                        return
                    cycle = self._begin(parse_head(self.unread[:end]), end)
                elif cycle.keep_alive:
                    self.flow.pause_reading()
                    return
                else:  # the connection ends with this request, whatever comes
                    self.unread = b""
        except MalformedError as error:
            self._refuse(error)
            return
        if self.ended and (cycle is None or cycle.response_complete):
            self.end()

    def _await_head(self) -> None:
        """Give what has begun a while to be complete."""
        if self.ended:
            raise MalformedError("the head ends before it is complete")
        if not self._extra and self not in self._admission.heads:
            self._admission.idle.discard(self)
            self._admission.heads.add(self)

    def _begin(self, head: Head, end: int) -> RequestResponseCycle | None:
        """Hand a request to the application, with its body to come."""
        raw_path, _, query = head.target.partition(b"?")
        if self._extra and not _asks_for_health(raw_path):
            self._refuse(OverloadedError("expected fewer connections at once: try again, or keep one and use it again"))
            return None
        self._admission.idle.discard(self)
        self._admission.heads.discard(self)
        self.unread = self.unread[end:]
        self._searched = 0
        self._missing = head.length
        self._chunks = Chunks() if head.chunked else None
        path = raw_path.decode()
        scope: HTTPScope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": head.version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme or "http",
            "method": head.method,
            "root_path": self.root_path,
            "path": self.root_path + (unquote(path) if "%" in path else path),
            "raw_path": self.root_path.encode() + raw_path,
            "query_string": query,
            "headers": list(head.headers),
            "state": self.app_state.copy(),
        }
        self._lasts = head.keep_alive
        self._joining = Joining(self.transport, self.part)
        cycle = (_ChunkedCycle if head.chunked else RequestResponseCycle)(
            scope=scope,
            transport=self._joining,  # type: ignore[arg-type]  # of which it needs no more
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=head.expects_continue,
            keep_alive=head.keep_alive and not self._extra,
            on_response=self.on_response_complete,
        )
        self.cycle = cycle
        if not head.length and not head.chunked:
            self._pass_on(b"", complete=True)
        task = self._task = self.loop.create_task(cycle.run_asgi(self.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)
        return cycle

    def _read_known_length(self) -> None:
        body, self.unread = self.unread[: self._missing], self.unread[self._missing :]
        self._missing -= len(body)
        self._pass_on(body, complete=not self._missing)

    def _read_chunks(self, chunks: Chunks) -> None:
        received = len(self.unread)
        body, self.unread = chunks.take(self.unread)
        self.cycle.framing += received - len(body) - len(self.unread)  # type: ignore[attr-defined]  # a _ChunkedCycle
        if chunks.complete:
            self._chunks = None
        self._pass_on(body, complete=chunks.complete)

    def _pass_on(self, body: bytes, *, complete: bool) -> None:
        """Give the application a piece of the body, unless it has answered without it."""
        cycle = self.cycle
        if cycle.response_complete or not (body or complete):
            return
        cycle.body += body
        cycle.more_body = not complete
        if len(cycle.body) > HIGH_WATER_LIMIT and not complete:
            self.flow.pause_reading()
        cycle.message_event.set()

    def _refuse(self, fault: MalformedError | RequestError) -> None:
        """Answer a fault with the envelope, then let the rest go by so that the client reads the answer.

        Such a fault is what is no HTTP/1.1, or a request for which there is no room.
        """
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.response_complete:
            cycle = None
        if cycle is None or not cycle.response_started:  # else a reply has begun, and it ends here
            error = fault if isinstance(fault, RequestError) else InvalidRequestError(str(fault))
            body = refusal(error)
            headers = [*self.server_state.default_headers, *fields_of(body, error), self._tell(error), CLOSE_HEADER]
            # When the service ends, the default headers close as well.
            lines = b"".join(b"%s: %s\r\n" % header for header in dict.fromkeys(headers))
            self.transport.write(STATUS_LINE[fault.status] + lines + b"\r\n" + body)
        if cycle is not None:  # the body has failed: nothing is left to do
            cycle.disconnected = True
            cycle.waiting_for_100_continue = False
            cycle.message_event.set()
            self.flow.resume_writing()  # what waits for room waits no more
        self._linger()

    def _linger(self) -> None:
        """Leave the connection to what takes in the rest."""
        self.unread = b""
        self.connections.discard(self)
        self._admission.idle.discard(self)
        self._admission.heads.discard(self)
        if not self._extra:
            self._admission.lingering.add(self)
        self.transport.set_protocol(Discard(self.transport, self, self.connections))


def _asks_for_health(target: bytes) -> bool:
    """Return whether a target, without what is behind its ``?``, is in any of its forms a path of :data:`WATCHED`."""
    absolute = ABSOLUTE.fullmatch(target)
    path = target if absolute is None else absolute[2] or b""
    return unquote_to_bytes(path) in WATCHED


class _ChunkedCycle(RequestResponseCycle):
    """A request whose body comes in chunks, and what they take besides."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.framing = 0

    async def receive(self) -> ASGIReceiveEvent:
        """Return what has come; ``framing`` is how many bytes on the wire were none of the body."""
        event = await super().receive()
        framing, self.framing = self.framing, 0
        return event | {"framing": framing}  # type: ignore[return-value]  # of which ASGI does not know


class _Flow(FlowControl):
    """Reads on only for a body that is not complete, or for the next request once this one is answered.

    And while nothing has come behind the request at hand. Where it does not, it is watched whether the client leaves.
    """

    def __init__(self, transport: asyncio.Transport, connection: Connection, departures: Departures) -> None:
        super().__init__(transport)
        self._connection = connection
        self._departures = departures

    def pause_reading(self) -> None:
        if not self.read_paused:
            super().pause_reading()
            self._departures.watch(self._connection)

    def resume_reading(self) -> None:
        if not self.read_paused or self._connection.ended:
            return
        cycle: RequestResponseCycle | None = self._connection.cycle
        if cycle is None or cycle.more_body or cycle.response_complete or not self._connection.unread:
            super().resume_reading()
            self._departures.unwatch(self._connection)
