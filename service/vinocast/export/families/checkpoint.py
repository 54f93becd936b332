"""What a family of forecasters brings: one class, whose instances are checkpoints of that family."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from openvino import opset13 as op

from vinocast.errors import SetupError
from vinocast.export.algebra import ints
from vinocast.export.files import CONFIG_FILE
from vinocast.export.generated import KINDS
from vinocast.export.weights import find_weights, load_checkpoint, merge, shortened
from vinocast.forecast.manifest import MINIMUM_VARIANCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    import openvino as ov
    from torch import Tensor, nn

Weights = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Signature:
    """What goes into the graph of a checkpoint, and what comes out.

    A forecaster is asked with a window: inputs beside it become constants. Quantiles are stored where they never cross
    and the layout is ``series``; elsewhere the median of them is.

    Attributes:
        layout: ``series`` where channels are independent and share one net: [n, context] to [n, horizon] for any n
            series; ``window`` where they are not: [b, context, channels] to [b, horizon, channels].
        context: time steps of a window.
        horizon: time steps of a forecast.
        channels: columns of a window.
        quantiles: the levels of the output's last axis, which comes after those of the layout; none where the output
            is points.
        ascending: whether no quantile is ever above one of a higher level.
        minimum_variance: what the model's scaler adds to the variance of a window.
        constants: the inputs beside the window, by the names of their tensors: what they are in every forecast.
    """

    layout: Literal["series", "window"]
    context: int
    horizon: int
    channels: int
    quantiles: tuple[float, ...] = ()
    ascending: bool = False
    minimum_variance: float = MINIMUM_VARIANCE
    constants: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def levels(self) -> tuple[float, ...]:
        """Of the quantiles that are stored."""
        return self.quantiles if self.ascending and self.layout == "series" else ()

    @property
    def median(self) -> int:
        """The place of the median among the quantiles; raises SetupError where it is none of them."""
        if 0.5 not in self.quantiles:
            raise SetupError(f"the model forecasts the quantiles {self.quantiles}: without the median, no points")
        return self.quantiles.index(0.5)

    def stored(self, forecasts: Tensor) -> Tensor:
        """Return what is stored of what the source model answers: all of it, or the points [b, horizon, channels]."""
        return forecasts[..., self.median] if self.quantiles and not self.levels else forecasts

    def served(self, graph: ov.Model) -> ov.Model:
        """Make the window the one input of a graph and what is stored its one output; returns the graph itself."""
        for name, value in self.constants.items():
            parameter = graph.input(name).get_node()
            parameter.output(0).replace(op.constant(value).output(0))
            graph.remove_parameter(parameter)
        if self.quantiles and not self.levels:
            result = graph.get_results()[0]
            quantiles = result.input_value(0)
            median = op.gather(quantiles, op.constant(np.int64(self.median)), ints(-1))
            names = quantiles.get_names()
            quantiles.get_tensor().set_names(set())
            median.output(0).get_tensor().set_names(names)
            result.input(0).replace_source_output(median.output(0))
        graph.validate_nodes_and_infer_types()
        return graph


@dataclass(frozen=True)
class Checkpoint(ABC):
    """The bytes of a checkpoint's config and weights, read once, so that what is hashed is what is converted.

    A family is a subclass, registered by :func:`vinocast.export.families.registry.register`.

    Attributes:
        family: its name.
        runner: the package that runs the source model. The manifest notes its version, beside those that every
            conversion depends on.
        kinds: of generated windows, those that the model is compared on.
        name: of the checkpoint.
        files: its bytes by file name.
    """

    family: ClassVar[str]
    runner: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]] = KINDS

    name: str
    files: dict[str, bytes]

    @classmethod
    @abstractmethod
    def recognises(cls, config: dict[str, Any]) -> bool:
        """Whether a checkpoint with this ``config.json`` is one of the family."""

    @property
    @abstractmethod
    def signature(self) -> Signature:
        """What ``config.json`` says of inputs and outputs; raises SetupError for what cannot be converted."""

    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the name and shape of every weight the checkpoint must have."""

    @abstractmethod
    def build_graph(self, weights: Weights) -> ov.Model:
        """Return the exact graph in f32, of the signature, batch dynamic; raises SetupError where there is none."""

    @abstractmethod
    def torch_model(self, weights: Weights) -> nn.Module:
        """Return the source model in eval, which is what the graph is compared with.

        It maps a window [b, context, channels] to [b, horizon, channels], of quantiles [b, horizon, channels, levels],
        in the type of its weights. Raises SetupError where it cannot run the configuration.
        """

    @abstractmethod
    def scale(self, series: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return [n, 1], what one unit of the network's output is worth for each series [n, context]."""

    @cached_property
    def sha256(self) -> dict[str, str]:
        """Hexadecimal sha256 by file name."""
        return {name: hashlib.sha256(data).hexdigest() for name, data in self.files.items()}

    @cached_property
    def config(self) -> dict[str, Any]:
        """``config.json``; raises SetupError where it is none."""
        return parse_config(self.files[CONFIG_FILE], self.name)

    def weights(self) -> Weights:
        """Return every weight in float64; raises SetupError that names what is missing, unexpected or damaged."""
        import torch  # noqa: PLC0415 - reading and hashing a source again needs no torch

        files = [name for name in self.files if not name.endswith(".json")]
        origin = f"{self.name}: {files[0]}" if len(files) == 1 else f"{self.name}: {len(files)} files of weights"
        states = {}
        for file in files:
            where = f"{self.name}: {file}"
            states[file] = find_weights(load_checkpoint(self.files[file], file, where), where)
        expected = self.shapes()
        state = merge(states, expected, origin)
        found = {name: tensor for name, tensor in state.items() if not name.endswith(".num_batches_tracked")}
        for problem, names in (
            ("lacks", expected.keys() - found.keys()),
            ("has unknown", found.keys() - expected.keys()),
        ):
            if names:
                raise SetupError(f"{origin} {problem} weights for this {CONFIG_FILE}: {shortened(names)}")
        weights: Weights = {}
        for name, tensor in found.items():
            if tuple(tensor.shape) != expected[name]:
                shapes = f"{name} of shape {tuple(tensor.shape)}, {CONFIG_FILE} says {expected[name]}"
                raise SetupError(f"{origin} has {shapes}")
            if not tensor.is_floating_point() or tensor.layout != torch.strided or tensor.is_meta:
                raise SetupError(
                    f"{origin} has {name} as {tensor.dtype}, {tensor.layout} on {tensor.device}: no numbers"
                )
            weights[name] = tensor.to(torch.float64).numpy()
            if not np.isfinite(weights[name]).all():
                raise SetupError(f"{origin} has a NaN or an infinity in {name}")
        return weights


def parse_config(config: bytes, origin: str) -> dict[str, Any]:
    """Return the fields of a ``config.json``; raises SetupError that begins with ``origin`` where there are none."""
    try:
        fields = orjson.loads(config)
    except orjson.JSONDecodeError as error:
        raise SetupError(f"{origin}: {CONFIG_FILE} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise SetupError(f"{origin}: {CONFIG_FILE} cannot be converted: expected an object")
    return fields
