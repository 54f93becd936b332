"""Load on a running service from one thread: a closed loop, or an open loop whose arrivals are scheduled in advance.

The client shares the cores with the service, so it does next to nothing while it measures: bodies are made before, one
system call sends each, and replies are kept as bytes, to be parsed when the measurement is over.
"""

from __future__ import annotations

import gc
import itertools
import os
import select
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vinocast.errors import SetupError
from vinocast.measure.children import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# All ids have as many digits, so that a body's length is known before its id.
FIRST_ID = 10**9
ID_KEY = b'{"request_id":'
ID = slice(len(ID_KEY), len(ID_KEY) + len(str(FIRST_ID)))
READ_BYTES = 1 << 18
# How long an open loop goes on sending what it is behind with, after the last arrival was due; or as long as it lasted.
LEAST_GRACE = 1.0


@dataclass(frozen=True)
class Body:
    """A request but for its id, which goes between the two."""

    prefix: bytes
    suffix: bytes


@dataclass
class Slice:
    """What one stretch of load gave.

    Attributes:
        latencies: seconds from a request's start to the last byte of its reply, in the order of the replies. In a
            closed loop a request starts just before it is written; in an open loop, when it was scheduled to arrive,
            however late the client came to write it.
        replies: their bytes, in the same order.
        missed: seconds that arrivals had waited when an open loop gave up sending them; an answer would have taken
            longer.
        late: seconds from each request's start to the client's writing it, part of its latency.
        seconds: from the first moment to the last reply.
    """

    latencies: list[float] = field(default_factory=list)
    replies: list[bytes] = field(default_factory=list)
    missed: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    seconds: float = 0.0


class Wire:
    """A connection: two non-blocking descriptors, and how replies are cut from what comes."""

    def __init__(self, read_fd: int, write_fd: int, cut: Callable[[bytearray], list[bytes]]) -> None:
        for fd in {read_fd, write_fd}:
            os.set_blocking(fd, False)
        self.read_fd, self.write_fd = read_fd, write_fd
        self._cut = cut
        self._received = bytearray()
        self._unsent = bytearray()

    @property
    def unsent(self) -> bool:
        """Whether :meth:`flush` has something to write."""
        return bool(self._unsent)

    def send(self, body: Body, number: int) -> None:
        """Write a request, or what there is room for."""
        parts = (body.prefix, b"%d" % number, body.suffix)
        written = 0
        if not self._unsent:
            try:
                written = os.writev(self.write_fd, parts)
            except BlockingIOError:
                written = 0
            if written == sum(map(len, parts)):
                return
        self._unsent += b"".join(parts)[written:]

    def flush(self) -> None:
        """Write what the descriptor had no room for."""
        try:
            del self._unsent[: os.write(self.write_fd, self._unsent)]
        except BlockingIOError:
            return

    def receive(self) -> list[bytes]:
        """Return the replies that are complete by now; raises SetupError at the end of the stream."""
        data = os.read(self.read_fd, READ_BYTES)
        if not data:
            raise SetupError("the service under measurement has closed the connection")
        self._received += data
        return self._cut(self._received)


def cut_lines(received: bytearray) -> list[bytes]:
    """Take whole lines off the front."""
    lines: list[bytes] = []
    start = 0
    # Not splitlines(), which looks at every byte: a reply with quantiles takes it 25 us more.
    while (end := received.find(b"\n", start)) >= 0:
        lines.append(bytes(received[start:end]))
        start = end + 1
    del received[:start]
    return lines


def cut_responses(received: bytearray) -> list[bytes]:
    """Take whole HTTP responses off the front and return their bodies, of a known length or in chunks."""
    bodies: list[bytes] = []
    while (head := received.find(b"\r\n\r\n")) >= 0:
        fields, start = received[:head].lower(), head + 4
        if (length := fields.find(b"\r\ncontent-length:")) >= 0:
            end = start + int(fields[length + 17 :].split(b"\r", 1)[0])
            body = bytes(received[start:end])
        else:
            body, end = _chunks(received, start)
        if len(received) < end:
            break
        bodies.append(body)
        del received[:end]
    return bodies


def _chunks(received: bytearray, start: int) -> tuple[bytes, int]:
    """Return a chunked body and where it ends, which is behind what has come as long as it is not whole."""
    parts: list[bytes] = []
    while (line := received.find(b"\r\n", start)) >= 0:
        size = int(received[start:line], 16)
        start = line + 2 + size + 2
        if not size:
            return b"".join(parts), start
        parts.append(bytes(received[line + 2 : start - 2]))
    return b"", len(received) + 1


