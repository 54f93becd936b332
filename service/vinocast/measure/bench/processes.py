"""What ``vinocast bench`` starts: the service over each transport, the model alone, a bare import as yardstick."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import time
from typing import TYPE_CHECKING, Any

from vinocast.measure.bench.load import Client, Wire, cut_lines, cut_responses
from vinocast.measure.calls import MeasuringProcess
from vinocast.measure.children import PATIENCE, Process
from vinocast.settings import TOKEN_VARIABLE

if TYPE_CHECKING:
    from types import TracebackType

    from vinocast.measure.bench.load import Body
    from vinocast.settings import Settings

# Requests in flight on one pipe, and connections to HTTP: what a load may keep going at most.
PIPE_DEPTH = 256
CONNECTIONS = 16
READY_LINE = re.compile(r"ready on http://127\.0\.0\.1:(\d+)\.")


class Service(Process):
    """``vinocast`` as its users start it."""

    def __init__(self, command: str, settings: Settings, *options: str) -> None:
        # A token of the user's own service is none of this one's.
        env = {name: value for name, value in os.environ.items() if not name.startswith(TOKEN_VARIABLE)}
        super().__init__("-m", "vinocast", command, *_options(settings), *options, env=env)

    def wires(self) -> list[Wire]:
        """Return connections to the service, in place of those returned before; waits until there can be some."""
        raise NotImplementedError

    def client(self) -> Client:
        """Return a client of the service, good for one load; waits until it can be connected to."""
        raise NotImplementedError


class StdioService(Service):
    """``vinocast stdio``: one pipe each way, however many clients there are."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("stdio", settings)
        self._wires = [Wire(self.read_fd, self.write_fd, cut_lines)]
        self._client = Client(self._wires, PIPE_DEPTH)

    def wires(self) -> list[Wire]:
        """Return the pipe; what is sent before the service is ready waits in it."""
        return self._wires

    def client(self) -> Client:
        """Return the client of the pipe; what is sent before the service is ready waits in it."""
        return self._client


class Connections:
    """Keep-alive connections to a server on the loopback, as many at a time as were opened last."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def open(self, port: int, count: int) -> list[Wire]:
        """Close those there are and open new ones, since servers close what was idle for some seconds."""
        self.close()
        for _ in range(count):
            self._sockets.append(socket.create_connection(("127.0.0.1", port), PATIENCE))
            self._sockets[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return [Wire(fd, fd, cut_responses) for fd in map(socket.socket.fileno, self._sockets)]

    def close(self) -> None:
        """Close all."""
        for connection in self._sockets:
            connection.close()
        self._sockets.clear()


class HttpService(Service):
    """``vinocast serve`` on a free port of the loopback, and keep-alive connections to it."""

    def __init__(self, settings: Settings, *options: str) -> None:
        super().__init__("serve", settings, "--host", "127.0.0.1", "--port", "0", *options)
        self._connections = Connections()
        self.port = 0

    def wires(self) -> list[Wire]:
        """Return new connections, in place of those returned before."""
        self.wait_until(self._ready, "starting")
        return self._connections.open(self.port, CONNECTIONS)

    def client(self) -> Client:
        """Return a client with new connections."""
        return Client(self.wires(), 1)

    def _ready(self) -> bool:
        ready = None if self.port else READY_LINE.search(self.log)
        self.port = int(ready[1]) if ready else self.port
        return self.port > 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connections.close()
        super().__exit__(kind, error, trace)


class RawModel(MeasuringProcess):
    """The model without a service: :mod:`vinocast.measure.bench.raw`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("vinocast.measure.bench.raw", **options)

    def measure(self, graph: str, seconds: float) -> list[float]:
        """Infer for some seconds and return the milliseconds of each ``infer()``."""
        answer: list[float] = self.call("measure", graph, seconds)
        return answer


def first_answer_seconds(settings: Settings, body: Body) -> float:
    """Return the seconds from the spawn of ``vinocast stdio`` to the reply to a request that it finds waiting."""
    with StdioService(settings) as service:
        service.client().ask([body])
        return time.perf_counter() - service.spawned


def import_seconds() -> float:
    """Return the seconds that ``python -c "import openvino"`` takes, from spawn to end."""
    with Process("-c", "import openvino") as process:
        process.wait()
        return time.perf_counter() - process.spawned


def _options(settings: Settings) -> list[str]:
    """Return the command line that means these settings."""
    given = {f"--{name.replace('_', '-')}": value for name, value in dataclasses.asdict(settings).items()}
    flags = [option for option, value in given.items() if value is True]
    valued = {
        option: value for option, value in given.items() if value not in (None, ()) and not isinstance(value, bool)
    }
    return [*flags, *(text for option, value in valued.items() for text in (option, _text(value)))]


def _text(value: object) -> str:
    """Return a value as an option has it: several with commas between them."""
    return ",".join(map(str, value)) if type(value) is tuple else str(value)
