"""What a request must be answered with, found without the code that answers it.

JSON is read by Python's own ``json``, made as strict as RFC 8259 and ``docs/protocol.md`` are; numbers come from
``vinocast.load`` and the glyph chain, in this process.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from fuzz.forecasts import Forecasts
from support import MODELS
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.manifest import ModelFolder
from vinocast.engine.tuned import find_profile
from vinocast.errors import RequestError, VinocastError
from vinocast.glyphs.manifest import GlyphsManifest
from vinocast.glyphs.normalize import raster_of_png
from vinocast.glyphs.rasters import decode_raster
from vinocast.glyphs.recognizer import Recognizer
from vinocast.kinds import open_model
from vinocast.settings import Settings

BOM = b"\xef\xbb\xbf"
# Levels that the service reads, and of these that it can write again.
MOST_LEVELS, MOST_METADATA_LEVELS = 1024, 254
STATUSES = {error.code: error.status for error in RequestError.__subclasses__()}
# What is refused below the routes, as ``invalid_request``.
ONLY_HTTP = {400, 431, 501}
# The field by which the reply to each op is known.
MARKS = {
    "predictions": "forecast",
    "predictions_b64": "forecast",
    "outputs": "forecast",
    "results": "glyphs",
    "closed": "feed",
    "bars": "bars",
    "missing": "observe",
    "newest_timestamp_ms": "forget",
    "degraded": "ping",
    "answered": "stats",
}
# Between two probabilities that come in the same order however they are computed.
LEAST_GAP = 1e-3
ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
# Deeper than any text that is read here; of Python's own limit the service has nothing.
sys.setrecursionlimit(20_000)


class NotJsonError(ValueError):
    """A text that a service must refuse as ``invalid_json``."""


def strict(text: bytes) -> Any:
    """Return what a text holds, integers exact; raises NotJsonError."""
    try:
        characters = text.removeprefix(BOM).decode()
        value = json.loads(characters, parse_constant=_refuse, parse_float=_double, parse_int=_integer)
    except (ValueError, OverflowError, RecursionError) as error:
        raise NotJsonError(str(error)) from None
    if levels(characters) > MOST_LEVELS or not _paired(characters):
        raise NotJsonError("nested too deep, or half a surrogate pair")
    return value


def levels(text: str) -> int:
    """Return how deep arrays and objects are nested in a text that is JSON, or a bound of it where that is small."""
    if (most := text.count("[") + text.count("{")) <= MOST_METADATA_LEVELS:
        return most
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _refuse(word: str) -> NoReturn:
    raise NotJsonError(word)


def _double(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise NotJsonError("beyond a double")
    return number


def _integer(digits: str) -> int:
    if len(digits) > 400:
        raise NotJsonError("beyond a double")
    number = int(digits)
    float(number)  # OverflowError
    return number


def _paired(text: str) -> bool:
    """Whether every escaped half of a surrogate pair has its other half behind it."""
    half, end = False, -1
    for escape in ESCAPE.finditer(text):
        unit = int(escape[1], 16) if escape[1] else 0
        low = 0xDC00 <= unit < 0xE000
        if low != (half and escape.start() == end):
            return False
        if half and not low:
            return False
        half, end = 0xD800 <= unit < 0xDC00, escape.end()
    return not half


@dataclass
class Expected:
    """What the reply to one text must be like.

    Attributes:
        text: what was sent.
        fields: what it holds; None where it is no object.
        code: the one right refusal, where only one is.
        good: whether it must be answered with success.
        request_id: that of the reply.
        op: what is asked for where a route says it.
    """

    text: bytes
    fields: dict[str, Any] | None
    code: str | None = None
    good: bool = False
    request_id: str | int | None = None
    op: str | None = None

    @cached_property
    def in_parts(self) -> bool:
        """Whether it is no JSON, but series that are read one by one, of which another fault may come first."""
        return self.code == "invalid_json" and b'"inputs"' in self.text

    @cached_property
    def deep(self) -> bool:
        """Whether it is nested deeper than what can be echoed: how deep any other field may be is not promised."""
        return levels(self.text.decode(errors="replace")) > MOST_METADATA_LEVELS and self.code != "invalid_json"


def expect(text: bytes, limit: int, *, good: bool = False, op: str | None = None) -> Expected:
    """Return what a request of at most ``limit`` bytes must be answered with; ``op`` is that of its route."""
    if len(text) > limit:
        return Expected(text, None, "payload_too_large" if op else "line_too_long")
    try:
        fields = strict(text)
    except NotJsonError:
        return Expected(text, None, "invalid_json")
    if not isinstance(fields, dict):
        return Expected(text, None, "invalid_request")
    request_id = fields.get("request_id")
    named = isinstance(request_id, str | int) and not isinstance(request_id, bool)
    return Expected(text, fields, None, good, request_id if named else None, op)


class Answers:
    """What the bundled models themselves answer."""

    def __init__(self) -> None:
        self._forecasts = Forecasts()
        manifest = open_model(MODELS / "glyphs").manifest
        assert isinstance(manifest, GlyphsManifest)
        self._glyphs = Recognizer(ModelFolder(MODELS / "glyphs", manifest))
        self._glyphs.load(Compiler(find_profile(Settings().profile), cpu_budget()))
        self._kept: dict[str | int, Any] = {}

    def fault(self, expected: Expected, reply: Any, status: int | None = None) -> str | None:
        """Return what is wrong with a reply, or None.

        Args:
            expected: what it must be like.
            reply: the parsed reply.
            status: that of HTTP, where there is one.
        """
        if not isinstance(reply, dict) or not isinstance(reply.get("success"), bool):
            return "no envelope"
        fields = expected.fields or {}
        if (fault := echo_fault(expected, reply)) is not None:
            return fault
        if not reply["success"]:
            return _refusal_fault(expected, reply, status)
        if expected.code is not None:
            return f"answered where only {expected.code} is right"
        if status not in (None, 200):
            return f"success with the status {status}"
        present = {name: value for name, value in fields.items() if value is not None}
        op = expected.op or present.get("op", "forecast")
        if next((kind for name, kind in MARKS.items() if name in reply), None) != ("feed" if op == "history" else op):
            return f"a reply of another op than {op!r:.40}"
        try:
            if op == "forecast":
                return self._forecasts.fault(present, reply)
            return self._glyphs_fault(present, reply) if op == "glyphs" else None
        except (VinocastError, LookupError, TypeError, ValueError) as error:
            return f"success for what is wrong: {error!r:.200}"

    def _glyphs_fault(self, fields: dict[str, Any], reply: dict[str, Any]) -> str | None:
        topk = fields.get("topk", 5)
        key = json.dumps([fields.get(name) for name in ("grids", "rasters", "topk", "normalize")])
        if key not in self._kept:
            self._kept[key] = self._recognized(fields, topk)
        right = self._kept[key]
        if len(reply["results"]) != len(right):
            return "another number of glyphs"
        for result, ranked in zip(reply["results"], right, strict=True):
            labels, odds = [each.label for each in ranked], np.array([each.prob for each in ranked] + [-1])
            if [each["rank"] for each in result["topk"]] != list(range(1, min(topk, len(labels)) + 1)):
                return "another number of labels"
            if np.abs([each["prob"] for each in result["topk"]] - odds[: len(result["topk"])]).max() > LEAST_GAP / 10:
                return "other probabilities than the chain's own"
            # Labels as good as equal may stand in either order.
            clear = np.diff(odds) < -LEAST_GAP
            for place, each in enumerate(result["topk"]):
                if clear[place] and (place == 0 or clear[place - 1]) and each["label"] != labels[place]:
                    return "other labels than the chain's own"
        return None

    def _recognized(self, fields: dict[str, Any], topk: int) -> list[Any]:
        """Return the candidates of each glyph, one more than asked for."""
        answers: list[Any] = []
        for start in range(0, len(fields.get("grids") or fields["rasters"]), 4):
            if fields.get("grids"):
                grids = np.array(fields["grids"][start : start + 4], np.uint16)
                answers += self._glyphs.recognize_grids(grids, topk + 1)[0]
            else:
                read = raster_of_png if fields.get("normalize") else decode_raster
                rasters = [read(base64.b64decode(text)) for text in fields["rasters"][start : start + 4]]
                answers += self._glyphs.recognize_rasters(np.stack(rasters), topk + 1)[0]
        return answers


def echo_fault(expected: Expected, reply: dict[str, Any]) -> str | None:
    """Return what is wrong with what a reply repeats of its request, or None."""
    fields = expected.fields or {}
    if expected.in_parts and reply["success"] is False:
        return None  # what it repeats, it has found beside the series
    if expected.deep and reply["success"] is False and reply["error"]["code"] == "invalid_json":
        return None if reply["request_id"] is None else "an id out of what is no JSON"
    if _text(reply.get("request_id")) != _text(expected.request_id):
        return f"request_id: {reply.get('request_id')!r:.80} for {expected.request_id!r:.80}"
    stamp = fields.get("timestamp_ms")
    whole = isinstance(stamp, int) and not isinstance(stamp, bool) and -(2**63) <= stamp < 2**64
    if _text(reply.get("timestamp_ms")) != _text(stamp if whole else None):
        return f"timestamp_ms: {reply.get('timestamp_ms')!r:.80} for {stamp!r:.80}"
    if "metadata" not in fields:
        return "metadata that nobody sent" if "metadata" in reply else None
    text = _text(fields["metadata"])
    if levels(text) > MOST_METADATA_LEVELS:
        return "metadata too deep to be echoed" if reply["success"] else None
    return None if _text(reply.get("metadata", ...)) == text else "metadata: not as sent"


def _refusal_fault(expected: Expected, reply: dict[str, Any], status: int | None) -> str | None:
    error = reply.get("error")
    if not isinstance(error, dict) or set(error) != {"code", "message", "field", "retryable"}:
        return "a refusal without the envelope"
    code = error["code"]
    if code not in STATUSES or code == "internal":
        return f"refused as {code}"
    if (
        status is not None
        and status != STATUSES[code]
        and not (code == "invalid_request" and status in (400, 431, 501))
    ):
        return f"{code} with the status {status}"
    if expected.in_parts:
        return None
    if expected.code is not None and code != expected.code and not (code == "invalid_json" and expected.deep):
        return f"{code} where only {expected.code} is right"
    if code == "invalid_json" and expected.code != code and not expected.deep:
        return "JSON that is refused as none"
    if code == "deadline_exceeded" and "deadline_ms" not in (expected.fields or {}):
        return "a deadline that nobody has set"
    if expected.good or STATUSES[code] == 503:
        return f"{code} for what must be answered: {error['message']:.200}"
    return None


def _text(value: Any) -> str:
    return "…" if value is ... else json.dumps(value, ensure_ascii=True)
