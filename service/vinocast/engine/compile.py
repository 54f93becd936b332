"""One model compiled for one fixed input shape, with its tensors kept.

Static shapes keep the memory of a long-running process constant and spare the shape inference of every call.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov

from vinocast.engine.cpu import processor
from vinocast.engine.in_force import differences, read_back
from vinocast.engine.profiles import isa_cap, overridden_caps
from vinocast.errors import ModelRefusedError, SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from vinocast.engine.cpu import CpuBudget
    from vinocast.engine.in_force import Property
    from vinocast.engine.profiles import Profile

log = logging.getLogger(__name__)

# The first inference of a shape is several times slower than the next ones.
WARM_UP_RUNS = 3


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
        """Read an IR, weights and all."""
        return self._core.read_model(ir)

    def read_bytes(self, graph: bytes, weights: bytes) -> ov.Model:
        """Read an IR from the bytes of its two files."""
        return self._core.read_model(graph, weights)

    def compile(self, model: ov.Model, shape: tuple[int, ...], profile: Profile | None = None) -> CompiledShape:
        """Compile a copy of a model for one input shape and warm it up; under a profile of its own, if it has one.

        The instruction-set cap is that of the compiler's profile all the same. Raises ModelRefusedError where something
        else is in force than was asked for, and the compiler is strict.
        """
        static = model.clone()
        static.reshape(list(shape))
        profile = profile or self.profile
        config = profile.plugin_config(self._budget)
        if self._device != "CPU":
            config = {name: config[name] for name in ("PERFORMANCE_HINT", "INFERENCE_PRECISION_HINT")}
        compiled = self._core.compile_model(static, self._device, config)
        in_force = read_back(compiled, config)
        if self._device != "CPU":
            in_force["EXECUTION_DEVICES"] = ",".join(compiled.get_property("EXECUTION_DEVICES"))
        warnings = [
            f"the profile {profile.name} is not in force: {clause}"
            for clause in differences(config, self.profile.isa_cap, in_force, self._flags)
        ]
        if warnings and self._strict:
            raise ModelRefusedError("; ".join(warnings))
        for warning in warnings:
            if warning not in self._told:
                log.warning("%s", warning)
        self._told.update(warnings)
        return CompiledShape(compiled, in_force, warnings)

    def capabilities(self) -> list[str]:
        """Return the element types the CPU plugin offers under the instruction-set cap in force."""
        return list(self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def openvino_version() -> str:
    """Return the version of the OpenVINO runtime."""
    return str(ov.get_version())
