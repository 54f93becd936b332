"""``serve --workers N``: processes on disjoint cores behind one port, and the parent that keeps them.

The parent accepts and hands each connection to the next worker in turn. Measured, that is what spreads few connections
over few workers: of a listening socket that all of them share, one worker takes most of what comes at once (16 of 16
connections in half of the cases), and SO_REUSEPORT throws dice for each. A connection stays where it is, so what is
spread is connections, not requests. The parent forks before anything has a thread, and never loads a model.

- A worker that ends before any has been ready ends the service: the settings or the model are wrong.
- One that ends later is started again, after a pause that doubles until it is ready. It gets connections from then on.
- SIGTERM, SIGINT and SIGHUP: nothing new is accepted, the workers answer what they have accepted, then the parent ends.
- A parent that is killed takes its workers with it.
"""

from __future__ import annotations

import errno
import itertools
import logging
import multiprocessing
import os
import selectors
import signal
import socket
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from vinocast.errors import SetupError
from vinocast.process.signals import on_end
from vinocast.transports.http.server import DRAIN_SECONDS, listen_and_say
from vinocast.transports.http.welcome import welcome
from vinocast.transports.workers.worker import CONNECTION, LIVE, READY, run_worker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.context import ForkProcess

    from vinocast.settings import HttpSettings

SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
# A worker gives up what it drains after DRAIN_SECONDS, and then ends.
END_SECONDS = DRAIN_SECONDS + 0.7
MESSAGE_BYTES = 1 << 16
# What a system says that has no descriptor or memory for a connection; the connection stays, to be accepted later.
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
EXHAUSTED_SECONDS, QUIET_SECONDS = 0.05, 10
log = logging.getLogger(__name__)
_fork = multiprocessing.get_context("fork")


def serve_workers(settings: HttpSettings, cpus: Sequence[int]) -> None:
    """Serve with several processes until a signal; raises SetupError when not even the first can start."""
    listeners = listen_and_say(settings)
    supervisor = _Supervisor(settings, listeners, share_out(cpus, settings.workers))
    on_end(lambda *_: supervisor.stop())
    try:
        supervisor.run()
    finally:
        supervisor.end()


