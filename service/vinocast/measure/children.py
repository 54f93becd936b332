"""Processes under measurement, of any kind: started, watched and stopped."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from vinocast.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

# Only a hang reaches it.
PATIENCE = 60.0
# A process that has used no CPU time for so long has nothing left to load.
QUIET_SECONDS = 0.3
STOP_SECONDS = 10.0
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


def proc_stat(pid: int) -> list[str]:
    """Return the fields of a process behind its name, which may hold anything: its state, its parent and so on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, in user mode and in the kernel."""
    user, system = proc_stat(pid)[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
