"""The model alone, in a process of its own: ``python -m vinocast.measure.bench.raw OPTIONS``.

OPTIONS is a JSON object: ``folder`` of the model, ``profile``, ``stock`` (an IR or null). The first line it prints
describes what it has compiled; then it answers calls of :class:`Graphs`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from vinocast.engine.compile import UNCOMPILED, CompiledShape, Compiler, openvino_version
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.manifest import IR_FILE, WEIGHTS_FILE
from vinocast.engine.profiles import Profile
from vinocast.engine.tuned import choose, find_profile
from vinocast.errors import SetupError
from vinocast.forecast.manifest import open_forecaster
from vinocast.measure.bench.figures import MATMUL
from vinocast.measure.bench.floor import MATMUL_SHAPE, matmul_model, multiply_adds
from vinocast.measure.bench.requests import random_windows
from vinocast.measure.calls import answer_calls

# The first inferences after a pause find cold caches and sleeping threads.
SETTLE = 3


class Graphs:
    """Graphs compiled under one profile, by name, with the multiply-adds of each."""

    def __init__(self, profile: str) -> None:
        self.profile = find_profile(profile)
        self._compiler = Compiler(self.profile, cpu_budget())
        self.shapes: dict[str, CompiledShape] = {}
        self.multiply_adds: dict[str, int] = {}

    def read(self, ir: Path) -> ov.Model:
        """Read an IR."""
        return self._compiler.read(ir)

    def read_bytes(self, graph: bytes, weights: bytes) -> ov.Model:
        """Read an IR from the bytes of its two files."""
        return self._compiler.read_bytes(graph, weights)

    def add(self, name: str, model: ov.Model, inputs: np.ndarray[Any, Any], profile: Profile | None = None) -> None:
        """Compile a model for the shape of some inputs and keep them as its input."""
        static = model.clone()
        static.reshape(list(inputs.shape))
        self.multiply_adds[name] = multiply_adds(static)
        self.shapes[name] = self._compiler.compile(model, inputs.shape, profile)
        self.shapes[name].inputs[:] = inputs

    def measure(self, name: str, seconds: float) -> list[float]:
        """Infer for some seconds and return the milliseconds of each, to 0.1 us."""
        shape = self.shapes[name]
        for _ in range(SETTLE):
            shape.infer()
        times = [shape.infer()]
        end = time.perf_counter() + seconds - times[0]
        while time.perf_counter() < end:
            times.append(shape.infer())
        return [round(seconds * 1e3, 4) for seconds in times]


def compile_graphs(folder: Path, profile: str, stock: Path | None) -> Graphs:
    """Compile the model for all channels and for one, the stock graph if there is one, and a bare matrix product."""
    manifest = open_forecaster(folder).manifest
    (window,) = random_windows(manifest.context, len(manifest.channels), 1)
    graphs = Graphs(profile)
    own, _, files, _ = choose(graphs.profile, open_forecaster(folder))
    ours, channels = graphs.read_bytes(files[IR_FILE], files[WEIGHTS_FILE]), len(manifest.channels)
    if manifest.layout == "series":
        graphs.add(f"ours, {channels} series", ours, np.ascontiguousarray(window.T), own)
        if channels > 1:
            graphs.add("ours, 1 series", ours, np.ascontiguousarray(window.T[-1:]), own)
    else:
        graphs.add(f"ours, {channels} channels", ours, window[None], own)
    if stock is not None:
        graphs.add(f"stock, {channels} series", graphs.read(stock), window[None])
    product = matmul_model()
    graphs.add(MATMUL, product, np.random.default_rng(0).standard_normal(MATMUL_SHAPE[:2]).astype(np.float32))
    return graphs


def main() -> None:
    """Compile, describe, and answer until the input ends."""
    options = json.loads(sys.argv[1])
    stock = options["stock"]
    try:
        graphs = compile_graphs(Path(options["folder"]), options["profile"], Path(stock) if stock else None)
    except (SetupError, OSError, *UNCOMPILED) as error:
        sys.exit(" ".join(f"{f'{stock} or ' if stock else ''}{options['folder']}: {error}".split()))
    in_force = next(iter(graphs.shapes.values())).in_force
    answer_calls(
        graphs,
        {"multiply_adds": graphs.multiply_adds, "in_force": in_force, "openvino": openvino_version()},
    )


if __name__ == "__main__":
    main()
