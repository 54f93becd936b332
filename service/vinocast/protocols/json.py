"""The protocol of JSON: a request's text to what is asked, typed, and a result or an error to the reply's text.

Lines and HTTP bodies hold the same. A transport hands in the text and a function to call with the reply; what it need
not know is what was asked.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import re
import sys
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Mapping
from dataclasses import fields as fields_of
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from vinocast.errors import (
    InvalidJsonError,
    InvalidRequestError,
    RequestError,
    UnknownOpError,
    describe,
    quote,
    shorten,
)
from vinocast.markets import Fed, HeldBars
from vinocast.protocols import market
from vinocast.protocols.base import LINES, Asked, ByteProtocol, Outcome
from vinocast.protocols.base64 import encode_floats
from vinocast.protocols.fields import MOST
from vinocast.protocols.numbers import Numbers, take_numbers
from vinocast.protocols.schemas import Envelope
from vinocast.protocols.series import SeriesText, take_series
from vinocast.protocols.sizes import check_counts
from vinocast.requests import Computed, Forecast, Forecasted, ForecastedSeries, ForecastOfOne, Recognized
from vinocast.settings import METADATA_BYTES

if TYPE_CHECKING:
    from pydantic import BaseModel

    from vinocast.dataplane import DataPlane, Op
    from vinocast.markets import Pushed
    from vinocast.requests import Result

Request = TypeVar("Request", bound=Envelope)
# What a reply says in other units than a result.
TIMES = {field.name for field in fields_of(Computed)}
# Names of levels that are kept ready, half the time of a name.
MOST_NAMES = 1024
# The op of a request that names none.
DEFAULT_OP = "forecast"
# A text with an integer beyond 64 bits that is nested more than 200 deep is read up to this length.
MOST_DEEP_BYTES = 1 << 20
# What orjson makes of an integer beyond 64 bits, as it writes it: 1.8446744073709552e+19, where a value may stand.
ROUNDED = re.compile(rb"(?<![^\[,:])-?\d(?:\.\d+)?e\+?\d\d+(?![^\],}])")
BEYOND_64_BITS = 2.0**63
# What an element of a field may be, where the schema looks into it; of any other field its own description is said.
ELEMENTS = {
    "targets": "a channel's name or index",
    "shape": "an integer",
    "quantile_levels": "a number from 0 to 1",
    "channels": "a non-empty string",
}


class Message:
    """A request as parsed JSON.

    Attributes:
        text: its bytes.
        fields: what they hold.
        echoed: what of it the reply repeats.
    """

    __slots__ = ("echoed", "fields", "text")

    def __init__(self, text: bytes) -> None:
        """Parse a text; raises as :func:`parse_request` does."""
        self.text = text
        self.fields = parse_request(text)
        self.echoed = echo(self.fields)


class JsonProtocol(ByteProtocol[Message]):
    """Requests and replies in JSON, between a transport and the data plane.

    Args:
        plane: what answers.
        ops: the table of ops, by name.
        name: by which those who watch know it: by the transport.
    """

    def __init__(self, plane: DataPlane, ops: Mapping[str, Op], name: str = LINES.protocol) -> None:
        super().__init__(plane)
        self._ops = ops
        self.name = name
        self.nothing = echo({})

    def read(self, text: bytes) -> Message:
        """Return a request; raises as :func:`parse_request` does."""
        return Message(text)

    def pushed(self, pushed: Pushed) -> bytes:
        """Return the line of a forecast that no request has asked for."""
        told = {"op": "forecast", "stream": pushed.stream}
        outcome = pushed.outcome
        if isinstance(outcome, RequestError):
            return failure(told | {"newest_timestamp_ms": pushed.newest_ms}, outcome)
        return success(told, outcome, in_base64=pushed.in_base64)

    def named(self, message: Message) -> Op:
        """Return the op that a request names, or the default; raises UnknownOpError or InvalidRequestError."""
        name = message.fields.get("op")
        if name is None:
            name = DEFAULT_OP
        if not isinstance(name, str):
            raise InvalidRequestError(f"op: expected a string, got {describe(name)}", "op")
        op = self._ops.get(name)
        if op is None:
            *names, last = self._ops
            raise UnknownOpError(f"op: expected {', '.join(names)} or {last}, got {quote(name)}", "op")
        return op

    def ask(self, message: Message, received: float, op: Op, path: Mapping[str, Any] | None, /) -> Asked:
        """Return what is asked for; raises RequestError."""
        echoed = message.echoed

        def reply(outcome: Outcome) -> bytes:
            if isinstance(outcome, RequestError):
                return failure(echoed, outcome)
            return success(echoed, outcome, in_base64=in_base64)

        fields = _with_path(message.fields, path) if path else message.fields
        request = op.request.plain(fields) or validate(op.request, fields).ask(message.text, received)
        in_base64 = isinstance(request, Forecast) and request.in_base64
        return Asked(op, request, reply, _kept_bytes(echoed))

    def failure(self, echoed: Mapping[str, Any], error: RequestError) -> bytes:
        """Return the error envelope."""
        return failure(echoed, error)


def parse_request(text: bytes) -> dict[str, Any]:
    """Return what :func:`parse_json` does, but for what is read later, or in another way.

    That is a window that :func:`take_numbers` finds, :class:`Numbers`, and series that :func:`take_series` finds,
    :class:`SeriesText`.
    """
    found: tuple[bytes, Numbers | SeriesText] | None
    name, found = "past_values", take_numbers(text)
    if found is None:
        name, found = "inputs", take_series(text)
    if found is not None:
        rest, taken = found
        with contextlib.suppress(RequestError):  # whose text would tell of the rest
            fields = parse_json(rest)
            if fields.get(name) == []:
                fields[name] = taken
                return fields
    return parse_json(text)


def parse_json(body: bytes) -> dict[str, Any]:
    """Return the object a request's bytes hold, past a byte order mark.

    A ``request_id`` that is an integer is exact, however large; ``metadata`` is left as JSON text, for the reply.

    Raises:
        InvalidJsonError: not JSON by RFC 8259, nested too deep, or not UTF-8.
        InvalidRequestError: JSON, but not an object.
        PayloadTooLargeError: it holds more than any request of that length needs.
    """
    text = body.removeprefix(BOM_UTF8)
    check_counts(text)
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if text.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or b"\0" in text[:4]:
            raise InvalidJsonError("expected a JSON object in UTF-8: these bytes look like UTF-16 or UTF-32") from None
        try:
            body.decode()  # orjson does not say where the fault is
        except UnicodeDecodeError as fault:
            got = f"byte {fault.start} (0x{body[fault.start]:02x}) is none"
            raise InvalidJsonError(f"expected a JSON object in UTF-8: {got}") from None
        raise InvalidJsonError(f"expected a JSON object: {error}") from None
    if not isinstance(fields, dict):
        raise InvalidRequestError("expected a JSON object")
    request_id = fields.get("request_id")
    if type(request_id) is float and abs(request_id) >= BEYOND_64_BITS:
        fields["request_id"] = _parse_exactly(text)["request_id"]
    if "metadata" in fields:
        try:
            raw = orjson.dumps(fields["metadata"])
        except orjson.JSONEncodeError:  # too deep to be written again, which the schema refuses
            return fields
        # 1e15 is written as 1000000000000000.0. What is longer is left as it is, which the schema refuses.
        if len(raw) <= METADATA_BYTES and b"e+" in raw and ROUNDED.search(raw):
            raw = to_json(_parse_exactly(text)["metadata"])
        if len(raw) <= METADATA_BYTES:
            fields["metadata"] = orjson.Fragment(raw)
    return fields


def _parse_exactly(text: bytes) -> dict[str, Any]:
    """Parse what orjson has taken once more, in twice its time, with integers of any size."""
    fields: dict[str, Any]
    try:
        fields = from_json(text)
    except ValueError:  # deeper than it reads
        try:
            fields = json.loads(text[:MOST_DEEP_BYTES])  # which takes five times as long
        except (RecursionError, ValueError):
            deep = "it is nested too deep for an integer beyond 64 bits"
            raise InvalidJsonError(f"expected a JSON object: {deep}") from None
    return fields


def echo(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a parsed request its reply repeats.

    ``request_id`` and ``timestamp_ms`` are null where they are absent or unreadable, ``metadata`` is left out.
    """
    request_id, timestamp = fields.get("request_id"), fields.get("timestamp_ms")
    if type(request_id) is int:
        if not -(2**63) <= request_id < 2**64:  # more than orjson writes
            request_id = orjson.Fragment(str(request_id))
    elif not (isinstance(request_id, str) and len(request_id) <= MOST):
        request_id = None
    echoed = {"request_id": request_id, "timestamp_ms": timestamp if type(timestamp) is int else None}
    if isinstance(metadata := fields.get("metadata"), orjson.Fragment):
        echoed["metadata"] = metadata
    return echoed


