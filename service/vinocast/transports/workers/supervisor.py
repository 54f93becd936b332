"""``serve --workers N``: processes on disjoint cores behind one port, and the parent that keeps them.

The parent accepts and hands each connection to the next worker in turn. Measured, that is what spreads few connections
over few workers: of a listening socket that all of them share, one worker takes most of what comes at once (16 of 16
connections in half of the cases), and SO_REUSEPORT throws dice for each. A connection stays where it is, so what is
spread is connections, not requests. The parent forks before anything has a thread, and never loads a model.

- A worker that ends before any has been ready ends the service: the settings or the model are wrong.
- One that ends later is started again, after a pause that doubles until it is ready. It gets connections from then on.
- Each is asked every second whether its event loop turns. One that is silent gets no connections while another answers;
  one that stays silent is killed and replaced, and what it has not yet taken over goes to others.
- SIGHUP, where no terminal hangs up, goes to each of the workers, which look at the folder of models again.
- SIGTERM and SIGINT: what has connected is handed over and nothing new is accepted, the workers answer what
  they have, what a silent one has not taken over goes to others, then the parent ends.
- A parent that is killed takes its workers with it.
"""

from __future__ import annotations

import contextlib
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
from vinocast.monitoring.metrics import forget_process
from vinocast.process import service_manager
from vinocast.process.signals import on_end, on_hangup
from vinocast.transports.http.accepting import EXHAUSTED, EXHAUSTED_SECONDS, QUIET_SECONDS
from vinocast.transports.http.drain import HANDSHAKE_SECONDS, accept_all, stop_handshakes
from vinocast.transports.http.listeners import listen
from vinocast.transports.http.server import DRAIN_SECONDS, POLL_SECONDS, listen_and_say
from vinocast.transports.http.welcome import welcome
from vinocast.transports.workers.seats import Seat, Worker
from vinocast.transports.workers.worker import (
    ANSWER,
    CONNECTION,
    LEAVING,
    LIVE,
    READY,
    RELOADED,
    run_worker,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vinocast.settings import HttpSettings

SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
# A worker gives up what it drains after DRAIN_SECONDS, and then ends.
END_SECONDS = DRAIN_SECONDS + 0.7
MESSAGE_BYTES = 1 << 16
TICK_SECONDS = 1.0
PARTING_TICKS = 2
# After that pause what no worker could take is offered again.
HELD_SECONDS = 0.05
# How long the workers may take to have room for all that had connected, when the service ends.
HAND_OVER_SECONDS = 1.0
# How long a worker may take then to say that it leaves. Together less than what those that have said so wait for it.
SILENT_SECONDS = 1.0
log = logging.getLogger(__name__)
_fork = multiprocessing.get_context("fork")


def serve_workers(settings: HttpSettings, cpus: Sequence[int]) -> None:
    """Serve with several processes until a signal; raises SetupError when not even the first can start."""
    if settings.grpc_port is not None:
        # Each worker will listen on it, and without a word beside any other service that shares its ports so.
        for probe in listen(settings.host, settings.grpc_port, "--grpc-port"):
            probe.close()
    listeners = listen_and_say(settings)
    supervisor = _Supervisor(settings, listeners, share_out(cpus, settings.workers))
    on_end(lambda *_: supervisor.stop())
    on_hangup(lambda *_: supervisor.reload())
    try:
        supervisor.run()
    finally:
        supervisor.end()


def share_out(cpus: Sequence[int], workers: int) -> list[Sequence[int]]:
    """Return the CPUs of each worker: neighbours, and as many for one as for another, give or take one."""
    bounds = [index * len(cpus) // workers for index in range(workers + 1)]
    return [cpus[start:end] for start, end in itertools.pairwise(bounds)]


class _Supervisor:
    def __init__(self, settings: HttpSettings, listeners: list[socket.socket], shares: list[Sequence[int]]) -> None:
        self._settings = settings
        self._listeners = listeners
        self._seats = [Seat(cpus) for cpus in shares]
        # The one whose turn it is to get a connection stands first.
        self._turns: list[Worker] = []
        # What no worker could take yet.
        self._held: list[socket.socket] = []
        self._proven = False
        self._announced = False
        self._commands = ""
        # Those that look at the folder of models, after the service manager was told.
        self._reloading: list[Worker] = []
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

    def reload(self) -> None:
        """Have every worker look at the folder of models again; for a signal handler."""
        if self._announced:
            service_manager.tell(service_manager.reloading())
            self._reloading = [worker for worker in self._turns if worker.ready]
        for worker in self._turns:
            if worker.ready and worker.process.pid is not None:
                with contextlib.suppress(ProcessLookupError):  # it has ended, as will be seen
                    os.kill(worker.process.pid, signal.SIGHUP)

    def _has_reloaded(self, worker: Worker) -> None:
        """Tell the service manager once the last of the workers has, or has ended."""
        if worker in self._reloading:
            self._reloading.remove(worker)
            if not (self._reloading or self._stopping):
                service_manager.tell(service_manager.READY)

    def run(self) -> None:
        """Keep the workers running and hand connections to them until :meth:`stop`."""
        tick = time.monotonic() + TICK_SECONDS
        while not self._stopping:
            empty = [seat for seat in self._seats if seat.worker is None]
            for seat in empty:
                if seat.due <= time.monotonic():
                    self._start(seat)
            due = [tick, *(seat.due for seat in empty if seat.worker is None)]
            pause = HELD_SECONDS if self._held else max(0.0, min(due) - time.monotonic())
            self._attend(pause)
            self._offer_held()
            if time.monotonic() >= tick:
                self._tick()
                tick = time.monotonic() + TICK_SECONDS

    def _attend(self, seconds: float) -> None:
        """Wait for something to happen, at most so long, and see to it."""
        for key, _ in self._selector.select(seconds):
            if key.fd in self._selector.get_map():  # what came before it may have ended it
                key.data()

    def _tick(self) -> None:
        """Ask each worker whether it turns, and kill the one that has not for too long."""
        if service_manager.watchdog_seconds() is not None:
            service_manager.tell(service_manager.WATCHDOG)
        for worker in self._turns:
            worker.ask()
            if worker.leaving and worker.silent >= PARTING_TICKS:
                worker.part()
            if worker.hangs and not worker.refusal:
                worker.refusal = f"it has not answered for {worker.silent * TICK_SECONDS:.0f} s and was killed"
                worker.process.kill()

    def end(self) -> None:
        """Accept what has connected and nothing more, and end the workers; raises SetupError when one was killed."""
        self._stopping = True
        service_manager.tell(service_manager.STOPPING)
        self._hand_over_the_rest()
        for listener in self._listeners:
            listener.close()
        for worker in self._turns:
            worker.process.terminate()
        limit, killed = time.monotonic() + END_SECONDS, []
        silent = self._take_back()
        for connection in self._held:
            connection.close()
        self._selector.close()
        for worker in self._turns:
            worker.part()
        for worker in (*self._turns, *silent):
            worker.process.join(max(0.0, limit - time.monotonic()))
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()
                killed.append(str(worker.seat))
        if killed:
            raise SetupError(f"{' and '.join(killed)} did not end within {END_SECONDS} s and had to be killed")

    def _hand_over_the_rest(self) -> None:
        """Hand over every connection that has been made, while none begins."""
        stop_handshakes(self._listeners)
        time.sleep(HANDSHAKE_SECONDS)
        self._held += accept_all(self._listeners)
        self._offer_for_a_while()

    def _take_back(self) -> list[Worker]:
        """Hand what workers that are silent, or gone, have not taken over to those that have said that they leave.

        Returns the silent ones, which get nothing more. Where no other is left, all stays as it is: they may wake up.
        """
        limit = time.monotonic() + SILENT_SECONDS
        while not all(worker.leaving for worker in self._turns) and time.monotonic() < limit:
            self._attend(POLL_SECONDS)
        silent = [worker for worker in self._turns if not worker.leaving]
        if len(silent) == len(self._turns):
            return []
        for worker in silent:
            self._turns.remove(worker)
            worker.part()
            self._held += worker.untaken()
        self._offer_for_a_while()
        return silent

    def _offer_for_a_while(self) -> None:
        """Hand over what is held, as workers come to have room for it."""
        limit = time.monotonic() + HAND_OVER_SECONDS
        self._offer_held()
        while self._held and self._turns and time.monotonic() < limit:
            time.sleep(POLL_SECONDS)
            self._offer_held()

    def _start(self, seat: Seat) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        theirs.setblocking(False)
        process = _fork.Process(target=self._work, args=(seat, theirs, ours))
        try:
            process.start()
        except OSError as error:  # no memory, or too many processes
            ours.close()
            theirs.close()
            self._lose(seat, f"it cannot be forked ({error.strerror})")
            return
        worker = seat.worker = Worker(seat, process, ours, theirs)
        self._turns.append(worker)
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear(worker))
        self._selector.register(process.sentinel, selectors.EVENT_READ, lambda: self._bury(worker))

    def _work(self, seat: Seat, channel: socket.socket, parents_end: socket.socket) -> None:
        """Be a worker. Signals are its own, and what the parent has open must end with the parent."""
        on_end(lambda *_: sys.exit(0))
        service_manager.leave_to_parent()
        if self._stopping:  # by a signal that came before
            return
        signal.set_wakeup_fd(-1)
        self._selector.close()
        others = (end for worker in self._turns for end in (worker.channel, worker.far_end))
        for inherited in (parents_end, *self._listeners, *self._held, *others):
            inherited.close()
        os.sched_setaffinity(0, seat.cpus)
        run_worker(self._settings, channel)

    def _hear(self, worker: Worker) -> bool:
        """Take in what a worker says of itself; return whether it said anything."""
        try:
            message = worker.channel.recv(MESSAGE_BYTES)
        except OSError:
            return False
        if not message:
            return False
        worker.silent, worker.asked = 0, False
        if message == LIVE:
            worker.live = True
        elif message == LEAVING:
            worker.leaving, worker.live, worker.ready = True, False, False
        elif message.startswith(READY):
            self._commands = message.removeprefix(READY).decode()
            worker.ready = self._proven = True
            worker.seat.failures = 0
        elif message == RELOADED:
            self._has_reloaded(worker)
        elif message != ANSWER:
            worker.refusal = message.decode()
        self._accept_or_not()
        if not (self._announced or self._stopping) and all(seat.worker and seat.worker.ready for seat in self._seats):
            self._announced = True
            service_manager.tell(service_manager.READY)
            if log.isEnabledFor(logging.INFO):
                sys.stderr.write(welcome(self._listeners[0], self._commands))
        return True

    def _bury(self, worker: Worker) -> None:
        """Clear up after a worker that has ended."""
        while self._hear(worker):
            pass
        self._held += worker.untaken()
        self._selector.unregister(worker.channel)
        worker.channel.close()
        worker.far_end.close()
        self._selector.unregister(worker.process.sentinel)
        worker.process.join()
        if worker.process.pid is not None:
            forget_process(worker.process.pid)
        self._turns.remove(worker)
        self._has_reloaded(worker)
        self._accept_or_not()
        if not self._stopping:
            code = worker.process.exitcode
            self._lose(worker.seat, worker.refusal or f"it ended with code {code} (below 0: a signal)")

    def _lose(self, seat: Seat, reason: str) -> None:
        """Plan a start for a seat without a worker; raises SetupError if no worker has ever been ready."""
        if not self._proven:
            raise SetupError(f"{seat} cannot be started: {reason}")
        pause = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2**seat.failures)
        seat.worker, seat.failures, seat.due = None, seat.failures + 1, time.monotonic() + pause
        log.error("%s is lost: %s; another is started in %.1f s", seat, reason, pause)

    def _accept_or_not(self) -> None:
        """Look at the listening sockets while there is a worker to hand connections to."""
        accepting = any(worker.live for worker in self._turns) and not (self._held or self._stopping)
        if accepting != self._accepting:
            self._accepting = accepting
            for listener in self._listeners:
                if accepting:
                    self._selector.register(listener, selectors.EVENT_READ, partial(self._accept, listener))
                else:
                    self._selector.unregister(listener)

    def _accept(self, listener: socket.socket) -> None:
        """Hand one connection over, or hold it and accept no other until it is."""
        try:
            connection, _ = listener.accept()
        except OSError as error:
            if error.errno in EXHAUSTED:  # else the client has left
                if time.monotonic() >= self._quiet_until:
                    self._quiet_until = time.monotonic() + QUIET_SECONDS
                    log.error("cannot accept a connection: %s; retried while it lasts", error.strerror)
                time.sleep(EXHAUSTED_SECONDS)  # at once it would be the same again, and so for ever
            return
        self._held.append(connection)
        self._offer_held()

    def _offer_held(self) -> None:
        """Hand over what is held, as far as workers take it."""
        while self._held and self._hand_over(self._held[0]):
            self._held.pop(0).close()
        self._accept_or_not()

    def _hand_over(self, connection: socket.socket) -> bool:
        """Send a connection to the next worker that is ready or, while none is, to one that can say so."""
        choices = (
            [worker for worker in self._turns if worker.ready and not worker.silent],
            [worker for worker in self._turns if worker.ready],
            [worker for worker in self._turns if worker.live],
            self._turns if self._stopping else [],  # they have been told before, and take what comes
        )
        for worker in next(filter(None, choices), []):
            with contextlib.suppress(OSError):  # it is about to end, or leaves very many where they are
                socket.send_fds(worker.channel, [CONNECTION], [connection.fileno()])
                self._turns.remove(worker)
                self._turns.append(worker)
                return True
        return False
