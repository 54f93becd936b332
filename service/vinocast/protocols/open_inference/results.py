"""What is answered, as tensors: forecasts and their quantiles, the labels of glyphs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.protocols.json import name_level
from vinocast.protocols.open_inference.tensors import join_bytes
from vinocast.requests import Computed, Forecasted, ForecastedSeries, ForecastedWindows, ForecastOfOne, Recognized

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from vinocast.requests import Result

PREDICTIONS, QUANTILES = "predictions", "quantiles"
IDS, LABELS, PROBABILITIES = "ids", "labels", "probabilities"


@dataclass(slots=True)
class Output:
    """A tensor of a reply: its elements as an array, or each as bytes.

    Attributes:
        name, datatype, shape: as the reply says them.
        array: C-contiguous and little-endian; None of bytes.
        elements: of bytes, row by row.
    """

    name: str
    datatype: str
    shape: Sequence[int]
    array: NDArray[Any] | None = None
    elements: Sequence[bytes] = ()

    @property
    def binary(self) -> memoryview | bytes:
        """Its elements as bytes."""
        return join_bytes(self.elements) if self.array is None else self.array.reshape(-1).view(np.uint8).data

    @property
    def data(self) -> Any:
        """Its elements as JSON is to have them."""
        return [each.decode() for each in self.elements] if self.array is None else self.array.reshape(-1)


@dataclass(slots=True)
class Answer:
    """A reply.

    Attributes:
        model, version: what has answered.
        id: of the request; None where it had none.
        parameters: what is said beside the tensors.
        outputs: those that are wanted, each with whether it is sent as bytes.
    """

    model: str
    version: str
    id: str | None
    parameters: Mapping[str, str | int | float | bool]
    outputs: Sequence[tuple[Output, bool]] = field(default_factory=list)


def outputs_of(result: Result | Mapping[str, Any]) -> dict[str, Output]:
    """Return the tensors that a result has, by their names."""
    match result:
        case Forecasted():
            return _forecasts([result])
        case ForecastedWindows() | ForecastedSeries():
            return _forecasts(result.outputs)
        case Recognized():
            return _labels(result)
    raise TypeError(f"no result of tensors: {type(result).__name__}")


def parameters_of(result: Result | Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """Return what a result says beside its tensors; what it does not hold is left out."""
    said: dict[str, str | int | float | bool] = {}
    if isinstance(result, Computed):
        said["inference_time_ms"] = round(result.inference_seconds * 1e3, 4)
        said["queue_time_ms"] = round(result.queue_seconds * 1e3, 4)
    match result:
        case Forecasted():
            forecasts: Sequence[Forecasted | ForecastOfOne] = [result]
        case ForecastedWindows() | ForecastedSeries():
            forecasts = result.outputs
        case Recognized(warnings=warnings):
            return said | ({"warnings": "\n".join(warnings)} if warnings else {})
        case _:
            return said
    if forecasts[0].quantiles is not None:
        said["quantile_levels"] = ",".join(map(name_level, forecasts[0].quantiles))
    for name in ("filled", "padded"):
        if count := sum(getattr(forecast, name) for forecast in forecasts):
            said[name] = count
    if result.rollout:
        said["rollout"] = True
    return said


def _forecasts(forecasts: Sequence[Forecasted | ForecastOfOne]) -> dict[str, Output]:
    outputs = [_floats(PREDICTIONS, _stacked([forecast.points for forecast in forecasts]))]
    quantiles = [list(forecast.quantiles.values()) for forecast in forecasts if forecast.quantiles is not None]
    if quantiles:
        outputs.append(_floats(QUANTILES, _stacked([np.stack(levels) for levels in quantiles])))
    return {output.name: output for output in outputs}


def _stacked(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.ascontiguousarray(arrays[0][None] if len(arrays) == 1 else np.stack(arrays), "<f4")


def _floats(name: str, array: NDArray[np.float32]) -> Output:
    return Output(name, "FP32", array.shape, array)


def _labels(result: Recognized) -> dict[str, Output]:
    ranked = result.results
    shape = (len(ranked), len(ranked[0]))
    ids = np.array(result.ids, "<i8").reshape(shape)
    probabilities = np.array([[each.prob for each in candidates] for candidates in ranked], "<f4").reshape(shape)
    labels = [each.label.encode() for candidates in ranked for each in candidates]
    return {
        IDS: Output(IDS, "INT64", shape, ids),
        LABELS: Output(LABELS, "BYTES", shape, elements=labels),
        PROBABILITIES: Output(PROBABILITIES, "FP32", shape, probabilities),
    }
