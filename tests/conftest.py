"""What every test may use: where things are, windows of our own making, and a service as its users start it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
SHARED_DATA = Path(os.environ.get("VINOCAST_SHARED_DATA", ROOT.parent / "shared" / "data"))
VINOCAST = Path(sys.executable).parent / "vinocast"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out, by name, what needs the real data sets where they are not."""
    if SHARED_DATA.is_dir():
        return
    for item in items:
        if item.get_closest_marker("shared_data"):
            item.add_marker(pytest.mark.skip(reason=f"no folder {SHARED_DATA}"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260101)


@pytest.fixture
def window(rng: np.random.Generator) -> NDArray[np.float32]:
    """A random walk of 512 steps in 7 channels, exact in float32."""
    return (100 + rng.standard_normal((512, 7)).cumsum(axis=0)).astype(np.float32)


@pytest.fixture(scope="session")
def run_vinocast() -> object:
    """Return a function that runs the program to its end and returns the finished process."""

    def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(VINOCAST), *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False, **options
        )

    return run
