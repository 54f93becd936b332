"""JSON lines on standard input and output, for a parent process.

One thread does everything in turn: read what has come, run one inference, write what fits. So a request meets no
hand-over between threads, the reader never waits for the writer, and a parent that writes without reading cannot lock
it up. What this transport promises:

- Standard output carries replies only: file descriptor 1 is copied and then points at standard error, so that no
  library can break a line.
- Every request line gets exactly one reply line, also garbage and lines over the limit.
- Replies that nobody reads are kept up to a limit; beyond it, reading and computing pause until some are read.
- At end of input, and at SIGTERM, SIGINT or SIGHUP, what was read is answered; then the process ends with code 0.
- When the parent dies the process ends, even if another process still holds the pipe open.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from typing import TYPE_CHECKING

from vinocast.dataplane import DataPlane
from vinocast.errors import LineTooLongError, RequestError
from vinocast.ops import OPS
from vinocast.process.descriptors import STDIN, write_some
from vinocast.process.signals import on_end
from vinocast.protocols.json import JsonProtocol, Message, echo
from vinocast.transports.lines import LineSplitter

if TYPE_CHECKING:
    from vinocast.settings import StdioSettings
    from vinocast.transports.reply_queue import Replies

# What a pipe holds, unless its owner has enlarged it, and what it then can hold at most.
READ_BYTES, LARGEST_PIPE = 1 << 16, 1 << 20
PARENT_CHECK_SECONDS = 0.5
# After a signal, how long a client that does not read its last replies is waited for, and how long a model is that some
# wait for: docker kills after ten seconds.
DRAIN_SECONDS, LOADING_SECONDS = 4.0, 8.0

log = logging.getLogger(__name__)


def serve_stdio(settings: StdioSettings, replies: Replies, parent: int) -> int:
    """Serve until end of input, a signal, or the death of the process ``parent``; return the exit code."""
    return _StdioServer(settings, replies, parent).run()


class _StdioServer:
    def __init__(self, settings: StdioSettings, replies: Replies, parent: int) -> None:
        self._parent = parent
        self._replies = replies
        self._max_unread = settings.max_unread_reply_bytes
        self._plane = DataPlane(settings, OPS)
        self._json = JsonProtocol(self._plane, OPS)
        self._plane.push = lambda pushed: replies.append(self._json.pushed(pushed))
        self._splitter = LineSplitter(self._plane.max_request_bytes)
        # What was parsed is kept until the replies are out: to free the numbers of a window takes 25 us.
        self._parsed: list[Message] = []
        self._reading = True
        self._signalled = 0.0  # when, by time.monotonic
        self._last_progress = 0.0

    def run(self) -> int:
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # Python writes the number of each signal into the pipe; the loader writes a zero when a model has settled.
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        on_end(lambda *_: None)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        self._plane.start(lambda: write_some(wake_write, b"\0"), on_demand=True)
        try:
            return self._loop(wake_read)
        except OSError as error:
            log.error("standard input or standard output failed: %s", error.strerror)
            return 1
        finally:
            self._plane.stop()

    def _loop(self, wake_read: int) -> int:
        next_parent_check = 0.0
        while True:
            busy = self._replies.unread < self._max_unread and self._plane.lane.step()
            wrote = self._replies.write()
            self._parsed.clear()
            if not self._reading and not len(self._plane.lane) and not self._replies.unread:
                return 0 if self._plane.default_model.refused is None else 1
            now = time.monotonic()
            if now >= next_parent_check:
                next_parent_check = now + PARENT_CHECK_SECONDS
                busy = self._plane.keep_state() or busy
                if os.getppid() != self._parent:
                    log.warning("the parent process is gone")
                    # Nobody is left to answer, so do not wait for a model that is still being compiled either.
                    self._plane.stop()
                    os._exit(1)
            if busy or wrote or not self._replies.unread:
                self._last_progress = now
            if self._signalled and not busy and now - self._signalled > LOADING_SECONDS:
                # What waits now waits for a model, and is refused in the next rounds.
                self._plane.give_up_loading()
            if self._signalled and now - self._last_progress > DRAIN_SECONDS:
                log.error(
                    "%d requests and %d bytes of replies are left behind", len(self._plane.lane), self._replies.unread
                )
                return 1
            self._poll(wake_read, 0 if busy else PARENT_CHECK_SECONDS)

    def _poll(self, wake_read: int, timeout: float) -> None:
        """Wait for input, for room for output, or for a wake-up; take in what has come."""
        poller = select.poll()
        poller.register(wake_read, select.POLLIN)
        if self._reading and self._replies.unread < self._max_unread:
            poller.register(STDIN, select.POLLIN)
        if self._replies.unread:
            poller.register(self._replies.fd, select.POLLOUT)
        for fd, _ in poller.poll(timeout * 1e3):
            if fd == wake_read:
                woken = os.read(wake_read, 4096)
                if any(woken):
                    self._stop_reading()
            elif fd == STDIN and self._reading:
                self._read()

    def _read(self) -> None:
        data = os.read(STDIN, READ_BYTES)
        received = time.monotonic()
        lines = self._splitter.feed(data) if data else self._splitter.finish()
        if not data:
            self._reading = False
        for line in lines:
            self._accept(line, received)

    def _stop_reading(self) -> None:
        """On a signal: take what stands in the pipe at this moment, at most the largest pipe full, then no more."""
        for _ in range(LARGEST_PIPE // READ_BYTES):
            if self._reading and select.select([STDIN], [], [], 0)[0]:
                self._read()
        self._reading = False
        self._signalled = self._last_progress = time.monotonic()

    def _accept(self, line: bytes | LineTooLongError, received: float) -> None:
        """Start on one line; its reply is written now or when the lane comes to it."""
        try:
            if isinstance(line, LineTooLongError):
                raise line
            message = Message(line)
        except RequestError as error:
            self._json.refuse(echo({}), error, self._replies.append, received)
            return
        self._parsed.append(message)
        self._json.start(message, received, self._replies.append)
