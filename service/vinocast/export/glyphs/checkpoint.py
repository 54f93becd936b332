"""Checkpoints of the two glyph nets, as other code wrote them: read, checked weight by weight, made into nets."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import io
import pathlib
import pickle
import re
import types
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.torch
import torch

from vinocast.data.regular import read_input
from vinocast.errors import SetupError
from vinocast.export.glyphs.architecture import phase2_architecture
from vinocast.export.glyphs.nets import Phase1Net, Phase2Net
from vinocast.export.weights import refuse_pointer
from vinocast.glyphs.labels import check_label_map

if TYPE_CHECKING:
    from pathlib import Path

# Where other code keeps the weights inside a checkpoint; a dict of tensors alone is weights and nothing else.
STATE_KEYS = ("model_state", "model_state_dict", "state_dict", "model")
# What wrappers (DataParallel, torch.compile, trainers) put before the name of a weight, in any order and number.
PREFIXES = ("model.", "module.", "net.", "_orig_mod.", "state_dict.")
# One row per label.
LAST_WEIGHT = "classifier.4.weight"
UNUSED = ".num_batches_tracked"
# What the readers of both formats raise for a damaged or foreign file.
DAMAGE = (
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    safetensors.SafetensorError,
)


def _harmless() -> list[Any]:
    """What a pickle may name beside tensors: metrics, configs and the arguments of a command line are made of it.

    Each makes a value of the bytes it is given and does nothing else: it opens no file, imports and calls nothing.
    """
    array, scalar = np.zeros(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    functions = [
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("_core", "core")
        for function, name in ((array, "_reconstruct"), (scalar, "scalar"))
    ]
    kinds = [np.dtype, *{type(np.dtype(kind)) for kind in "?bhilqBHILQefdFDOSUMm"}]
    # A path made on Windows cannot be one here; Python 3.13 writes another module's name.
    paths = {"PosixPath": pathlib.PosixPath, "WindowsPath": pathlib.PureWindowsPath}
    paths |= {kind.__name__: kind for kind in (pathlib.PurePosixPath, pathlib.PureWindowsPath)}
    named = [(kind, f"{module}.{name}") for name, kind in paths.items() for module in ("pathlib", "pathlib._local")]
    times = [datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone]
    # What a defaultdict makes its values of.
    makers = [bool, dict, float, int, list, str]
    functions.append((_empty_dict, "collections.defaultdict"))
    return [argparse.Namespace, types.SimpleNamespace, np.ndarray, *functions, *kinds, *named, *times, *makers]


def _empty_dict(*_: object) -> dict[Any, Any]:
    """Stand for a defaultdict, which torch does not fill."""
    return {}


@dataclass(frozen=True)
class Checkpoint:
    """The weights of one net under their own names, and what lay beside them.

    Attributes:
        origin: the file, for messages.
        sha256: of the file.
        state: weights in float32 by name, without prefixes.
        config: as found; empty where there is none.
        labels: the label map found, in the order of the outputs; None where there is none.
    """

    origin: str
    sha256: str
    state: dict[str, torch.Tensor]
    config: dict[str, Any] = field(default_factory=dict)
    labels: list[str] | None = None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a ``.safetensors`` file, or a PyTorch file whose pickle may hold tensors and plain values, nothing else.

    Plain values are those that torch allows itself and those of :func:`_harmless`.

    Raises SetupError that names the file and what is wrong with it.
    """
    try:
        data = read_input(path)
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}") from error
    refuse_pointer(data, str(path))
    try:
        if path.suffix == ".safetensors":
            content: object = safetensors.torch.load(data)
        else:
            with warnings.catch_warnings(), torch.serialization.safe_globals(_harmless()):
                warnings.simplefilter("ignore", UserWarning)  # pickled by another protocol: it reads or it does not
                content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except DAMAGE as error:
        # Not from the error, whose advice a traceback would show.
        reason = _reason(data, str(error))
        raise SetupError(f"{path}: no checkpoint of tensors and plain values alone: {reason}") from None
    return _checkpoint(content, str(path), hashlib.sha256(data).hexdigest())


