"""The run: start the service, let the clients at it, do harm to its machine, and say what came of it."""

from __future__ import annotations

import contextlib
import http.client
import multiprocessing
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks.chaos import machine
from benchmarks.chaos.clients import ATTACKS, RIGHT, collected, good_requests, work
from benchmarks.chaos.wire import PATIENCE, Ledger, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.synchronize import Event

MOST_MIB = 1024.0
MOST_LIVEZ_MS = 100.0
# Between the first rest after an attack and the last, at which allocators keep what they keep.
MOST_GROWTH_MIB = 32.0
REST_EVERY = 15.0
SAMPLE_SECONDS = 0.5
STOPPED_SECONDS = 1.0
# What was harmed is given so long to be as before; probes and losses within are told apart.
MEND_SECONDS = 5.0
GRACE_SECONDS = 5.0
LISTENING = re.compile(r"running on http://127\.0\.0\.1:(\d+)")


@dataclass
class Run:
    """What was seen of the service from outside.

    Attributes:
        rests: when it rested, and what it took then.
        peak: the most MiB.
        harmed: from when to when its machine was harmed, and how.
        ended: when it was told to end.
        faults: what must not be.
    """

    rests: list[tuple[float, machine.Taken]] = field(default_factory=list)
    peak: float = 0.0
    harmed: list[tuple[float, float, str]] = field(default_factory=list)
    ended: float = float("inf")
    faults: list[str] = field(default_factory=list)

    def harm_between(self, start: float, end: float) -> str | None:
        """Return what was done to the machine between two moments."""
        return next((what for begin, finish, what in self.harmed if begin < end and start < finish), None)


