"""A peer as a process: started on free ports of the loopback, frozen while others are measured, stopped with all of it.

A peer may be a dozen processes, some of which leave their session and outlive their parent. So its first process is
made the reaper of its descendants: whoever is orphaned becomes its child, and the tree below it is complete.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from vinocast.measure.bench.load import Client
from vinocast.measure.bench.processes import Connections
from vinocast.measure.children import PR_SET_PDEATHSIG, Process, cpu_seconds, proc_stat

from benchmarks.peers.catalogue import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from benchmarks.peers.catalogue import Peer

PR_SET_CHILD_SUBREAPER = 36
# Ray takes ten on a quiet machine.
START_SECONDS = 150.0
# A request that comes while a server still starts may hang; it is asked again.
ASK_SECONDS = 5.0
_LIBC = ctypes.CDLL(None)


class PeerProcess(Process):
    """A running peer.

    Args:
        peer: which.
        venv: folder of its virtual environment.
        graph: path of what it serves.
        scratch: folder it may write to.
    """

    def __init__(self, peer: Peer, venv: Path, graph: Path, scratch: Path) -> None:
        ports = _free_ports(3)
        names = dict(zip(("port", "second_port", "third_port"), ports, strict=True)) | {"scratch": str(scratch)}
        variables = {name: value.format(**names) for name, value in peer.environment.items()}
        own = {"PEER_MODEL": str(graph), "PEER_PORT": str(ports[0]), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        own["HOME"] = str(scratch)
        path = f"{venv / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        program, *arguments = (part.format(**names) for part in peer.command)
        self._peer, self._port, self._connections = peer, ports[0], Connections()
        super().__init__(
            *arguments,
            program=venv / "bin" / program,
            cwd=scratch,
            env=os.environ | variables | own | {"PATH": path},
            preexec_fn=_prepare,
            # A group of its own: should the benchmark be killed, the kernel wakes what is frozen and hangs it up.
            process_group=0,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connections.close()
        self.thaw()
        tree = {pid: _started(pid) for pid in self._tree()}
        super().__exit__(kind, error, trace)
        for pid, started in tree.items():
            # The kernel may have given the number to another process since.
            if started and _started(pid) == started:
                _signal(pid, signal.SIGKILL)

    def first_answer(self, body: bytes) -> float:
        """Ask until it answers, and return the seconds from its spawn to the answer.

        Raises SetupError with its log when it ends or takes too long.
        """
        self.wait_until(lambda: self._answers(body), f"{self._peer.title}, starting", START_SECONDS)
        return time.perf_counter() - self.spawned

    def client(self, clients: int) -> Client:
        """Return as many clients as asked for, each with a new keep-alive connection."""
        return Client(self._connections.open(self._port, clients), 1, identified=False)

    @property
    def rss_mb(self) -> float:
        """Resident memory of all its processes, in MB of 10^6 bytes; what they share counts once for each."""
        return sum(map(_rss_mb, self._tree()))

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all its processes."""
        used = 0.0
        for pid in self._tree():
            with contextlib.suppress(OSError):
                used += cpu_seconds(pid)
        return used

    def freeze(self) -> None:
        """Stop it where it stands: some peers are busy even when nobody asks."""
        self._connections.close()
        for pid in self._tree():
            _signal(pid, signal.SIGSTOP)

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run for a while."""
        self.thaw()
        try:
            yield
        finally:
            self.freeze()

    def thaw(self) -> None:
        """Let it go on."""
        for pid in self._tree():
            _signal(pid, signal.SIGCONT)

    def _answers(self, body: bytes) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ASK_SECONDS)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("POST", self._peer.path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            return response.status == http.HTTPStatus.OK
        return False

    def _tree(self) -> list[int]:
        """Return the process and all its descendants, parents first."""
        children: dict[int, list[int]] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent = int(proc_stat(int(folder.name))[1])
                children.setdefault(parent, []).append(int(folder.name))
        tree = [self._process.pid]
        for pid in tree:
            tree += children.get(pid, [])
        return tree


def _prepare() -> None:
    """Run in the child before the program: end with the parent, reap the descendants, and log what is printed."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    _LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
    os.dup2(2, 1)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in sockets]


def _started(pid: int) -> str:
    """Return when a process started, or nothing if there is none."""
    try:
        return proc_stat(pid)[19]
    except OSError:
        return ""


def _rss_mb(pid: int) -> float:
    with contextlib.suppress(OSError):
        kib = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        return int(kib[1]) * 1024 / 1e6 if kib else 0.0
    return 0.0


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
