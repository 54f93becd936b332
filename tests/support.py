"""The services as their users start them, requests for them, and what the models themselves answer."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray
from vinocast.engine.profiles import ISA_CAP_VARIABLES

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
# What a test that is marked shared_data needs.
SHARED_DATA = Path(os.environ.get("VINOCAST_SHARED_DATA", ROOT.parent / "shared" / "data"))
MODEL = "patchtst-etth1"
CHANNELS = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]
VINOCAST = Path(sys.executable).parent / "vinocast"
# For what takes a second on an idle machine; only a hang reaches it.
PATIENCE = 60.0
# Set where coverage.py measures this process, and those that it starts.
COVERAGE = "COVERAGE_PROCESS_CONFIG"
# A busy machine may take longer than the five seconds that httpx waits where a test names no other limit.
for each in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, each, PATIENCE)

Window = NDArray[np.float32]
Reply = dict[str, Any]
T = TypeVar("T")
RunVinocast = Callable[..., subprocess.CompletedProcess[str]]


def rows(window: Window, **fields: Any) -> Reply:
    """A forecast request with the window as numbers."""
    return {"past_values": window.tolist(), **fields}


def packed(window: Window, **fields: Any) -> Reply:
    """A forecast request with the window as base64: small and quick to make."""
    data = base64.b64encode(np.ascontiguousarray(window, "<f4").tobytes()).decode()
    return {"past_values_b64": data, "shape": list(window.shape), **fields}


def random_windows(count: int, seed: int = 1) -> list[Window]:
    walks = np.random.default_rng(seed).standard_normal((count, 512, 7)).cumsum(axis=1)
    return list((walks + np.arange(10, 80, 10)).astype(np.float32))


def uncapped() -> dict[str, str]:
    """The environment without caps of the user's own, which the program tells of or takes for a choice."""
    return {name: value for name, value in os.environ.items() if name not in ISA_CAP_VARIABLES}


def all_shapes(models: Sequence[dict[str, Any]]) -> bool:
    """Whether both forecasters that come with the package have compiled all of their shapes, as ``ping`` tells."""
    return [len(model["batch_sizes"]) for model in models].count(7) == 2


def wait_until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    limit = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < limit, f"{what}: not within {patience} s"
        time.sleep(0.02)


def in_threads(work: Callable[[int], T], count: int = 8) -> list[T]:
    """What ``work`` returns for 0 to ``count - 1``, each in a thread of its own, all begun at the same moment."""
    together = Barrier(count)

    def begin(index: int) -> T:
        together.wait(PATIENCE)
        return work(index)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


RAW_INFERENCE = """
import sys
import numpy as np, openvino as ov
ir, windows, output = sys.argv[1:]
core = ov.Core()
model = core.read_model(ir)
model.reshape([7, 512])
threads = min(2, int(sys.stdin.read()))
config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1,
          "INFERENCE_NUM_THREADS": threads}
compiled = core.compile_model(model, "CPU", config)
np.save(output, np.stack([compiled(window.T)[0].T for window in np.load(windows)]))
"""


def raw_inference(windows: Sequence[Window]) -> list[Window]:
    """What the bundled IR answers through OpenVINO alone, under the caps of the default profile: [96, 7] each.

    Compare with :func:`near`.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "windows.npy"), Path(folder, "result.npy")
        np.save(source, np.stack(list(windows)))
        subprocess.run(
            [sys.executable, "-c", RAW_INFERENCE, str(MODELS / MODEL / "model.xml"), str(source), str(result)],
            env=os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "OV_CPU_MAX_ISA": "AVX2"},
            input=str(len(os.sched_getaffinity(0))),
            text=True,
            timeout=2 * PATIENCE,
            check=True,
        )
        return list(np.load(result))


def near(answer: Any, expected: Window, window: Window) -> bool:
    """Whether [96, n] forecasts are the same but for rounding, which differs by the number of threads and by caps."""
    answer = np.array(answer, np.float32)
    return answer.shape == expected.shape and bool((abs(answer - expected) <= 1e-5 * window.std(axis=0)).all())


def by_id(replies: list[Reply]) -> dict[Any, Reply]:
    """Replies by request_id, each of which must occur once."""
    found = {reply["request_id"]: reply for reply in replies}
    assert len(found) == len(replies)
    return found


def error_of(reply: Reply) -> tuple[str, str | None]:
    """Code and field of a refusal, whose envelope is checked in passing."""
    assert reply["success"] is False, reply
    assert set(reply) - {"metadata"} == {"request_id", "timestamp_ms", "success", "error"}
    error = reply["error"]
    assert set(error) == {"code", "message", "field", "retryable"}
    assert error["message"]
    assert error["retryable"] is (error["code"] in {"overloaded", "not_ready", "shutting_down"})
    return error["code"], error["field"]


class Service:
    """A service in a process of its own, killed at the end if it still runs. What it logs is kept."""

    process: subprocess.Popen[bytes]

    def __init__(self, *command: str | Path, env: dict[str, str] | None = None, **streams: Any) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the service
        options: dict[str, Any] = {"stderr": self._log, "env": os.environ | (env or {})} | streams
        self.process = subprocess.Popen(list(map(str, command)), **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if COVERAGE in os.environ:  # what a killed process has run is forgotten
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._log):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    @property
    def log(self) -> str:
        position = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), position, 0).decode()

    @property
    def said(self) -> list[str]:
        """The lines of the log but those of requests that were refused."""
        return [line for line in self.log.splitlines() if "request refused: " not in line]

    @property
    def resident_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1e3

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit code."""
        return self.process.wait(PATIENCE)


