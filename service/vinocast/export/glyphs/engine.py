"""A glyph net of a checkpoint on OpenVINO: converted once, found in the cache ever after.

Nothing here imports torch until a net has to be converted.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
import orjson

from vinocast.data.regular import sha256_file
from vinocast.engine.batches import BatchedModel
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget, processor
from vinocast.engine.tuned import find_profile
from vinocast.errors import SetupError
from vinocast.export.glyphs.cache import IR_FOLDER, TOOLS, Cache, Entry
from vinocast.glyphs.cells import check_grids
from vinocast.glyphs.chain import PHASE1_BATCHES, PHASE2_BATCHES, rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch.nn import Module

DEVICES = ("CPU", "GPU", "AUTO")
BATCHES = {1: PHASE1_BATCHES, 2: PHASE2_BATCHES}


class OpenVINOInferenceEngine:
    """One net on OpenVINO: cells or grids [n, …] to logits [n, m], any n. For any thread: one computes, others wait.

    Args:
        model: the IR, an ``.xml`` file, or an entry of the cache.
        device: ``CPU``, ``GPU`` or ``AUTO``.
        batches: batch sizes to compile; rows are cut to fit them.
        compiler: shared by several nets of one process; its device then counts.

    Raises:
        SetupError: the device is not there.
    """

    def __init__(
        self,
        model: Path | Entry,
        device: str = "CPU",
        batches: Sequence[int] = PHASE2_BATCHES,
        compiler: Compiler | None = None,
    ) -> None:
        compiler = compiler or open_device(device)
        self.notes: dict[str, Any] = model.notes if isinstance(model, Entry) else {}
        graph = compiler.read_bytes(model.graph, model.weights) if isinstance(model, Entry) else compiler.read(model)
        self._row = tuple(axis.get_length() for axis in list(graph.input(0).get_partial_shape())[1:])
        # The ids that there are; None for cells, which have shades.
        self._ids = _vocabulary(graph)
        self._model = BatchedModel(compiler, graph, batches)
        self.in_force, self.warnings = self._model.in_force, self._model.warnings

    def infer(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Return the logits [n, m] of rows [n, …]; raises ValueError for another shape, or ids that there are not."""
        rows = np.asarray(rows)
        if rows.shape[1:] != self._row:
            expected = ", ".join(map(str, ("n", *self._row)))
            raise ValueError(f"expected an array [{expected}], got {list(rows.shape)}")
        if self._ids is not None:
            check_grids(rows, self._ids)
        return self._model(rows)

    __call__ = infer

    def predict_batch(self, grids: Any, topk: int = 5) -> tuple[Any, Any]:
        """Return the indices and the probabilities of the best labels as tensors [n, topk], of grids [n, 16, 16]."""
        import torch  # noqa: PLC0415 - of those who call this

        ranking = rank(self.infer(grids), topk)
        return torch.from_numpy(ranking.indices), torch.from_numpy(ranking.probabilities)


def _vocabulary(graph: ov.Model) -> int | None:
    """Return the rows of the embedding, or None for a net without one."""
    gathers = [node for node in graph.get_ops() if node.get_type_name() == "Gather"]
    embeddings = [shape for node in gathers if len(shape := node.input_value(0).get_partial_shape()) == 2]
    return embeddings[0][0].get_length() if embeddings else None


def open_device(device: str) -> Compiler:
    """Return a compiler for a device: f32, every core and instruction set there is; raises SetupError."""
    if device not in DEVICES:
        raise SetupError(f"no device {device!r}: choose one of {', '.join(DEVICES)}")
    budget = cpu_budget()
    return Compiler(replace(find_profile("native"), threads=budget.cores), budget, device)


def setup_openvino_model(
    checkpoint: Path | Module,
    cache_dir: Path,
    device: str = "CPU",
    *,
    phase: int = 2,
    config: dict[str, Any] | None = None,
    calibration: NDArray[np.uint16] | None = None,
    compiler: Compiler | None = None,
) -> OpenVINOInferenceEngine:
    """Return the net of a checkpoint on OpenVINO, from the cache where it is there.

    Args:
        checkpoint: PyTorch or safetensors file of Phase 1 or Phase 2; or a Phase 2 itself, whatever class it is of.
        cache_dir: folder of the cache; see ``vinocast.export.glyphs.cache``.
        device: ``CPU``, ``GPU`` or ``AUTO``.
        phase: 1 or 2.
        config: what ``--config_yaml`` holds.
        calibration: grids [n, 16, 16] to quantize Phase 2 by; without them it is f32.
        compiler: see :class:`OpenVINOInferenceEngine`.

    Raises:
        SetupError: the checkpoint does not fit, the device is not there, the cache cannot be written.
    """
    if isinstance(checkpoint, str | Path):
        entry = convert_checkpoint(checkpoint, cache_dir, phase=phase, config=config, calibration=calibration)
    elif phase == 2 and config is None and calibration is None:
        entry = _convert_module(checkpoint, cache_dir)
    else:
        raise SetupError("a net itself has no other phase, config or calibration: name its checkpoint")
    return OpenVINOInferenceEngine(entry, device, BATCHES[phase], compiler)


