"""One model compiled for one fixed input shape, with its tensors kept.

Static shapes keep the memory of a long-running process constant and spare the shape inference of every call.
"""

from __future__ import annotations

import logging
import math
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov

from vinocast.data.regular import read_regular
from vinocast.engine.bounds import GRAPH_BODIES, TENSOR_BYTES, most_bytes
from vinocast.engine.cpu import processor
from vinocast.engine.in_force import differences, read_back
from vinocast.engine.profiles import isa_cap, overridden_caps
from vinocast.errors import ModelRefusedError, SetupError, in_one_line, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from vinocast.engine.cpu import CpuBudget
    from vinocast.engine.in_force import Property
    from vinocast.engine.profiles import Profile

log = logging.getLogger(__name__)

# The first inference of a shape is several times slower than the next ones.
WARM_UP_RUNS = 3
# What reading and compiling raise for a graph that is none, and for one that takes more memory than there is.
UNCOMPILED = (RuntimeError, ValueError, TypeError, OverflowError, MemoryError)
# Where a graph within a graph begins.
BODY = re.compile(rb"<(?:then_|else_)?body\b")


class Slot:
    """One inference of a static shape, with its own tensors. Not for two threads at once.

    Attributes:
        inputs: array to fill before :meth:`infer`, of the model's own type; it is the model's own input memory.
        outputs: float32 array that :meth:`infer` fills; overwritten by the next call.
    """

    inputs: NDArray[Any]
    outputs: NDArray[np.float32]

    def __init__(self, compiled: ov.CompiledModel) -> None:
        self._request = compiled.create_infer_request()
        self.inputs = self._request.get_input_tensor().data
        self.inputs[:] = 0
        self.infer()
        self.outputs = self._request.get_output_tensor().data

    def infer(self) -> float:
        """Compute ``outputs`` from ``inputs`` and return the seconds that took."""
        start = time.perf_counter()
        self._request.infer(share_outputs=True)
        return time.perf_counter() - start

    def start(self) -> None:
        """Begin to compute, on a stream of its own if one is free."""
        self._request.start_async(share_inputs=True)

    def wait(self) -> None:
        """Wait until ``outputs`` are there."""
        self._request.wait()


@contextmanager
def compiling(folder: Path) -> Iterator[None]:
    """Refuse the model of a folder, by ModelRefusedError, for what reading or compiling its graph raises."""
    try:
        yield
    except UNCOMPILED as error:
        raise ModelRefusedError(f"{folder}: {in_one_line(error)}") from error


def infer_together(slots: Sequence[Slot]) -> float:
    """Compute several slots side by side, and return the seconds until the last was done."""
    if len(slots) == 1:
        return slots[0].infer()
    start = time.perf_counter()
    for slot in slots:
        slot.start()
    for slot in slots:
        slot.wait()
    return time.perf_counter() - start


class CompiledShape:
    """A compiled model of one static shape. Not for two threads at once.

    Attributes:
        in_force: the properties read back from the compiled model.
        warnings: how they differ from what was asked for.
        slots: one for each stream, which may compute side by side.
    """

    def __init__(self, compiled: ov.CompiledModel, in_force: dict[str, Property], warnings: list[str]) -> None:
        self.in_force, self.warnings = in_force, warnings
        self.slots = [Slot(compiled) for _ in range(int(in_force.get("NUM_STREAMS", 1)))]
        for _ in range(WARM_UP_RUNS):
            infer_together(self.slots)

    @property
    def inputs(self) -> NDArray[Any]:
        """The first slot's."""
        return self.slots[0].inputs

    @property
    def outputs(self) -> NDArray[np.float32]:
        """The first slot's."""
        return self.slots[0].outputs

    def infer(self) -> float:
        """Compute the first slot."""
        return self.slots[0].infer()