def share_out(cpus: Sequence[int], workers: int) -> list[Sequence[int]]:
    """Return the CPUs of each worker: neighbours, and as many for one as for another, give or take one."""
    bounds = [index * len(cpus) // workers for index in range(workers + 1)]
    return [cpus[start:end] for start, end in itertools.pairwise(bounds)]


class _Seat:
    """A share of the CPUs, and the worker on it, if one is running."""

    def __init__(self, cpus: Sequence[int]) -> None:
        self.cpus = cpus
        self.worker: _Worker | None = None
        self.failures = 0  # in a row
        self.due = 0.0  # the moment of time.monotonic from which a worker may be started

    def __str__(self) -> str:
        return f"the worker on CPUs {','.join(map(str, self.cpus))}"


class _Worker:
    """A running process and what it has said of itself."""

    def __init__(self, seat: _Seat, process: ForkProcess, channel: socket.socket) -> None:
        self.seat = seat
        self.process = process
        self.channel = channel
        self.live = False
        self.ready = False
        self.refusal = ""


class _Supervisor:
    def __init__(self, settings: HttpSettings, listeners: list[socket.socket], shares: list[Sequence[int]]) -> None:
        self._settings = settings
        self._listeners = listeners
        self._seats = [_Seat(cpus) for cpus in shares]
        # The one whose turn it is to get a connection stands first.
        self._turns: list[_Worker] = []
        self._proven = False
        self._announced = False
        self._commands = ""
        self._stopping = False
        self._accepting = False
        self._quiet_until = 0.0
        self._selector = selectors.DefaultSelector()
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._selector.register(wake_read, selectors.EVENT_READ, lambda: os.read(wake_read, 4096))

    def stop(self) -> None:
        """Have :meth:`run` return; for a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Keep the workers running and hand connections to them until :meth:`stop`."""
        while not self._stopping:
            empty = [seat for seat in self._seats if seat.worker is None]
            for seat in empty:
                if seat.due <= time.monotonic():
                    self._start(seat)
            pauses = [seat.due - time.monotonic() for seat in empty if seat.worker is None]
            for key, _ in self._selector.select(min(pauses, default=None)):
                if key.fd in self._selector.get_map():  # what came before it may have ended it
                    key.data()

    def end(self) -> None:
        """Accept nothing more and end the workers; raises SetupError when one had to be killed."""
        self._selector.close()
        for listener in self._listeners:
            listener.close()
        for worker in self._turns:
            worker.process.terminate()
        limit, killed = time.monotonic() + END_SECONDS, []
        for worker in self._turns:
            worker.process.join(max(0.0, limit - time.monotonic()))
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()
                killed.append(str(worker.seat))
        if killed:
            raise SetupError(f"{' and '.join(killed)} did not end within {END_SECONDS} s and had to be killed")

    def _start(self, seat: _Seat) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        process = _fork.Process(target=self._work, args=(seat, theirs, ours))
        try:
            process.start()
        except OSError as error:  # no memory, or too many processes
            ours.close()
            self._lose(seat, f"it cannot be forked ({error.strerror})")
            return
        finally:
            theirs.close()
        worker = seat.worker = _Worker(seat, process, ours)
        self._turns.append(worker)
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear(worker))
        self._selector.register(process.sentinel, selectors.EVENT_READ, lambda: self._bury(worker))

    def _work(self, seat: _Seat, channel: socket.socket, parents_end: socket.socket) -> None:
        """Be a worker. Signals are its own, and what the parent has open must end with the parent."""
        on_end(lambda *_: sys.exit(0))
        if self._stopping:  # by a signal that came before
            return
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for inherited in (parents_end, *self._listeners, *(worker.channel for worker in self._turns)):
            inherited.close()
        os.sched_setaffinity(0, seat.cpus)
        run_worker(self._settings, channel)

    def _hear(self, worker: _Worker) -> None:
        """Take in what a worker says of itself."""
        try:
            message = worker.channel.recv(MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if message == LIVE:
            worker.live = True
        elif message.startswith(READY):
            self._commands = message.removeprefix(READY).decode()
            worker.ready = self._proven = True
            worker.seat.failures = 0
        elif message:
            worker.refusal = message.decode()
        else:  # it is about to end
            self._selector.unregister(worker.channel)
        self._accept_or_not()
        if not self._announced and all(seat.worker and seat.worker.ready for seat in self._seats):
            self._announced = True
            if log.isEnabledFor(logging.INFO):
                sys.stderr.write(welcome(self._listeners[0], self._commands))

    def _bury(self, worker: _Worker) -> None:
        """Clear up after a worker that has ended."""
        while worker.channel in self._selector.get_map():
            self._hear(worker)
        worker.channel.close()
        self._selector.unregister(worker.process.sentinel)
        worker.process.join()
        self._turns.remove(worker)
        self._accept_or_not()
        if not self._stopping:
            code = worker.process.exitcode
            self._lose(worker.seat, worker.refusal or f"it ended with code {code} (below 0: a signal)")

    def _lose(self, seat: _Seat, reason: str) -> None:
        """Plan a start for a seat without a worker; raises SetupError if no worker has ever been ready."""
        if not self._proven:
            raise SetupError(f"{seat} cannot be started: {reason}")
        pause = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2**seat.failures)
        seat.worker, seat.failures, seat.due = None, seat.failures + 1, time.monotonic() + pause
        log.error("%s is lost: %s; another is started in %.1f s", seat, reason, pause)

    def _accept_or_not(self) -> None:
        """Look at the listening sockets while there is a worker to hand connections to."""
        accepting = any(worker.live for worker in self._turns)
        if accepting != self._accepting:
            self._accepting = accepting
            for listener in self._listeners:
                if accepting:
                    self._selector.register(listener, selectors.EVENT_READ, partial(self._accept, listener))
                else:
                    self._selector.unregister(listener)

    def _accept(self, listener: socket.socket) -> None:
        """Hand one connection to the next worker that is ready or, while none is, to one that can say so."""
        try:
            connection, _ = listener.accept()
        except OSError as error:
            if error.errno in EXHAUSTED:  # else the client has left
                if time.monotonic() >= self._quiet_until:
                    self._quiet_until = time.monotonic() + QUIET_SECONDS
                    log.error("cannot accept a connection: %s; retried while it lasts", error.strerror)
                time.sleep(EXHAUSTED_SECONDS)  # at once it would be the same again, and so for ever
            return
        with connection:
            able = [worker for worker in self._turns if worker.ready] or [each for each in self._turns if each.live]
            for worker in able:
                try:
                    socket.send_fds(worker.channel, [CONNECTION], [connection.fileno()])
                except OSError:  # it is about to end, or leaves very many where they are
                    continue
                self._turns.remove(worker)
                self._turns.append(worker)
                return
            log.error("no worker takes connections")
