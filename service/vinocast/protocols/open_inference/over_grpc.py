"""Inference over gRPC: the bytes of a message in, those of another out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.message import DecodeError

from vinocast.errors import InvalidRequestError, InvalidShapeError
from vinocast.protocols.fields import MOST
from vinocast.protocols.open_inference.infer import (
    MOST_DIMENSIONS,
    MOST_OUTPUTS,
    Infer,
    InferProtocol,
    OutputParameters,
    TensorParameters,
    Wanted,
    check_count,
    check_input,
    read_parameters,
)
from vinocast.protocols.open_inference.messages import message
from vinocast.protocols.open_inference.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vinocast.protocols.open_inference.results import Answer

InferRequest, InferResponse = message("ModelInferRequest"), message("ModelInferResponse")
# Where the elements of a datatype stand, and as what, where they are not sent as bytes.
CONTENTS = {"FP32": ("fp32_contents", "<f4"), "INT64": ("int64_contents", "<i8")}
# What an element takes in a list of Python.
ELEMENT_BYTES = 64


class GrpcMessage:
    """A request as it came.

    Attributes:
        text: its bytes.
        request: what they hold.
        deadline: the moment of ``time.monotonic`` after which its client has left; None where it waits for ever.
        echoed: what the request is called.
    """

    __slots__ = ("deadline", "echoed", "request", "text")

    def __init__(self, text: bytes, deadline: float | None = None) -> None:
        """Parse a message; raises InvalidRequestError."""
        self.text = text
        self.deadline = deadline
        try:
            self.request = InferRequest.FromString(text)
        except DecodeError:
            raise InvalidRequestError("expected a message ModelInferRequest") from None
        self.echoed = {"request_id": self.request.id[:MOST] or None}


class GrpcInferProtocol(InferProtocol[GrpcMessage]):
    """``ModelInfer`` and each request of ``ModelStreamInfer``."""

    name = "grpc"

    def read(self, text: bytes) -> GrpcMessage:
        """Return a request; raises InvalidRequestError."""
        return GrpcMessage(text)

    def refused(self, said: str) -> bytes:
        """Return what is said of a request that is refused."""
        return said.encode()

    def input_name(self, given: GrpcMessage) -> object:
        """Return the name of a request's first input, or nothing where it has none."""
        return given.request.inputs[0].name if given.request.inputs else None

    def infer(self, given: GrpcMessage, path: Mapping[str, str] | None) -> Infer:  # noqa: ARG002 - it has none
        """Return what a request holds; raises RequestError."""
        request = given.request
        if len(request.id) > MOST:
            raise InvalidRequestError(f"id: expected at most {MOST} characters, got {len(request.id)}", "id")
        if len(request.outputs) > MOST_OUTPUTS:
            raise InvalidRequestError(
                f"outputs: expected at most {MOST_OUTPUTS}, got {len(request.outputs)}", "outputs"
            )
        check_count(len(request.inputs))
        outputs = []
        for index, output in enumerate(request.outputs):
            OutputParameters.of(_parameters(output.parameters), f"outputs[{index}].parameters")
            outputs.append(Wanted(output.name))
        tensor = _tensor(request)
        return Infer(
            request.model_name,
            request.model_version or None,
            request.id or None,
            read_parameters(_parameters(request.parameters), tensor.name),
            tensor,
            outputs,
            binary=True,
            kept=len(request.id) + (0 if tensor.binary is None else len(tensor.binary)),
            deadline=given.deadline,
        )

    def write(self, answer: Answer) -> bytes:
        """Return a reply."""
        response = InferResponse(model_name=answer.model, model_version=answer.version, id=answer.id or "")
        for name, value in answer.parameters.items():
            _set(response.parameters[name], value)
        for output, _ in answer.outputs:
            response.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
            response.raw_output_contents.append(bytes(output.binary))
        written: bytes = response.SerializeToString()
        return written


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with the values that they have; None for one without."""
    return {name: getattr(value, value.WhichOneof("parameter_choice") or "", None) for name, value in given.items()}


def _set(parameter: Any, value: str | int | float | bool) -> None:
    match value:
        case bool():
            parameter.bool_param = value
        case int():
            parameter.int64_param = value
        case float():
            parameter.double_param = value
        case str():
            parameter.string_param = value


def _tensor(request: Any) -> Tensor:
    """Return the tensor of a request; raises RequestError."""
    (given,), raw = request.inputs, request.raw_input_contents
    if len(given.shape) > MOST_DIMENSIONS:
        raise InvalidShapeError(f"inputs[0].shape: expected at most {MOST_DIMENSIONS}, got {len(given.shape)}")
    shape = tuple(given.shape)
    check_input(given.name, given.datatype, shape, "inputs[0]")
    size = None
    if given.parameters:
        size = TensorParameters.of(_parameters(given.parameters), "inputs[0].parameters").binary_data_size
    if len(raw) > 1 or (raw and given.HasField("contents")):
        path = "raw_input_contents"
        raise InvalidRequestError(f"{path}: expected the bytes of one input, or none beside its contents", path)
    if raw:
        binary = memoryview(raw[0])
        if size not in (None, len(binary)):
            path = "inputs[0].parameters.binary_data_size"
            raise InvalidShapeError(f"{path}: expected {len(binary)}, the bytes of the input, got {size}", path)
        return Tensor(given.name, given.datatype, shape, len(binary), binary=binary)
    if given.datatype == "BYTES":
        elements = list(given.contents.bytes_contents)
        nbytes = sum(map(len, elements)) + ELEMENT_BYTES * len(elements)
        return Tensor(given.name, given.datatype, shape, nbytes, elements=elements)
    field, dtype = CONTENTS[given.datatype]
    array = np.array(getattr(given.contents, field), dtype)
    return Tensor(given.name, given.datatype, shape, array.nbytes, binary=array.view(np.uint8).data)
