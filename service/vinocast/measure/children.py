"""The processes under measurement: the service over each transport, the model alone, and a bare import as yardstick."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import orjson

from vinocast.errors import SetupError
from vinocast.measure.bench.load import PATIENCE, Client, Wire, cut_lines, cut_responses

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from vinocast.measure.bench.load import Body
    from vinocast.settings import Settings

# Requests in flight on one pipe, and connections to HTTP: what a load may keep going at most.
PIPE_DEPTH = 256
CONNECTIONS = 16
# A process that has used no CPU time for so long has nothing left to load.
QUIET_SECONDS = 0.3
STOP_SECONDS = 10.0
READY_LINE = re.compile(r"ready on http://127\.0\.0\.1:(\d+)\.")
PR_SET_PDEATHSIG, PR_SET_TIMERSLACK = 1, 29
_LIBC = ctypes.CDLL(None)


def sharpen_timers() -> None:
    """Have this thread woken when it asked to be: the kernel may else be 50 us late, which would count as latency."""
    _LIBC.prctl(PR_SET_TIMERSLACK, 1)


class Process:
    """A child process with pipes to both ends, stopped at the end; what it logs is kept in case it fails.

    Args:
        arguments: of the program.
        program: this Python unless said.
        options: of ``subprocess.Popen``, beyond or instead of those set here.
    """

    def __init__(self, *arguments: str, program: str | Path = sys.executable, **options: Any) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        child_input, self.write_fd = os.pipe()
        self.read_fd, child_output = os.pipe()
        self.spawned = time.perf_counter()
        # A server does not end with its input, so it is told when the benchmark is killed.
        settings: dict[str, Any] = {
            "stdin": child_input,
            "stdout": child_output,
            "stderr": self._log,
            "preexec_fn": lambda: _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM),
        }
        self._process = subprocess.Popen([program, *arguments], **settings | options)  # noqa: S603 - named by us
        os.close(child_input)
        os.close(child_output)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.write_fd)
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self.read_fd)
        self._log.close()

    def wait(self) -> None:
        """Wait until it ends by itself."""
        self._process.wait(PATIENCE)

    @property
    def log(self) -> str:
        """What it has written to standard error."""
        return os.pread(self._log.fileno(), os.fstat(self._log.fileno()).st_size, 0).decode(errors="replace")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def rss_mb(self) -> float:
        """Resident memory, in MB of 10^6 bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        kib = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        return int(kib[1]) * 1024 / 1e6 if kib else 0.0

    @property
    def cpu_seconds(self) -> float:
        """Processor time it has used, in user mode and in the kernel."""
        return cpu_seconds(self._process.pid)

    def wait_until(self, condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
        """Wait for a condition; raises SetupError with the log when the process ends or takes too long."""
        limit = time.monotonic() + patience
        while not condition():
            if self._process.poll() is not None or time.monotonic() > limit:
                raise SetupError(f"{what}: the process under measurement did not get there; its log:\n{self.log}")
            time.sleep(0.01)

    def wait_until_quiet(self) -> None:
        """Wait until it has loaded what it loads in the background."""
        seen = (-1.0, 0.0)

        def quiet() -> bool:
            nonlocal seen
            if (used := self.cpu_seconds) != seen[0]:
                seen = (used, time.monotonic())
            return time.monotonic() - seen[1] > QUIET_SECONDS

        self.wait_until(quiet, "loading")


class Service(Process):
    """``vinocast`` as its users start it."""

    def __init__(self, command: str, settings: Settings, *options: str) -> None:
        super().__init__("-m", "vinocast", command, *_options(settings), *options)

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


class Worker(Process):
    """A module of ours in a process of its own, given its options as JSON and driven by lines of JSON."""

    def __init__(self, module: str, **options: Any) -> None:
        # Unlike orjson, this takes a path that is no UTF-8.
        super().__init__("-m", module, json.dumps(options))
        self._received = bytearray()

    def ask(self, request: Any) -> Any:
        """Send a line and return the answer."""
        os.write(self.write_fd, json.dumps(request).encode() + b"\n")
        return self.read()

    def read(self) -> Any:
        """Return the next line; raises SetupError with its log when there is none."""
        while not self._received.endswith(b"\n"):
            if not select.select([self.read_fd], [], [], PATIENCE)[0]:
                raise SetupError(f"no answer of the model for {PATIENCE:.0f} s")
            data = os.read(self.read_fd, 1 << 16)
            if not data:
                raise SetupError(f"the model cannot be measured: {self.log.strip()}")
            self._received += data
        answer = orjson.loads(self._received)
        self._received.clear()
        return answer


class RawModel(Worker):
    """The model without a service: :mod:`vinocast.measure.bench.raw`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("vinocast.measure.bench.raw", **options)

    def describe(self) -> dict[str, Any]:
        """Return what it has compiled, once it has; raises SetupError with its reason when it could not."""
        answer: dict[str, Any] = self.read()
        return answer

    def measure(self, graph: str, seconds: float) -> list[float]:
        """Infer for some seconds and return the milliseconds of each ``infer()``."""
        answer: list[float] = self.ask([graph, seconds])
        return answer


def proc_stat(pid: int) -> list[str]:
    """Return the fields of a process behind its name, which may hold anything: its state, its parent and so on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, in user mode and in the kernel."""
    user, system = proc_stat(pid)[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


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
    valued = {option: value for option, value in given.items() if value is not None and not isinstance(value, bool)}
    return [*flags, *(text for option, value in valued.items() for text in (option, str(value)))]