def _kept_bytes(echoed: Mapping[str, Any]) -> int:
    """Return how many bytes of memory wait for a reply that is to repeat them."""
    kept = sys.getsizeof(echoed["request_id"])
    metadata = echoed.get("metadata")
    return kept if metadata is None else kept + len(orjson.dumps(metadata))


def validate(schema: type[Request], fields: Mapping[str, Any]) -> Request:
    """Validate the envelope of a request; raises InvalidRequestError with the path of the first fault."""
    if not fields.keys() <= schema.known:
        raise _unknown_field(next(name for name in fields if name not in schema.known), schema)
    try:
        return schema.model_validate(fields)
    except ValidationError as error:
        raise _first_fault(error, schema) from None


def _unknown_field(name: str, schema: type[Envelope]) -> InvalidRequestError:
    field = shorten(name)
    near = difflib.get_close_matches(field.lower(), schema.known, n=1, cutoff=0.7)
    hint = f", did you mean {near[0]}?" if near else ";"
    names = ", ".join(schema.model_fields)
    return InvalidRequestError(f"{field}: no such field{hint} expected none but {names}", field)


def _first_fault(error: ValidationError, schema: type[BaseModel]) -> InvalidRequestError:
    fault = error.errors(include_url=False)[0]
    location = fault["loc"]
    name = str(location[0])
    # Behind a list's index come the branches of a union, which mean nothing to the sender.
    path = name + "".join(f"[{part}]" for part in location[1:2] if isinstance(part, int))
    description = schema.model_fields[name].description
    expected = description if path == name else ELEMENTS.get(name, description)
    if fault["type"] == "too_long" and fault["ctx"]["max_length"] == MOST:
        expected = f"at most {MOST} elements"
    got = "nothing" if fault["type"] == "missing" else describe(fault["input"])
    return InvalidRequestError(f"{path}: expected {expected}, got {got}", path)