def _reason(data: bytes, message: str) -> str:
    """Say why a file cannot be read. Of torch's own words none are kept: they advise to load it unsafely."""
    if "TorchScript" in message:
        return "it is a TorchScript archive; save the net's state_dict()"
    if strange := re.search(r"GLOBAL (\S+)|Unsupported class (\S+)|instance of <class '(\S+)'>", message):
        return f"it holds {next(filter(None, strange.groups())).rstrip(',.')}"
    return "it is empty" if not data else "it is damaged, cut short, or of another kind"


def _checkpoint(content: object, origin: str, sha256: str) -> Checkpoint:
    if not isinstance(content, dict):
        raise SetupError(f"{origin}: expected a dict with {STATE_KEYS[0]}, got {type(content).__name__}")
    state = next((content[key] for key in STATE_KEYS if key in content), None)
    beside = content if state is not None else {}
    state = content if state is None else state
    if not isinstance(state, dict) or not state:
        raise SetupError(f"{origin}: {STATE_KEYS[0]}: expected weights by name")
    weights: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        name = _bare(str(key))
        if not isinstance(value, torch.Tensor):
            raise SetupError(f"{origin}: {key}: expected a tensor, got {type(value).__name__}")
        if name in weights:
            raise SetupError(f"{origin}: {name} is there twice, under different prefixes; keep one set of weights")
        if not name.endswith(UNUSED):
            weights[name] = value.float()
    config, label_map = beside.get("config"), beside.get("label_map")
    config = {} if config is None else config
    if isinstance(config, argparse.Namespace | types.SimpleNamespace):
        config = vars(config)
    if not isinstance(config, dict):
        raise SetupError(f"{origin}: config: expected a dict, got {type(config).__name__}")
    labels = check_label_map(label_map, f"{origin}: label_map") if label_map is not None and label_map != {} else None
    return Checkpoint(origin, sha256, weights, config, labels)


def _bare(name: str) -> str:
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(prefix)
    return name


def phase1_net(checkpoint: Checkpoint) -> Phase1Net:
    """Return Phase 1 with the checkpoint's weights, for inference; raises SetupError that names what does not fit."""
    net = Phase1Net()
    _load(net, checkpoint)
    return net


def phase2_net(checkpoint: Checkpoint, overrides: dict[str, Any] | None = None) -> Phase2Net:
    """Return Phase 2 with the checkpoint's weights, for inference.

    The architecture is that of ``overrides`` (as ``--config_yaml`` holds), of the checkpoint's config where they say
    nothing, and of the weights' shapes where neither does. Raises SetupError that names what does not fit.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint.state.items()}
    architecture = phase2_architecture(shapes, [overrides or {}, checkpoint.config], checkpoint.origin)
    last = shapes.get(LAST_WEIGHT, ())
    if len(last) != 2:
        raise SetupError(f"{checkpoint.origin}: lacks {LAST_WEIGHT} [labels, hidden]: no Phase 2 of this kind")
    try:
        net = Phase2Net(architecture, last[0])
    except (RuntimeError, TypeError, OverflowError) as error:
        raise SetupError(f"{checkpoint.origin}: no net can be built as its config says: {error}") from error
    _load(net, checkpoint)
    return net


def _load(net: torch.nn.Module, checkpoint: Checkpoint) -> None:
    expected = {name: value for name, value in net.state_dict().items() if not name.endswith(UNUSED)}
    faults = [f"lacks {name}" for name in expected if name not in checkpoint.state]
    faults += [f"has {name}, which this architecture has not" for name in checkpoint.state if name not in expected]
    for name, value in checkpoint.state.items():
        if name in expected and value.shape != expected[name].shape:
            faults.append(f"{name} is {list(value.shape)}, expected {list(expected[name].shape)}")
        elif not torch.isfinite(value).all():
            faults.append(f"{name} has a NaN or an infinity")
    if faults:
        raise SetupError(f"{checkpoint.origin} does not fit the architecture: {'; '.join(faults)}")
    net.load_state_dict(checkpoint.state, strict=False)  # but for the counters of batches, all names were compared
    net.eval().requires_grad_(requires_grad=False)
