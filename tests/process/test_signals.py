"""Signals that end a service, whatever its parent has done to them before."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import MODEL, VINOCAST, HttpService, Service, StdioService, wait_until

pytestmark = pytest.mark.slow

two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
SERVICES: list[Any] = [
    pytest.param(StdioService, (), id="stdio"),
    pytest.param(HttpService, (), id="serve"),
    pytest.param(HttpService, ("--workers", "2"), id="workers", marks=two_cores),
]
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def block_all() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    as_a_terminal_has_them()


def ignore(*numbers: int) -> Callable[[], None]:
    def before_exec() -> None:
        as_a_terminal_has_them()
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    return before_exec


def as_a_terminal_has_them() -> None:
    """Whatever the tests themselves were started by."""
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)


def is_up(service: Service) -> None:
    if isinstance(service, StdioService):
        assert service.ask({"op": "ping"})["ready"]


@pytest.mark.parametrize(("kind", "options"), SERVICES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_whose_parent_has_blocked_every_signal_drains_all_the_same(
    kind: Any, options: tuple[str, ...], number: int
) -> None:
    with kind(*options, preexec_fn=block_all) as service:
        is_up(service)
        service.signal(number)
        assert service.wait() == 0
        assert "Traceback" not in service.log


@pytest.mark.parametrize("kind", [StdioService, HttpService])
def test_a_terminal_that_hangs_up_ends_a_service(kind: Any) -> None:
    """Where none is, SIGHUP has ``serve`` look for models, and ends ``stdio``."""
    controller, terminal = os.openpty()
    given = {} if kind is StdioService else {"stdin": terminal}
    try:
        with kind(preexec_fn=as_a_terminal_has_them, **given) as service:
            is_up(service)
            service.signal(signal.SIGHUP)
            assert service.wait() == 0
            assert "Traceback" not in service.log
    finally:
        os.close(controller)
        os.close(terminal)


@pytest.mark.parametrize(("kind", "options"), SERVICES)
def test_signals_that_were_ignored_stay_so_but_for_sigterm_and_sigchld(kind: Any, options: tuple[str, ...]) -> None:
    # As nohup does, a shell for what it puts into the background, and a parent that does not care for its children.
    ignored = ignore(signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
    with kind(*options, preexec_fn=ignored) as service:
        is_up(service)
        service.signal(signal.SIGHUP)
        service.signal(signal.SIGINT)
        if isinstance(service, HttpService):
            for _ in range(10):
                assert httpx.get(f"{service.url}/livez").status_code == 200
        else:
            is_up(service)
        assert service.process.poll() is None
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
        assert "killed" not in service.log


@pytest.mark.parametrize("number", ENDING)
def test_a_command_whose_parent_has_blocked_every_signal_can_be_ended(number: int) -> None:
    # It reads its data from a pipe, whose other end says nothing.
    options = ("evaluate", MODEL, "--data", "/dev/stdin")
    with Service(VINOCAST, *options, stdin=subprocess.PIPE, preexec_fn=block_all) as service:
        status = Path(f"/proc/{service.process.pid}/status")
        bit = 1 << (number - 1)
        wait_until(lambda: not int(status.read_text().partition("SigBlk:")[2].split()[0], 16) & bit, "unblocked")
        service.signal(number)
        assert service.wait() != 0


@two_cores
def test_a_worker_drains_at_sigterm_though_the_parent_of_all_has_blocked_it() -> None:
    with HttpService("--workers", "2", preexec_fn=block_all) as service:
        wait_until(lambda: "is ready on http" in service.log, "all are ready")
        pid = service.process.pid
        with open(f"/proc/{pid}/task/{pid}/children") as file:  # noqa: PTH123 - no file of ours
            worker = int(file.read().split()[0])
        os.kill(worker, signal.SIGTERM)
        wait_until(lambda: "it ended with code 0" in service.log, "the worker has drained")
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