@click.command(context_settings={"show_default": True})
@click.option("--seconds", default=60.0, type=click.FloatRange(10), help="How long the clients go on.")
@click.option("--workers", default=1, type=click.IntRange(1), help="As of vinocast serve; with two, one is killed.")
@click.option("--only", type=click.Choice(list(ATTACKS)), multiple=True, help="These attacks alone.")
@click.option("--calm", is_flag=True, help="Do no harm to the machine.")
def main(seconds: float, workers: int, only: tuple[str, ...], calm: bool) -> None:
    """Run every kind of client at once against `vinocast serve`; exit with 1 where anything is not as it must be."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, context) as pool:
        good = pool.submit(good_requests).result()
    run = Run()
    kinds = ["probe", "good", *(only or ATTACKS)]
    with machine.small_disk() as (disk, small), _service(disk, workers, calm=calm) as (service, log):
        port = _port(service, log, workers)
        going, ended = context.Event(), context.Event()
        world = World(port, going, ended, good)
        resting = {kind: context.Event() for kind in kinds}
        reports = context.Queue()
        arguments = [(kind, world, resting[kind], reports) for kind in kinds]
        clients = [context.Process(target=work, args=each, daemon=True) for each in arguments]
        for client in clients:
            client.start()
        threading.Thread(target=_watch, args=(run, service.pid, ended), daemon=True).start()
        _rest(run, service.pid, resting)
        if not small:
            print("the disk of the log is as it is: none of its own can be mounted here")
        harm = threading.Thread(target=_harm, args=(run, service.pid, workers, disk if small else None, seconds))
        if not calm:
            harm.start()
        _go_on(run, service.pid, seconds, going, resting)
        if not calm:
            harm.join()
        run.ended = time.monotonic()
        service.send_signal(signal.SIGTERM)
        _end(run, service)
        ended.set()
        ledgers = list(collected(reports, len(kinds)))
        for client in clients:
            client.join(PATIENCE)
            client.kill()
        text = log.read_text(errors="replace")
    if len(ledgers) < len(kinds):
        run.faults.append("a client did not report")
    if "Traceback" in text or "internal error" in text:
        run.faults.append(f"the log holds a traceback: {text[text.find('Traceback') :][:2000]}")
    _tell(run, ledgers)
    sys.exit(bool(run.faults))


@contextlib.contextmanager
def _service(disk: Path, workers: int, *, calm: bool) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Start the service with its log on a disk that will be full, and without /dev/shm."""
    before = [] if calm else machine.without_shm()
    print("/dev/shm: " + ("none" if before else "as it is"))
    command = [str(Path(sys.executable).parent / "vinocast"), "serve", "--port", "0", "--workers", str(workers)]
    log = disk / "log"
    with log.open("wb") as file, subprocess.Popen([*before, *command], stderr=file, cwd=disk) as service:
        try:
            yield service, log
        finally:
            for pid in reversed(machine.tree(service.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _port(service: subprocess.Popen[bytes], log: Path, workers: int) -> int:
    """Return the port once each worker is likely to have answered that it is ready."""
    limit, ready, port = time.monotonic() + PATIENCE, 0, 0
    while time.monotonic() < limit and service.poll() is None:
        time.sleep(0.1)
        found = LISTENING.search(log.read_text(errors="replace"))
        port = int(found[1]) if found else 0
        with contextlib.suppress(OSError), contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as client:
            client.request("GET", "/readyz")
            ready = ready + 1 if client.getresponse().status == HTTPStatus.OK else 0
        if ready == 2 * workers:
            return port
    raise click.ClickException(f"the service did not get ready: {log.read_text(errors='replace')}")


def _harm(run: Run, pid: int, workers: int, disk: Path | None, seconds: float) -> None:
    """Do harm to the service's machine, one thing after the other, from a fifth of the time on."""

    def note(begin: float, what: str) -> None:
        run.harmed.append((begin, time.monotonic() + MEND_SECONDS, what))
        print(f"  {what}", flush=True)

    time.sleep(seconds / 5)
    if disk is not None:
        machine.fill(disk)
        print("  the disk of the log is full from here on", flush=True)
    begin = time.monotonic()
    machine.stop(pid, STOPPED_SECONDS)
    note(begin, f"SIGSTOP for {STOPPED_SECONDS:.0f} s")
    if workers > 1:
        time.sleep(seconds / 10)
        begin = time.monotonic()
        os.kill(machine.tree(pid)[-1], signal.SIGKILL)
        note(begin, "kill -9 of a worker")
    time.sleep(seconds / 10)
    begin = time.monotonic()
    means = machine.half_a_core(pid, seconds / 6)
    note(begin, f"half a core for {seconds / 6:.0f} s: {means}")


def _go_on(run: Run, pid: int, seconds: float, going: Event, resting: dict[str, Event]) -> None:
    """Let the clients go on for so long, and have all of them rest from time to time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        going.set()
        time.sleep(max(0.0, min(end - time.monotonic(), REST_EVERY, seconds / 4)))
        going.clear()
        _rest(run, pid, resting)
    going.set()
    time.sleep(1)


def _watch(run: Run, pid: int, ended: Event) -> None:
    """Note the most that the service takes."""
    while not ended.wait(SAMPLE_SECONDS):
        run.peak = max(run.peak, machine.taken(pid).memory)


def _rest(run: Run, pid: int, resting: dict[str, Event]) -> None:
    """Wait until no client has a connection open and the service has none, and note what it takes."""
    for kind, event in resting.items():
        if not event.wait(2 * PATIENCE):
            run.faults.append(f"{kind} does not get to rest")
    limit = time.monotonic() + MEND_SECONDS
    now = machine.taken(pid)
    while run.rests and now.descriptors > run.rests[0][1].descriptors and time.monotonic() < limit:
        time.sleep(0.1)
        now = machine.taken(pid)
    run.rests.append((time.monotonic(), now))


def _end(run: Run, service: subprocess.Popen[bytes]) -> None:
    try:
        code = service.wait(2 * GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        run.faults.append(f"still there {2 * GRACE_SECONDS:.0f} s after SIGTERM")
        return
    took = time.monotonic() - run.ended
    print(f"  SIGTERM: code {code} after {took:.1f} s", flush=True)
    if code or took > GRACE_SECONDS:
        run.faults.append(f"SIGTERM: code {code} after {took:.1f} s")


def _tell(run: Run, ledgers: list[Ledger]) -> None:
    """Print what came of it, and add what must not be to the faults."""
    heads = ("asked", "answered", "refused", "left", "not taken", "lost", "doubled", "wrong")
    print(f"{'client':16}" + "".join(f"{head:>10}" for head in heads))
    for ledger in ledgers:
        # What had come when a worker was killed is lost, as docs/deployment.md says, and no new request at an end.
        lost = [
            each
            for each in ledger.lost
            if (ledger.kind in RIGHT or each[1] < run.ended)
            and each[0] < run.ended - 0.05
            and "kill" not in (run.harm_between(*each[:2]) or "")
        ]
        wrong = sum(ledger.wrong.values())
        counts = (ledger.asked, ledger.answered, ledger.refused, ledger.left, ledger.not_taken, len(lost))
        print(f"{ledger.kind:16}" + "".join(f"{count:10}" for count in (*counts, ledger.doubled, wrong)))
        refusals = ", ".join(f"{count} x {code}" for code, count in sorted(ledger.codes.items()))
        print(f"{'':16}  {refusals}" if refusals else "", end="\n" if refusals else "")
        run.faults += [f"{ledger.kind}: lost: {Counter(text for _, _, text in lost)}"] if lost else []
        run.faults += [f"{ledger.kind}: {ledger.doubled} replies too many"] if ledger.doubled else []
        run.faults += [f"{ledger.kind}: {count} x {what}" for what, count in ledger.wrong.items()]
        if ledger.kind == "good" and not ledger.answered:
            run.faults.append("good: nothing was answered")
        if ledger.kind == "probe":
            _tell_livez(run, ledger)
    _tell_taken(run)
    print("\n".join(["", *(f"FAULT {fault}" for fault in run.faults)]) if run.faults else "all as it must be")


def _tell_livez(run: Run, ledger: Ledger) -> None:
    plain = [each[2] for each in ledger.milliseconds if not run.harm_between(*each[:2]) and each[0] < run.ended]
    harmed = [each[2] for each in ledger.milliseconds if run.harm_between(*each[:2])]
    for name, times in (("/livez", plain), ("/livez, harmed", harmed)):
        if len(times) > 1:
            cuts = statistics.quantiles(times, n=100, method="inclusive")
            print(f"  {name}: p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms, longest {max(times):.0f} ms")
            if times is plain and cuts[98] > MOST_LIVEZ_MS:
                run.faults.append(f"/livez: p99 {cuts[98]:.0f} ms, more than {MOST_LIVEZ_MS:.0f}")


def _tell_taken(run: Run) -> None:
    """Print what the service took at each rest; its first is that before any client."""
    print(f"{'rest':16}{'MiB':>10}{'files':>10}{'threads':>10}")
    for moment, taken in run.rests:
        print(f"{moment - run.rests[0][0]:14.0f} s{taken.memory:10.0f}{taken.descriptors:10}{taken.threads:10}")
    print(f"  most {run.peak:.0f} MiB", flush=True)
    (_, before), (began, first), (ended, last) = run.rests[0], run.rests[1], run.rests[-1]
    minutes = max(ended - began, 1) / 60
    print(f"  slope {(last.memory - first.memory) / minutes:+.1f} MiB a minute")
    if run.peak > MOST_MIB:
        run.faults.append(f"memory: {run.peak:.0f} MiB, more than {MOST_MIB:.0f}")
    if last.memory - first.memory > MOST_GROWTH_MIB:
        run.faults.append(f"memory: {last.memory - first.memory:+.0f} MiB from the first rest to the last")
    if last.descriptors > before.descriptors:
        run.faults.append(f"descriptors: {before.descriptors} before, {last.descriptors} behind")
    # Some of OpenVINO's are made when they are first needed.
    warm = max(taken.threads for _, taken in run.rests[: len(run.rests) // 2 + 1])
    if last.threads > warm:
        run.faults.append(f"threads: {warm} in the first half, {last.threads} at the last rest")


if __name__ == "__main__":
    main()
