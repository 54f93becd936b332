"""What every test may use: where the real data is, a window of our own making, the program, running services."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from support import MODEL, SHARED_DATA, VINOCAST, Gate, HttpService, RunVinocast, StdioService, wait_until

# In the background of a shell it is ignored, which services would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
# An example takes as long as the machine is busy.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out, by name, what needs the real data sets where they are not; let no test hang for ever."""
    for item in items:
        if item.get_closest_marker("shared_data") and not SHARED_DATA.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"no folder {SHARED_DATA}"))
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(180))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260101)


@pytest.fixture
def window(rng: np.random.Generator) -> NDArray[np.float32]:
    """A random walk of 512 steps in 7 channels, exact in float32."""
    return (100 + rng.standard_normal((512, 7)).cumsum(axis=0)).astype(np.float32)


@pytest.fixture(scope="session")
def run_vinocast() -> RunVinocast:
    """Return a function that runs the program to its end and returns the finished process."""

    def run(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [str(VINOCAST), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, **({"timeout": 120} | options))

    return run


@pytest.fixture(scope="module")
def stdio() -> Iterator[StdioService]:
    """A ready ``vinocast stdio`` for the tests of a module that leave it as it was."""
    with StdioService() as service:
        assert service.ask({"op": "ping"})["ready"]
        yield service


@pytest.fixture(scope="module")
def http() -> Iterator[HttpService]:
    """A ready ``vinocast serve`` for the tests of a module that leave it as it was."""
    with HttpService() as service:
        models = len(httpx.get(f"{service.url}/readyz").json()["models"])
        # It can be ready before it has said so, and what some tests do must not add to what it says.
        wait_until(lambda: service.log.count(" is ready ") == models + 1, "it has said that all is ready")
        yield service


@pytest.fixture
def make_gate(tmp_path: Path) -> Iterator[Callable[[str], Gate]]:
    """Return a function that puts a model whose loading waits for its gate into ``tmp_path/models``."""
    gates: list[Gate] = []

    def make(name: str = MODEL) -> Gate:
        gates.append(Gate(tmp_path / "models", name))
        return gates[-1]

    yield make
    for gate in gates:
        gate.close()
