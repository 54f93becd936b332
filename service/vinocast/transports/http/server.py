"""The HTTP service: FastAPI on uvicorn, one event loop that reads, infers and writes in turn.

An inference runs in the event loop itself: it keeps every core of the budget busy for about a millisecond, and a
hand-over to a thread would only add to that. What waits, waits in the lane, so deadlines and the bound hold, and the
loop serves its sockets between two inferences: health checks are answered under load. What this transport promises:

- Listening means live; ready means that the default model has passed its self-test, and that no glyph model is still
  loading (``/livez``, ``/readyz``).
- Every error is the envelope of the JSON lines, with the status that errors.py gives its code.
- A body over the limit is refused before it is read to its end; one that stalls is given up.
- SIGHUP, where no terminal hangs up: models whose folders have changed are served as they are now, beside the old ones
  until they have passed their self-tests.
- SIGTERM and SIGINT: not ready any more, no new connections, what was accepted is answered, what comes on a
  connection that its client still takes for open is told ``shutting_down``, then the process ends with code 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.flow_control import CLOSE_HEADER

from vinocast.dataplane import DataPlane
from vinocast.errors import SetupError
from vinocast.monitoring.metrics import Metrics
from vinocast.ops import OPS
from vinocast.process import service_manager
from vinocast.process.signals import on_end, on_hangup
from vinocast.transports.http.accepting import Accepting
from vinocast.transports.http.admission import Admission, most_connections
from vinocast.transports.http.app import create_app, fixed_endpoints
from vinocast.transports.http.connections import Connection
from vinocast.transports.http.endpoint import Endpoints
from vinocast.transports.http.events import Events
from vinocast.transports.http.guard import Guard, refuse_open_door
from vinocast.transports.http.listeners import listen, url_of
from vinocast.transports.http.open_inference import endpoints_of_models
from vinocast.transports.http.pump import Pump
from vinocast.transports.http.targets import Targets
from vinocast.transports.http.tracing import Tracing
from vinocast.transports.http.welcome import commands, welcome

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from vinocast.dataplane import Reload
    from vinocast.settings import HttpSettings
    from vinocast.transports.http.grpc_server import GrpcServer

# From a signal on: how long a connection on which nothing has come is kept, as a request may be on its way, or a body
# that lacks its end; how long the answer to what was accepted is waited for; and then for clients to read it.
IDLE_SECONDS = 0.5
DRAIN_SECONDS = 4
LAST_SECONDS = 0.3
POLL_SECONDS = 0.01
# How often it is looked whether the streams are to be kept, and what others who share the port are told is held here.
STATE_SECONDS = 0.5
REFRESH_SECONDS = 1.0
log = logging.getLogger(__name__)


def serve_http(settings: HttpSettings) -> None:
    """Serve until a signal; raises SetupError when the default model is refused or the address is not to be had."""
    server = Server(DataPlane(settings, OPS), settings)
    run_server(server, listen_and_say(settings))


def listen_and_say(settings: HttpSettings) -> list[socket.socket]:
    """Return the listening sockets and log their addresses; raises SetupError.

    Raises click.UsageError where strangers could ask unasked.
    """
    listeners = listen(settings.host, settings.port)
    refuse_open_door(settings, (listener.getsockname()[0] for listener in listeners))
    for listener in listeners:
        log.info("Vinocast running on %s", url_of(listener))
    return listeners


def run_server(server: Server, listeners: list[socket.socket]) -> None:
    """Run a server until a signal; raises SetupError when the default model is refused."""
    on_end(server.handle_exit)
    on_hangup(lambda *_: server.reload_soon())
    server.run(listeners)
    refused = server.plane.default_model.refused
    if refused is not None:
        raise SetupError(f"the default model cannot be served: {refused}")


class Server(uvicorn.Server):
    """A uvicorn server that loads models when it starts and drains the data plane when it stops."""

    def __init__(self, plane: DataPlane, settings: HttpSettings) -> None:
        self.plane = plane
        self._pump = Pump(plane)
        self._announced = False
        # Those that the service manager has been told of, and not yet that they have ended.
        self._reloads: list[Reload] = []
        self._adopting: set[asyncio.Task[None]] = set()
        self._settings = settings
        self._grpc: GrpcServer | None = None
        self._metrics = Metrics(
            {
                ("ready", "How many processes would answer /readyz with 200."): lambda: plane.warm,
                ("queue_rows_limit", "Series that may wait."): lambda: settings.queue_rows,
                ("waiting_bytes_limit", "Bytes that all that waits may take."): lambda: plane.budget.most,
                ("queued_rows", "Series that wait for their turn."): lambda: plane.lane.rows,
                ("queued_requests", "Requests that wait for their turn."): lambda: plane.lane.computing,
                ("waiting_bytes", "Bytes that all that waits takes of the budget."): lambda: plane.budget.taken,
                ("streams", "Streams that are kept."): lambda: plane.kept_streams,
                ("connections", "Connections that are open."): lambda: len(self.server_state.connections),
            },
            {("clients_left", "Clients that left before their answer was there."): lambda: plane.clients_left},
            plane.states,
            plane.coverage,
            shared=settings.workers > 1,
        )
        plane.watches.append(self._metrics)
        connections = most_connections(settings.max_connections)
        self._events = Events(connections, there=plane.market is not None)
        app = create_app(plane, self._pump, self._metrics, self._events, needs_token=settings.token is not None)
        admission = Admission(connections, settings.keep_alive_seconds)
        tracing = Tracing(Guard(Targets(app, fixed_endpoints(app) | endpoints_of_models(app, plane)), settings), plane)
        super().__init__(
            uvicorn.Config(
                tracing,
                proxy_headers=False,  # it looks at each request, for what nobody here asks: by whom and how it came
                loop="uvloop",
                http=partial(Connection, admission, tracing.refuse_unread),  # type: ignore[arg-type]  # which it calls, and no more
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to :func:`run_server`: uvicorn would raise them again after the drain."""
        yield

    async def startup(self, sockets: Any = None) -> None:
        """Serve, then load the models."""
        await super().startup(sockets=[])  # it would accept one connection a round of the loop
        self._loop = asyncio.get_running_loop()
        self._accepting = Accepting(sockets or [], self.adopt)
        self._accepting.begin()
        if self._settings.grpc_port is not None:
            # It takes 15 MB, and few ask for it.
            from vinocast.transports.http.grpc_server import GrpcServer  # noqa: PLC0415

            most = most_connections(self._settings.max_connections)
            self._grpc = GrpcServer(Endpoints(self.plane, self._pump), self._settings, most)
            await self._grpc.start()
        self.plane.start(self._wake)
        self._refresh()
        if (seconds := service_manager.watchdog_seconds()) is not None:
            self._calm_watchdog(seconds)
        if self.plane.state is not None:
            self._keep_state()

    def _calm_watchdog(self, seconds: float) -> None:
        """Have the service manager know, every so often, that the loop turns."""
        service_manager.tell(service_manager.WATCHDOG)
        self._loop.call_later(seconds, self._calm_watchdog, seconds)

    def _keep_state(self) -> None:
        """Have the streams kept whenever it is time to, as long as the loop turns."""
        if self.plane.keep_state():
            self._pump.kick()
        self._loop.call_later(STATE_SECONDS, self._keep_state)

    def _refresh(self) -> None:
        """Have other processes know what is held here, where they answer for all."""
        self._metrics.refresh()
        self._loop.call_later(REFRESH_SECONDS, self._refresh)

    def reload_soon(self) -> None:
        """Have the folder of models looked at again; for a signal handler."""
        self._loop.call_soon_threadsafe(self.look_again)

    def look_again(self) -> None:
        """Have the folder of models looked at again."""
        if self._announced:
            service_manager.tell(service_manager.reloading())
        if all(reload.begun for reload in self._reloads):  # one that has not will find what there is now
            self._reloads.append(self.plane.reload())

    def _look_at_reloads(self) -> None:
        if self._announced and all(reload.done for reload in self._reloads):
            self._reloads.clear()
            self.reloaded()

    def reloaded(self) -> None:
        """Tell the service manager that what was to be reloaded is."""
        service_manager.tell(service_manager.READY)

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: a model has settled after the end
            self._loop.call_soon_threadsafe(self._model_settled)

    def _model_settled(self) -> None:
        self._pump.kick()
        if self._reloads:
            self._look_at_reloads()
        if self.plane.default_model.refused is not None:
            self.should_exit = True
        elif self.plane.warm and not self._announced:
            self._announced = True
            self.announce()

    def announce(self) -> None:
        """Tell the service manager that the models answer, and say so where that is asked for."""
        service_manager.tell(service_manager.READY)
        if log.isEnabledFor(logging.INFO):
            sys.stderr.write(welcome(self._accepting.listeners[0], commands(self.plane, self._settings)))

    async def shutdown(self, sockets: Any = None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Answer what has been accepted, and what still comes before its client can know of the end."""
        start = time.monotonic()
        service_manager.tell(service_manager.STOPPING)
        self.plane.close()
        # In place: requests at hand have this list, and a connection ends with the next response on it.
        self.server_state.default_headers.append(CLOSE_HEADER)
        for connection in self._connections:
            connection.shutdown()
        calls = None if self._grpc is None else asyncio.create_task(self._grpc.stop(DRAIN_SECONDS))
        await self._stop_listening()
        await self._drained(start + IDLE_SECONDS)
        while self._connections and not self.force_exit and time.monotonic() < start + DRAIN_SECONDS:
            for connection in self._connections:
                connection.wind_up()
            # Nothing that is asked can lead to an event any more.
            if len(self._connections) <= self._events.listeners and not len(self.plane.lane):
                self._events.end()
            await asyncio.sleep(POLL_SECONDS)
        if self._events.listeners:
            self._events.end(len(self.plane.lane))
            await self._drained(time.monotonic() + LAST_SECONDS)
        if self._connections:
            log.error("%d connections are given up", len(self._connections))
            for connection in self._connections:
                connection.give_up()
            await self._drained(time.monotonic() + LAST_SECONDS)
        if calls is not None:
            await calls
        self.plane.stop(max(LAST_SECONDS, start + DRAIN_SECONDS - time.monotonic()))

    @property
    def _connections(self) -> list[Connection]:
        return list(self.server_state.connections)  # type: ignore[arg-type]  # those that this class has made

    async def _drained(self, limit: float) -> None:
        """Wait until no connection is left, or that moment of time.monotonic."""
        while self._connections and not self.force_exit and time.monotonic() < limit:
            await asyncio.sleep(POLL_SECONDS)

    async def _stop_listening(self) -> None:
        """Take over every connection that has been made, then listen no more."""
        await self._accepting.end()
        await self.adopted()

    def adopt(self, connection: socket.socket) -> None:
        """Serve a connection that has been accepted elsewhere."""
        task = asyncio.get_running_loop().create_task(self._adopt(connection))
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    async def adopted(self) -> None:
        """Wait until all that was adopted is served."""
        while self._adopting:
            await asyncio.sleep(0)

    async def _adopt(self, connection: socket.socket) -> None:
        def protocol() -> asyncio.Protocol:
            options = {"config": self.config, "server_state": self.server_state, "app_state": self.lifespan.state}
            return self.config.http_protocol_class(**options)

        try:
            await asyncio.get_running_loop().connect_accepted_socket(protocol, connection)
        except OSError:  # the client has left on the way
            connection.close()
