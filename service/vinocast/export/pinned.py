"""Quantization in a process of its own, where what calibrates is the same on every CPU.

What a graph computes while its ranges are taken depends on the instruction set: AVX-512 adds in another order, VNNI
adds products of int8. Which is used is settled when OpenVINO loads, so this needs a new process, and in it everything
runs in AVX2 and f32. What is left to the CPU is how kernels block for its caches: last digits, if anything.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov

from vinocast.engine.profiles import ISA_CAP_VARIABLES
from vinocast.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CAP = "AVX2"
GRAPH, SAMPLES, RESULT = "graph.xml", "samples.npy", "int8.xml"
# Minutes are usual for the largest nets; what takes longer hangs.
MOST_SECONDS = 3600


def quantize_apart(module: str, graph: ov.Model, samples: NDArray[Any]) -> ov.Model:
    """Return what ``module``, run as a program that calls :func:`answer`, makes of an f32 graph and samples [n, …].

    Raises:
        ModuleNotFoundError: nncf is not installed.
        SetupError: the process failed; the message is its own.
    """
    if importlib.util.find_spec("nncf") is None:
        raise ModuleNotFoundError("No module named 'nncf'", name="nncf")
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = os.environ | dict.fromkeys(ISA_CAP_VARIABLES, CAP) | {"PYTHONPATH": path}
    try:
        Path.home()
    except RuntimeError:  # NNCF would name a cache below it when it is imported
        environment["HOME"] = tempfile.gettempdir()
    try:
        with tempfile.TemporaryDirectory(prefix="vinocast-") as folder:
            ov.serialize(graph, Path(folder) / GRAPH)
            np.save(Path(folder) / SAMPLES, samples)
            done = subprocess.run(  # noqa: S603 - this interpreter, a module of this package
                [sys.executable, "-P", "-m", module, folder],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=MOST_SECONDS,
                check=False,
            )
            if done.returncode:
                reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
                raise SetupError(f"the graph cannot be quantized: {reason}")
            result = Path(folder) / RESULT
            # From bytes: a model read from a file would keep to a file that is about to go.
            return ov.Core().read_model(result.read_bytes(), result.with_suffix(".bin").read_bytes())
    except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"the graph cannot be quantized in {tempfile.gettempdir()}: {error}") from error


def answer(quantize: Callable[[ov.Model, NDArray[Any]], ov.Model]) -> None:
    """Be the other process: quantize what :func:`quantize_apart` left in the folder of the first argument."""
    folder = Path(sys.argv[1])
    # NNCF draws its progress on standard output, which is for results.
    with contextlib.redirect_stdout(sys.stderr):
        graph = ov.Core().read_model(folder / GRAPH)
        ov.serialize(quantize(graph, np.load(folder / SAMPLES, allow_pickle=False)), folder / RESULT)
