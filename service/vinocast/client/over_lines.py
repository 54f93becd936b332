"""A service of one's own in a child process, asked over lines.

Who asks encodes its request and writes what the pipe takes at once; one thread of the client's reads replies and
writes the rest, so that no caller waits for a pipe, and a service that stands still costs each caller its timeout.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import IO, Any, TypeVar

from vinocast.client import calls
from vinocast.client.calls import Call, read_answer, read_reply
from vinocast.client.faces import Service
from vinocast.client.pushes import Pushes
from vinocast.errors import LineTooLongError, ServiceUnreachableError, SetupError, in_one_line, shorten

T = TypeVar("T")

MOST_IN_FLIGHT = 64
PIPE_BYTES, READ_BYTES = 1 << 20, 1 << 18
# A reply has 16 MiB and what it repeats of its request, which of ours is a number; several may come at once.
MOST_REPLY_BYTES = 64 << 20
# From the end of its input until the child is asked by a signal, and from there until it is killed: the service answers
# what it has taken, for at most four seconds after a signal.
DRAIN_SECONDS, TERMINATE_SECONDS = 10.0, 6.0
# The kernel has closed the pipe of a process that ends, and not yet said how it ended.
REAP_SECONDS = 5.0
SOURCE = "the child process"


class Child(Service):
    """A service in a child process; :func:`vinocast.spawn` makes one.

    For any thread, and for many at once: each gets its own answer, and at most 64 requests are with the service. It
    belongs to the process that made it, and is not started again: when it dies, every request that waits ends with
    ``ServiceUnreachableError``, and so does every later one.

    Attributes:
        pid: of the child process.
    """

    def __init__(
        self, command: Sequence[str], *, timeout: float, start_timeout: float, retries: int, log: IO[bytes] | int | None
    ) -> None:
        super().__init__(retries, reconnects=False)
        self._timeout = timeout
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(MOST_IN_FLIGHT)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._outbox = bytearray()
        self._closing = False
        self._gone: str | None = None
        self._pushes = Pushes(SOURCE)
        self._most_bytes: int | None = None
        try:
            # A group of its own: Ctrl-C at a terminal is for this program, which ends the child in its own time.
            self._process = subprocess.Popen(  # noqa: S603 - the interpreter that runs this
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0, process_group=0
            )
        except OSError as error:
            raise SetupError(f"cannot start {command[0]}: {error.strerror}") from None
        self.pid = self._process.pid
        self._stdin, self._stdout = _pipes(self._process)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._serve, name="vinocast-child", daemon=True)
        self._thread.start()
        try:
            self._most_bytes = self._start(start_timeout)
        except BaseException:
            self.close()
            raise

    def stats(self) -> Mapping[str, Any]:
        """Return what the service has counted, and quantiles of its times."""
        return self._do(calls.stats())

    def events(self) -> Pushes:
        """Return the forecasts that the service pushes when bars close.

        There is one line of them, from the start of the service on, which whoever iterates takes from. The newest 1,024
        that nobody takes are kept.
        """
        self._check_owner()
        return self._pushes

    def close(self) -> None:
        """End the service's input, have what it has taken be answered, and wait for its end.

        One that has not ended after ten seconds gets SIGTERM, and is killed six seconds later.
        """
        if not self._is_owned():
            return
        with self._lock:
            self._closing = True
        self._rouse()
        for number, seconds in ((signal.SIGTERM, DRAIN_SECONDS), (signal.SIGKILL, TERMINATE_SECONDS)):
            self._thread.join(seconds)
            if not self._thread.is_alive():
                break
            self._process.send_signal(number)
        self._thread.join(REAP_SECONDS)

    def _start(self, timeout: float) -> int:
        """Wait until the service is ready, and return the bytes that a line may have; raises SetupError."""
        try:
            ready = self._exchange(calls.ping(), 0.0, timeout)
        except ServiceUnreachableError as error:
            raise SetupError(f"the service did not start: {error}; what it logged says why") from error
        if not ready.get("ready"):
            reasons = "; ".join(f"{each['model']}: {each['error']}" for each in ready.get("degraded", ()))
            raise SetupError(f"the service did not start: {reasons or 'it is not ready'}")
        return int(ready["max_request_bytes"])

    def _ask(self, call: Call[T], after: float) -> T:
        return self._exchange(call, after, self._timeout)

    def _exchange(self, call: Call[T], after: float, timeout: float) -> T:
        number = next(self._numbers)
        line = call.text(after, op=call.op, request_id=number) + b"\n"
        if self._most_bytes is not None and len(line) > self._most_bytes + 1:
            raise LineTooLongError(f"expected a line of at most {self._most_bytes} bytes, got {len(line) - 1}")
        limit = time.monotonic() + timeout
        future: Future[dict[str, Any]] = Future()
        if not self._room.acquire(timeout=timeout):
            raise ServiceUnreachableError(f"{SOURCE} has owed {MOST_IN_FLIGHT} answers for {timeout:g} s", unsent=True)
        self._send(number, line, future)
        try:
            reply = future.result(max(0.0, limit - time.monotonic()))
        except TimeoutError:
            raise ServiceUnreachableError(f"{SOURCE} has not answered within {timeout:g} s") from None
        return read_answer(call, reply, SOURCE)

    def _send(self, number: int, line: bytes, future: Future[dict[str, Any]]) -> None:
        """Write as much as the pipe takes; the thread writes the rest."""
        with self._lock:
            if self._gone or self._closing:
                self._room.release()
                raise ServiceUnreachableError(self._gone or "the client is closed", unsent=True)
            self._waiting[number] = future
            if not self._outbox:
                line = line[_write(self._stdin, line) :]
            if line:
                self._outbox += line
        if line:
            self._rouse()

    def _rouse(self) -> None:
        """Have the thread look what there is to do."""
        with self._lock:
            if not self._gone:
                os.eventfd_write(self._wake, 1)

    def _serve(self) -> None:
        """Carry lines both ways until there is nobody to carry them for; then say so to all who wait."""
        fault = ""
        try:
            with selectors.DefaultSelector() as selector:
                self._carry(selector)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            fault = in_one_line(error)
            self._process.kill()
        self._end(fault)

    def _carry(self, selector: selectors.BaseSelector) -> None:
        """Read replies, and write what the pipe had no room for, until the service ends its output.

        Raises ServiceUnreachableError for what is no reply to any request that waits.
        """
        left = bytearray()
        writing = False
        selector.register(self._stdout, selectors.EVENT_READ)
        selector.register(self._wake, selectors.EVENT_READ)
        while True:
            with self._lock:
                wanted = bool(self._outbox)
                if wanted != writing:
                    if wanted:
                        selector.register(self._stdin, selectors.EVENT_WRITE)
                    else:
                        selector.unregister(self._stdin)
                    writing = wanted
                if self._closing and not wanted and self._stdin >= 0:
                    os.close(self._stdin)
                    self._stdin = -1
            ready = {key.fd for key, _ in selector.select()}
            if self._wake in ready:
                os.eventfd_read(self._wake)
            if writing and self._stdin in ready:
                with self._lock:
                    del self._outbox[: _write(self._stdin, self._outbox)]
            if self._stdout in ready:
                data = os.read(self._stdout, READ_BYTES)
                if not data:
                    return
                left += data
                if len(left) > MOST_REPLY_BYTES:
                    raise ServiceUnreachableError(f"{SOURCE} has written a line of more than {MOST_REPLY_BYTES} bytes")
                if b"\n" in data:
                    *lines, left = left.split(b"\n")
                    self._take(lines)

    def _take(self, lines: Sequence[bytearray]) -> None:
        """Hand replies to those who wait for them."""
        for line in lines:
            reply = read_reply(bytes(line), SOURCE)
            if "request_id" not in reply and reply.get("op") == "forecast":
                self._pushes.put(reply)
                continue
            number = reply.get("request_id")
            with self._lock:
                future = self._waiting.pop(number, None) if isinstance(number, int) else None
            if future is None:
                raise ServiceUnreachableError(f"{SOURCE} has answered what it was not asked: {shorten(str(reply))}")
            future.set_result(reply)
            self._room.release()

    def _end(self, fault: str) -> None:
        """Say to all who wait, and to all who will ask, that there is no service."""
        try:
            code = self._process.wait(REAP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        with self._lock:
            self._gone = fault or ("the client is closed" if self._closing and code == 0 else _epitaph(code))
            waiting, self._waiting = self._waiting, {}
            for fd in (self._stdin, self._stdout, self._wake):
                if fd >= 0:
                    os.close(fd)
            self._stdin = -1
            self._outbox.clear()
        for future in waiting.values():
            future.set_exception(ServiceUnreachableError(self._gone))
            self._room.release()
        self._pushes.end(None if not fault and code == 0 else self._gone)


def spawn(
    models: str | os.PathLike[str] | None = None,
    *,
    default_model: str | None = None,
    profile: str | None = None,
    arguments: Sequence[str] = (),
    timeout: float = 30.0,
    start_timeout: float = 120.0,
    retries: int = 0,
    log: IO[bytes] | int | None = None,
) -> Child:
    """Start a service in a child process of this interpreter, and return when it is ready.

    Use it in a ``with`` statement, or close it; it also ends when this process does.

    Args:
        models: a folder of models; None for the bundled ones.
        default_model: the name of the model that answers when a request names none.
        profile: how models are compiled; see ``vinocast stdio --help``.
        arguments: further options of ``vinocast stdio``, such as ``["--queue-rows", "100"]``.
        timeout: seconds within which an answer has to come.
        start_timeout: seconds within which the service has to be ready.
        retries: how often a request is made again whose error is ``retryable``, after a random time within its
            ``deadline_ms``.
        log: where the service logs to, as ``subprocess.Popen`` takes it; None for this program's standard error.

    Raises:
        SetupError: it did not start; what it logged says why.
    """
    options = {"--models": models, "--default-model": default_model, "--profile": profile}
    given = [text for name, value in options.items() if value is not None for text in (name, os.fspath(value))]
    # Without -P a folder "vinocast" where this program runs would be taken for the package.
    command = [sys.executable, "-P", "-m", "vinocast", "stdio", *given, *arguments]
    return Child(command, timeout=timeout, start_timeout=start_timeout, retries=retries, log=log)


def _pipes(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Return descriptors of the child's input and output, wide and without waiting, taken over from its object."""
    fds = []
    for stream in (process.stdin, process.stdout):
        if stream is None:
            raise SetupError("the child process has no pipes")
        fd = os.dup(stream.fileno())
        stream.close()
        os.set_blocking(fd, False)
        with contextlib.suppress(OSError):  # a limit of this user: it is slower then
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        fds.append(fd)
    process.stdin = process.stdout = None
    return fds[0], fds[1]


def _write(fd: int, data: bytes | bytearray) -> int:
    """Return how many bytes the pipe took; all of them where nobody reads it any more, which the reader finds out."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0
    except BrokenPipeError:
        return len(data)


def _epitaph(code: int) -> str:
    if code >= 0:
        return f"{SOURCE} has ended with code {code}; what it logged says why"
    # Of those for real time but the first and the last has a name.
    name = next((known.name for known in signal.Signals if known == -code), "for real time")
    return f"{SOURCE} was ended by signal {-code} ({name})"