class ClosedLoop:
    """A client's next request starts as soon as it has the reply to the last, for some seconds or a number of times."""

    def __init__(self, seconds: float = float("inf"), most: float = float("inf")) -> None:
        self._seconds = seconds
        self._left = most
        self.least_seconds = 0.0
        self.missed: list[float] = []

    def start(self, now: float) -> float | None:
        """Return the moment from which a request that is written now counts, or None if there is none to write."""
        if self.finished(now):
            return None
        self._left -= 1
        return now

    def wait(self, _now: float) -> float:
        """Return the seconds until there may be a request to write though no reply comes."""
        return PATIENCE

    def finished(self, now: float) -> bool:
        """Whether no more requests will start."""
        return now >= self._seconds or self._left <= 0


class OpenLoop:
    """Requests arrive evenly spaced, ``rate`` a second for some seconds, whether or not earlier ones are answered."""

    def __init__(self, rate: float, seconds: float) -> None:
        self._times = deque(i / rate for i in range(max(1, round(rate * seconds))))
        self._give_up = self._times[-1] + max(LEAST_GRACE, seconds)
        # The load lasts until the next request would be due, or answers would seem to come faster than arrivals.
        self.least_seconds = seconds
        self.missed: list[float] = []

    def start(self, now: float) -> float | None:
        """Return when the request to write now was due, or None if none is due yet."""
        if self.finished(now) or self._times[0] > now:
            return None
        return self._times.popleft()

    def wait(self, now: float) -> float:
        """Return the seconds until the next request is due."""
        return max(0.0, self._times[0] - now) if self._times else PATIENCE

    def finished(self, now: float) -> bool:
        """Whether no more requests will start; gives up those that could not be sent in time."""
        if now >= self._give_up:
            self.missed += [now - time for time in self._times]
            self._times.clear()
        return not self._times


class Client:
    """Sends requests over some wires.

    Args:
        wires: the connections.
        depth: requests that a wire may hold at once; the replies to them are matched by id.
        identified: whether replies begin with the id of their request. Other replies are their wire's next, which asks
            for a depth of 1.
    """

    def __init__(self, wires: Sequence[Wire], depth: int, *, identified: bool = True) -> None:
        self._identified = identified
        # The first slots are on different wires, so that a few clients have a connection each.
        self._slots = [wire for _ in range(depth) for wire in wires]
        self._ids = itertools.count(FIRST_ID)

    def ask(self, bodies: Sequence[Body]) -> list[bytes]:
        """Send each body once, one after the other, and return the replies."""
        return self.drive(ClosedLoop(most=len(bodies)), iter(bodies), 1).replies

    def drive(self, schedule: ClosedLoop | OpenLoop, bodies: Iterator[Body], clients: int | None = None) -> Slice:
        """Send what is scheduled, with as many requests in flight as there are clients, or as the wires hold.

        Raises SetupError when the service ends, or leaves every request unanswered for PATIENCE seconds.
        """
        result = Slice()
        free = deque(self._slots[:clients])
        wires = {wire.read_fd: wire for wire in free}
        pending: dict[int, tuple[float, Wire]] = {}
        collecting = gc.isenabled()
        gc.disable()
        try:
            began = heard = time.perf_counter()
            while True:
                while free:
                    now = time.perf_counter()
                    start = schedule.start(now - began)
                    if start is None:
                        break
                    result.late.append(now - began - start)
                    wire, number = free.popleft(), next(self._ids)
                    pending[number if self._identified else wire.read_fd] = (began + start, wire)
                    wire.send(next(bodies), number)
                now = time.perf_counter()
                if schedule.finished(now - began) and not pending:
                    break
                wait = schedule.wait(now - began) if free else PATIENCE
                blocked = [wire.write_fd for wire in wires.values() if wire.unsent]
                readable, writable, _ = select.select(wires, blocked, [], wait)
                for fd in writable:
                    next(wire for wire in wires.values() if wire.write_fd == fd).flush()
                for fd in readable:
                    replies = wires[fd].receive()
                    now = time.perf_counter()
                    for reply in replies:
                        started, wire = pending.pop(int(reply[ID]) if self._identified else fd)
                        free.append(wire)
                        result.latencies.append(now - started)
                        result.replies.append(reply)
                if readable or not pending:
                    heard = time.perf_counter()
                elif time.perf_counter() - heard >= PATIENCE:
                    raise SetupError(f"the service under measurement has not answered for {PATIENCE:.0f} s")
            result.seconds = max(heard - began, schedule.least_seconds)
            result.missed = schedule.missed
        finally:
            if collecting:
                gc.enable()
        return result