class StdioService(Service):
    """``vinocast stdio`` as a parent process sees it."""

    def __init__(
        self,
        *options: str | Path,
        env: dict[str, str] | None = None,
        program: Sequence[str | Path] = (VINOCAST,),
        **streams: Any,
    ) -> None:
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0} | streams
        super().__init__(*program, "stdio", *options, env=env, **streams)
        self._received = bytearray()

    def send(self, *requests: Reply | bytes) -> None:
        """Write requests, each as a line; bytes as they are."""
        pipe = self.process.stdin
        assert pipe is not None
        for request in requests:
            left = memoryview(request if isinstance(request, bytes) else orjson.dumps(request) + b"\n")
            while left:
                left = left[pipe.write(left) :]

    def read_some(self, patience: float = PATIENCE) -> bytes:
        """What comes next on standard output; nothing at its end."""
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], patience)[0], f"no reply within {patience} s: {self.log}"
        return os.read(self.process.stdout.fileno(), 1 << 20)

    def receive_line(self) -> bytes:
        while b"\n" not in self._received:
            data = self.read_some()
            assert data, f"standard output ended: {self.log}"
            self._received += data
        line, _, rest = bytes(self._received).partition(b"\n")
        self._received[:] = rest
        return line

    def receive(self) -> Reply:
        reply = orjson.loads(self.receive_line())
        assert isinstance(reply, dict)
        return reply

    def ask(self, request: Reply | bytes) -> Reply:
        self.send(request)
        return self.receive()

    def end_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def rest(self) -> list[Reply]:
        """Every reply until standard output ends."""
        data = self._received
        while more := self.read_some():
            data += more
        assert not data or data.endswith(b"\n")
        return [orjson.loads(line) for line in data.splitlines()]

    def finish(self) -> tuple[list[Reply], int]:
        """End the input; every reply that was left, and the exit code."""
        self.end_input()
        return self.rest(), self.wait()


class HttpService(Service):
    """``vinocast serve`` on a free port of the loopback."""

    def __init__(
        self,
        *options: str | Path,
        env: dict[str, str] | None = None,
        program: Sequence[str | Path] = (VINOCAST,),
        ready: bool = True,
        **streams: Any,
    ) -> None:
        super().__init__(*program, "serve", "--port", "0", *options, env=env, **streams)
        try:
            wait_until(lambda: self._address or self.process.poll() is not None, "listening")
            assert self._address, self.log
            self.url = self._address[1]
            self.port = int(self._address[2])
            if ready:
                wait_until(lambda: httpx.get(f"{self.url}/readyz").status_code == 200, "ready")
        except BaseException:
            self.__exit__(None, None, None)
            raise

    @property
    def _address(self) -> re.Match[str] | None:
        return re.search(r"running on (http://127\.0\.0\.1:(\d+))", self.log)


class Gate:
    """A copy of the bundled model whose loading stands still until the gate is opened.

    The test holds a lease on its weights: the loader hashes every file first, and the kernel has it wait in opening
    this one, for 45 s at most (/proc/sys/fs/lease-break-time).
    """

    def __init__(self, models: Path, name: str = MODEL) -> None:
        self._weights = os.open(copy_model(models, name) / "model.bin", os.O_RDWR | os.O_CLOEXEC)
        # Of a lease that is asked back the kernel tells by a signal, whose default would end this process.
        fcntl.fcntl(self._weights, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(self._weights, fcntl.F_SETLEASE, fcntl.F_WRLCK)

    def reach(self) -> None:
        """Wait until the loader stands at the gate."""

        def reached() -> bool:
            return fcntl.fcntl(self._weights, fcntl.F_GETLEASE) == fcntl.F_RDLCK

        wait_until(reached, "the loader opens the model")

    def open(self, weights: bytes | None = None) -> None:
        """Let the loader go on, with the right weights or with others."""
        self.reach()
        if weights is not None:
            os.pwrite(self._weights, weights, 0)
        self.close()

    def close(self) -> None:
        if self._weights >= 0:
            os.close(self._weights)
        self._weights = -1


def copy_model(models: Path, name: str = MODEL) -> Path:
    """Copy the bundled model into a folder of models, under a name, and return its own folder."""
    folder = models / name
    shutil.copytree(MODELS / MODEL, folder)
    change_manifest(folder, name=name)
    return folder


def change_manifest(folder: Path, **fields: Any) -> None:
    """Change fields of a manifest; with other channels goes the table of quantiles, which is of those before."""
    path = folder / "manifest.json"
    manifest = orjson.loads(path.read_bytes()) | fields
    if "channels" in fields:
        manifest["files"].pop("quantiles.npz", None)
    path.write_bytes(orjson.dumps(manifest))


def fix_hashes(folder: Path) -> None:
    """Have the manifest agree with the files as they are now."""
    names = orjson.loads((folder / "manifest.json").read_bytes())["files"]
    change_manifest(folder, files={name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names})