def convert_checkpoint(
    checkpoint: Path,
    cache_dir: Path,
    *,
    phase: int = 2,
    config: dict[str, Any] | None = None,
    calibration: NDArray[np.uint16] | None = None,
) -> Entry:
    """Return the IR of a checkpoint from the cache, converted if need be; arguments as above."""
    cache, name = Cache(Path(cache_dir)), f"phase{phase}_model"
    try:
        sha256 = sha256_file(checkpoint)
    except OSError as error:
        raise SetupError(f"{checkpoint}: {error.strerror}") from error
    content = {
        "code": _own_code(),
        "checkpoint": sha256,
        "config": hashlib.sha256(orjson.dumps(config or {})).hexdigest(),
        "precision": "f32",
    }
    entry = cache.get(name, content, lambda folder: _convert(folder, checkpoint, sha256, phase, config))
    return entry if calibration is None else quantize_entry(entry, name, content, cache, calibration)


def read_entry(folder: Path, ir: bytes, weights: bytes) -> Entry:
    """Return an IR that was converted elsewhere; its parameters are counted as it has them, batch norms folded."""
    graph = ov.Core().read_model(ir, weights)
    constants = [node for node in graph.get_ops() if node.get_type_name() == "Constant"]
    notes = {
        "parameters": sum(prod(node.shape) for node in constants if node.get_element_type().is_real() and node.shape),
        "primitives": _vocabulary(graph),
        "labels": graph.output(0).get_partial_shape()[1].get_length(),
        "label_map": None,
    }
    return Entry(folder, ir, weights, notes)


def quantize_entry(
    entry: Entry, name: str, content: dict[str, str], cache: Cache, calibration: NDArray[np.uint16]
) -> Entry:
    """Return the int8 form of a Phase 2 from the cache, made if need be.

    Args:
        entry: the net in f32.
        name: of its files.
        content: what decided it.
        cache: where the int8 form is kept.
        calibration: grids [n, 16, 16]; those with an id that there is not are left out.
    """
    from vinocast.export.glyphs.quantize import quantize  # noqa: PLC0415 - nncf takes seconds to import

    known = calibration.max(axis=(1, 2), initial=0) < entry.notes["primitives"]
    grids = np.ascontiguousarray(calibration[known], "<u2")
    if not len(grids):
        raise SetupError("int8: no grid to calibrate by")
    # How kernels block for its caches is all that the processor still decides.
    content |= {"precision": "int8", "processor": processor().name}
    content |= {"calibration": hashlib.sha256(grids.tobytes()).hexdigest()}

    def build(folder: Path) -> dict[str, Any]:
        quantize(ov.Core().read_model(entry.graph, entry.weights), folder / IR_FOLDER / f"{name}.xml", grids)
        return entry.notes

    return cache.get(name, content, build, (*TOOLS, "nncf"))


def _convert_module(net: Module, cache_dir: Path) -> Entry:
    """Return the IR of a net in memory. It is exported each time, since nothing less tells what it computes."""
    from vinocast.export.glyphs import onnx  # noqa: PLC0415 - torch

    name = "phase2_model"
    with tempfile.TemporaryDirectory(prefix="vinocast-") as folder:
        file = onnx.export_phase2_to_onnx(net, Path(folder) / f"{name}.onnx")
        content = {"code": _own_code(), "onnx": sha256_file(file)}

        def build(folder: Path) -> dict[str, Any]:
            shutil.copyfile(file, folder / file.name)
            onnx.convert_onnx_to_openvino(file, folder / IR_FOLDER)
            return {}

        return Cache(Path(cache_dir)).get(name, content, build)


def _own_code() -> str:
    """Return a hash of the code that converts: a change of it must not find what it would make otherwise."""
    files = [*sorted(Path(__file__).parent.glob("*.py")), Path(__file__).parent.parent / "pinned.py"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _convert(folder: Path, path: Path, sha256: str, phase: int, config: dict[str, Any] | None) -> dict[str, Any]:
    from vinocast.export.glyphs import checkpoint, onnx  # noqa: PLC0415 - torch

    weights = checkpoint.read_checkpoint(path)
    if weights.sha256 != sha256:
        raise SetupError(f"{path} has changed while it was read; start again")
    file = folder / f"phase{phase}_model.onnx"
    if phase == 1:
        net: Any = checkpoint.phase1_net(weights)
        onnx.export_phase1_to_onnx(net, file)
        notes = {}
    else:
        net = checkpoint.phase2_net(weights, config)
        onnx.export_phase2_to_onnx(net, file)
        notes = {"primitives": net.architecture.primitives, "labels": len(weights.state[checkpoint.LAST_WEIGHT])}
    onnx.convert_onnx_to_openvino(file, folder / IR_FOLDER / f"phase{phase}_model.xml")
    parameters = sum(parameter.numel() for parameter in net.parameters())
    return {"parameters": parameters, "label_map": weights.labels, **notes}
