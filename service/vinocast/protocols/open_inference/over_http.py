"""Inference over HTTP: a body of JSON, or of JSON with the elements of tensors behind it as bytes."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import orjson
from pydantic import Field, InstanceOf, StrictInt, StrictStr

from vinocast.errors import InvalidRequestError, InvalidShapeError
from vinocast.protocols.base import Framed
from vinocast.protocols.fields import MOST
from vinocast.protocols.json import parse_json
from vinocast.protocols.open_inference.infer import (
    MOST_DIMENSIONS,
    MOST_OUTPUTS,
    PAST_VALUES,
    Infer,
    InferProtocol,
    OutputParameters,
    TensorParameters,
    Wanted,
    check_count,
    check_input,
    read_parameters,
)
from vinocast.protocols.open_inference.tensors import Tensor
from vinocast.protocols.replies import Described
from vinocast.protocols.sizes import parsed_bytes
from vinocast.protocols.standards import StandardPart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vinocast.protocols.open_inference.infer import ForecastParameters, GlyphParameters
    from vinocast.protocols.open_inference.results import Answer

# What tells how much of a body is JSON where bytes follow.
HEADER_LENGTH = b"inference-header-content-length"
SIZE = "binary_data_size"
# What whoever watches is told of what a request is called.
REQUEST_ID = "request_id"
# Of a number of bytes.
MOST_DIGITS = 18
# Texts of JSON that are remembered, and how long one may be.
MOST_REMEMBERED, SHORT = 64, 2048
Parameters = Annotated[InstanceOf[dict[str, Any]], Field(description="an object")]


class RequestInput(StandardPart):
    """A tensor."""

    name: Annotated[StrictStr, Field(max_length=MOST)] = Field(description="a string")
    shape: Annotated[list[StrictInt], Field(min_length=1, max_length=MOST_DIMENSIONS, fail_fast=True)] = Field(
        description=f"an array of 1 to {MOST_DIMENSIONS} integers"
    )
    datatype: Annotated[StrictStr, Field(max_length=MOST)] = Field(description="a string")
    parameters: Parameters = Field(default={}, description="an object")
    data: InstanceOf[list[Any]] | None = Field(
        default=None, description="an array of elements, row by row, flat or nested; none where they are bytes"
    )


class RequestOutput(StandardPart):
    """An output that is wanted."""

    name: Annotated[StrictStr, Field(max_length=MOST)] = Field(description="a string")
    parameters: Parameters = Field(default={}, description="an object")


class InferRequest(StandardPart):
    """A tensor for a model."""

    id: Annotated[StrictStr, Field(max_length=MOST)] | None = Field(
        default=None, description=f"a string of at most {MOST} characters, repeated in the reply"
    )
    parameters: Parameters = Field(default={}, description="an object")
    inputs: InstanceOf[list[Any]] = Field(description="an array of tensors")
    outputs: InstanceOf[list[Any]] | None = Field(
        default=None, description="an array of outputs; default: what is usual"
    )

    @classmethod
    def tolerates(cls, name: str) -> bool:
        """Whether a field is one of those by which a client repeats what the path says, which counts."""
        return name in {"model_name", "model_version"}


class ReplyOutput(Described):
    """A tensor of a reply."""

    name: str
    datatype: str
    shape: list[int]
    data: list[float] | list[int] | list[str] | None = Field(
        default=None, description="the elements, row by row, flat; absent where they are bytes behind the JSON"
    )
    parameters: dict[str, int] | None = Field(
        default=None, description="binary_data_size, the bytes of the elements; absent where data holds them"
    )


class InferReply(Described):
    """What a model answers; bytes of outputs follow the JSON, whose length the header says then."""

    model_name: str
    model_version: str
    id: str | None = Field(default=None, description="as sent; absent when it was not sent")
    parameters: dict[str, float | int | bool | str] = Field(description="times, and what came of the request's own")
    outputs: list[ReplyOutput]


class Refusal(Described):
    """A refused request."""

    error: str = Field(description="the path of the fault, and what was expected")


class HttpMessage:
    """A request as it came.

    Attributes:
        text: the body.
        fields: what its JSON holds.
        head: the JSON, where it is short and bytes lie behind it, as many clients send it again and again.
        binary: what lies behind the JSON; None where all is JSON.
        echoed: what the request is called: by its body, else by its header.
    """

    __slots__ = ("binary", "echoed", "fields", "head", "text")

    def __init__(self, text: bytes, header_length: bytes | None = None, identity: str | None = None) -> None:
        """Take a body apart; raises RequestError."""
        self.text = text
        self.head: bytes | None
        self.binary: memoryview | None = None
        if header_length is not None:
            length = int(header_length) if header_length.isdigit() and len(header_length) < MOST_DIGITS else -1
            if not 0 <= length <= len(text):
                raise InvalidRequestError(
                    f"Inference-Header-Content-Length: expected a number of bytes of the body, which has {len(text)}, "
                    f"got {header_length[:MOST_DIGITS].decode('latin-1')}"
                )
            self.binary = memoryview(text)[length:]
            text = text[:length]
        self.head = text if self.binary is not None and len(text) <= SHORT else None
        self.fields = _remembered_fields(text) if self.head is not None else parse_json(text)
        given = self.fields.get("id")
        self.echoed = {REQUEST_ID: given if isinstance(given, str) and len(given) <= MOST else identity}


class HttpInferProtocol(InferProtocol[HttpMessage]):
    """``POST /v2/models/NAME[/versions/VERSION]/infer``."""

    name = "open_inference"
    media_types = frozenset({"application/octet-stream"})

    def read(self, text: bytes) -> HttpMessage:
        """Return a request that is JSON alone; raises RequestError."""
        return HttpMessage(text)

    @staticmethod
    def example(context: int, channels: Sequence[str]) -> dict[str, Any]:
        """Return a request that a forecaster of such windows answers with success."""
        wave = np.sin(np.arange(context) * (2 * np.pi / 24)).round(4).repeat(len(channels)).tolist()
        shape = [1, context, len(channels)]
        return {"inputs": [{"name": PAST_VALUES, "shape": shape, "datatype": "FP32", "data": wave}]}

    def refused(self, message: str) -> bytes:
        """Return the reply to a request that is refused."""
        return orjson.dumps({"error": message})

    def input_name(self, message: HttpMessage) -> object:
        """Return the name of a request's first input, or anything else where it has none."""
        inputs = message.fields.get("inputs")
        first = inputs[0] if isinstance(inputs, list) and inputs else None
        name = first.get("name") if isinstance(first, dict) else None
        return name if isinstance(name, str) else None

    def infer(self, message: HttpMessage, path: Mapping[str, str] | None) -> Infer:
        """Return what a request holds; raises RequestError."""
        given = _given(message.fields) if message.head is None else _remembered(message.head)
        where = path or {}
        # The elements lie in the body, which so waits as a whole.
        identity = message.echoed[REQUEST_ID]
        kept = sys.getsizeof(identity) + (0 if message.binary is None else len(message.text))
        return Infer(
            where["model"],
            where.get("version"),
            identity,
            given.parameters,
            _tensor(given, "inputs[0]", message),
            given.outputs,
            binary=None,
            kept=kept,
        )

    def write(self, answer: Answer) -> bytes:
        """Return a reply, as JSON, and behind it what is sent as bytes."""
        outputs: list[dict[str, Any]] = []
        pieces: list[bytes | memoryview] = []
        for output, as_bytes in answer.outputs:
            said: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
            if as_bytes:
                piece = output.binary
                pieces.append(piece)
                said["parameters"] = {SIZE: len(piece)}
            else:
                said["data"] = output.data
            outputs.append(said)
        fields: dict[str, Any] = {"model_name": answer.model, "model_version": answer.version}
        if answer.id is not None:
            fields["id"] = answer.id
        text = orjson.dumps(
            {**fields, "parameters": answer.parameters, "outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY
        )
        if not pieces:
            return text
        headers = ((b"content-type", b"application/octet-stream"), (HEADER_LENGTH, b"%d" % len(text)))
        return Framed.of(b"".join((text, *pieces)), headers)


class _Given(NamedTuple):
    """What the JSON of a request says, checked as far as it tells."""

    tensor: RequestInput
    size: int | None
    parameters: ForecastParameters | GlyphParameters
    outputs: Sequence[Wanted] | None


def _given(fields: dict[str, Any]) -> _Given:
    """Return what the JSON of a request says; raises RequestError."""
    request = InferRequest.of(fields)
    check_count(len(request.inputs))
    tensor = RequestInput.of(request.inputs[0], "inputs[0]")
    check_input(tensor.name, tensor.datatype, tensor.shape, "inputs[0]")
    size = TensorParameters.of(tensor.parameters, "inputs[0].parameters").binary_data_size
    outputs = None if request.outputs is None else _outputs(request.outputs)
    return _Given(tensor, size, read_parameters(request.parameters, tensor.name), outputs)


_remembered_fields = lru_cache(MOST_REMEMBERED)(parse_json)


@lru_cache(MOST_REMEMBERED)
def _remembered(head: bytes) -> _Given:
    return _given(_remembered_fields(head))


def _tensor(said: _Given, path: str, message: HttpMessage) -> Tensor:
    """Return a tensor; raises RequestError."""
    given, size = said.tensor, said.size
    there = 0 if message.binary is None else len(message.binary)
    where = f"{path}.parameters.{SIZE}"
    if size is None and given.data is None:
        expected = f"an array of elements, or bytes behind the JSON and parameters.{SIZE}"
        raise InvalidRequestError(f"{path}.data: expected {expected}", f"{path}.data")
    if size is not None and given.data is not None:
        raise InvalidRequestError(f"{where}: expected none beside data", where)
    if size is not None and message.binary is None:
        raise InvalidRequestError(f"{where}: expected the header Inference-Header-Content-Length beside it", where)
    if there != (size or 0):
        raise InvalidShapeError(f"{where}: expected {there}, the bytes behind the JSON, got {size or 'none'}", where)
    binary = None if size is None else message.binary
    nbytes = parsed_bytes(message.text) if binary is None else there
    return Tensor(given.name, given.datatype, tuple(given.shape), nbytes, given.data, binary)


def _outputs(items: list[Any]) -> list[Wanted]:
    if len(items) > MOST_OUTPUTS:
        raise InvalidRequestError(f"outputs: expected at most {MOST_OUTPUTS}, got {len(items)}", "outputs")
    wanted = []
    for index, item in enumerate(items):
        output = RequestOutput.of(item, f"outputs[{index}]")
        parameters = OutputParameters.of(output.parameters, f"outputs[{index}].parameters")
        wanted.append(Wanted(output.name, parameters.binary_data))
    return wanted