class Compiler:
    """Compiles IR files under one profile; the only place that touches the OpenVINO runtime.

    A profile is one of the CPU. Another device (``GPU``, or ``AUTO``, which chooses) takes f32 and low latency from it.
    What is in force is compared with what was asked for, for every model: a difference is a warning in the log and
    among the warnings of the model, or, where ``strict``, a refusal.

    Raises SetupError for a device that is not there.
    """

    def __init__(self, profile: Profile, budget: CpuBudget, device: str = "CPU", *, strict: bool = False) -> None:
        for overridden in overridden_caps(profile):
            log.warning("%s", overridden)
        self.profile = profile
        self._budget = budget
        self._device = device
        self._strict = strict
        self._flags = processor().flags
        self._told: set[str] = set()
        with isa_cap(profile):
            self._core = ov.Core()
            found = {name.partition(".")[0] for name in self._core.available_devices}
            # To ask for them loads the plugin whole, and with it the caps.
            self.capabilities()
        if device not in {*found, "AUTO"}:
            raise SetupError(
                f"OpenVINO finds no device {device}, only {', '.join(sorted(found))}; a GPU needs its driver: install "
                f"intel-opencl-icd (Debian, Ubuntu) and let this user into the group render"
            )

    def read(self, ir: Path) -> ov.Model:
        """Read an IR, weights and all, from its two files; raises OSError where one cannot be read."""
        weights = ir.with_suffix(".bin")
        return self.read_bytes(read_regular(ir, most_bytes(ir.name)), read_regular(weights, most_bytes(weights.name)))

    def read_bytes(self, graph: bytes, weights: bytes) -> ov.Model:
        """Read an IR from the bytes of its two files, of which OpenVINO makes a copy of its own.

        Of a path it would map the weights: who cuts the file then ends the process by SIGBUS, and who writes into it
        changes what the model computes. Raises ValueError for bytes that are no graph of a bounded depth.
        """
        # OpenVINO looks at the bytes for what they are, and a graph of another format may name files to be read.
        if not graph.lstrip().startswith(b"<") or b"\0" in graph:
            raise ValueError("the graph is no XML")
        if len(BODY.findall(graph)) > GRAPH_BODIES:
            raise ValueError(f"more than {GRAPH_BODIES} loops and branches in the graph")
        return self._core.read_model(graph, weights)

    def compile(self, model: ov.Model, shape: tuple[int, ...], profile: Profile | None = None) -> CompiledShape:
        """Compile a copy of a model for one input shape and warm it up; under a profile of its own, if it has one.

        The instruction-set cap is that of the compiler's profile all the same. Raises ModelRefusedError where something
        else is in force than was asked for, and the compiler is strict; ValueError for a graph that would take any
        amount of memory, RuntimeError for one that OpenVINO cannot compile.
        """
        static = model.clone()
        static.reshape(list(shape))
        _check_tensors(static)
        profile = profile or self.profile
        config = profile.plugin_config(self._budget)
        if self._device != "CPU":
            config = {name: config[name] for name in ("PERFORMANCE_HINT", "INFERENCE_PRECISION_HINT")}
        compiled = self._core.compile_model(static, self._device, config)
        in_force = read_back(compiled, self._device, config)
        if self._device != "CPU":
            in_force["EXECUTION_DEVICES"] = ",".join(compiled.get_property("EXECUTION_DEVICES"))
        warnings = [
            f"the profile {profile.name} is not in force: {clause}"
            for clause in differences(config, self.profile.isa_cap, in_force, self._flags)
        ]
        if warnings and self._strict:
            raise ModelRefusedError("; ".join(warnings), "; ".join(warnings))
        for warning in warnings:
            if warning not in self._told:
                log.warning("%s", warning)
        self._told.update(warnings)
        return CompiledShape(compiled, in_force, warnings)

    def capabilities(self) -> list[str]:
        """Return the element types the CPU plugin offers under the instruction-set cap in force."""
        return list(self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _check_tensors(model: ov.Model) -> None:
    """Raise ValueError where an operation makes a tensor beyond the bound, or the result has no shape of its own."""
    if any(output.get_partial_shape().is_dynamic for output in model.outputs):
        raise ValueError("the graph has a result of no fixed shape")
    for node in model.get_ops():
        for index in range(node.get_output_size()):
            shape = node.get_output_partial_shape(index)
            if shape.is_static:
                size = math.prod(shape.to_shape()) * node.get_output_element_type(index).size
                if size > TENSOR_BYTES:
                    name = shorten(node.get_friendly_name())
                    raise ValueError(f"{name} of the graph makes {size} bytes, more than the {TENSOR_BYTES} it may")


def openvino_version() -> str:
    """Return the version of the OpenVINO runtime."""
    return str(ov.get_version())