def encode(reply: Mapping[str, Any]) -> bytes:
    """Return a reply as JSON bytes; float32 arrays are written with the shortest digits that read back the same."""
    return orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)


def success(echoed: Mapping[str, Any], result: Result | Mapping[str, Any], *, in_base64: bool = False) -> bytes:
    """Return the reply to a request that was answered, as JSON bytes; of a forecast the numbers may be in base64."""
    return encode({**echoed, **described(result, in_base64=in_base64), "success": True})


def failure(echoed: Mapping[str, Any], error: RequestError) -> bytes:
    """Return the error envelope as JSON bytes."""
    return encode({**echoed, "success": False, "error": error.body()})


def described(result: Result | Mapping[str, Any], *, in_base64: bool = False) -> Mapping[str, Any]:
    """Return the fields of a reply that a result makes; what it does not hold is left out."""
    reply: dict[str, Any]
    match result:
        case Forecasted():
            reply = {"predictions": result.points, "channels": result.channels, **_times(result)}
            _add_terms(reply, result, in_base64=in_base64)
            if result.rollout:
                reply["rollout"] = True
            if result.position is not None:
                reply["newest_timestamp_ms"] = result.position.newest_timestamp_ms
                reply["rows_since_newest"] = result.position.rows_since_newest
            if result.quantiles_from is not None:
                reply["quantiles_from"] = result.quantiles_from
            _add_warnings(reply, result)
        case ForecastedSeries():
            reply = {"outputs": [_output(each, in_base64) for each in result.outputs], **_times(result)}
            if result.rollout:
                reply["rollout"] = True
        case Recognized():
            reply = {"results": [{"topk": candidates} for candidates in result.results], **_times(result)}
            _add_warnings(reply, result)
        case Fed() | HeldBars():
            return market.described(result)
        case Mapping():
            return result
        case _:
            reply = {field.name: getattr(result, field.name) for field in fields_of(result) if field.name not in TIMES}
            if isinstance(result, Computed):
                reply |= _times(result)
    return reply


def _add_warnings(reply: dict[str, Any], result: Forecasted | Recognized) -> None:
    if result.warnings:
        reply["warnings"] = result.warnings


def _output(output: ForecastOfOne, in_base64: bool) -> dict[str, Any]:
    fields = {"item_id": output.item_id, "predictions": output.points}
    _add_terms(fields, output, in_base64=in_base64)
    return fields


def _add_terms(reply: dict[str, Any], result: Forecasted | ForecastOfOne, *, in_base64: bool) -> None:
    """Add what was asked for beside the points; have base64 in the place of numbers."""
    quantiles = result.quantiles
    if in_base64:
        points = reply.pop("predictions")
        reply["predictions_b64"], reply["shape"] = encode_floats(points), points.shape
    if quantiles is not None and in_base64:
        reply["quantiles_b64"] = {name_level(level): encode_floats(values) for level, values in quantiles.items()}
    elif quantiles is not None:
        reply["quantiles"] = {name_level(level): values for level, values in quantiles.items()}
    if result.timestamps is not None:
        reply["timestamps"] = result.timestamps
    if result.filled:
        reply["filled"] = result.filled
    if result.padded:
        reply["padded"] = result.padded


@lru_cache(MOST_NAMES)
def name_level(level: float) -> str:
    """Return the name that a quantile of a level has in a reply: the shortest that reads back the same."""
    return repr(level).removesuffix(".0")


def _times(result: Computed) -> dict[str, Any]:
    return {
        "inference_time_ms": round(result.inference_seconds * 1e3, 4),
        "queue_time_ms": round(result.queue_seconds * 1e3, 4),
        "model": result.model,
    }


def _with_path(fields: Mapping[str, Any], path: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields with those of a path; raises InvalidRequestError where a body names another value of one."""
    for name, value in path.items():
        if fields.get(name) not in (None, value):
            got = describe(fields[name])
            raise InvalidRequestError(f"{name}: expected {quote(value)}, as in the path, or nothing, got {got}", name)
    return {**fields, **path}
