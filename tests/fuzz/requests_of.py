"""Requests of every op, right ones and ones that a hand has gone through: fields, types, sizes, bytes."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from market_wire import NOON, candles
from market_wire import match as match_of
from support import CHANNELS, ROOT, packed, random_windows, rows

# The service is started with so many, so that a line that is too long costs little.
MOST_BYTES = 1 << 18
# Of the services that are asked: more streams than bent requests make up, which are one to a few hundred.
OPTIONS = ("--max-request-bytes", str(MOST_BYTES), "--max-streams", "20000")
KEPT = "kept"
NAMES = [
    "op", "request_id", "timestamp_ms", "metadata", "past_values", "past_values_b64", "shape", "stream", "model",
    "inputs", "channels", "prediction_length", "rollout", "quantile_levels", "missing", "short", "start", "freq",
    "step_ms", "encoding_format", "targets", "deadline_ms", "values", "grids", "rasters", "topk", "normalize", "target",
    "REQUEST_ID", "", "\0", "ü", "message", "messages", "connected", "on_bar", "candles", "last",
]  # fmt: skip
# Values that some check may have forgotten; what is callable is made anew each time.
NASTY: list[Any] = [
    None, True, False, 0, -1, 1, 2, 5, 7, 511, 512, 513, 1023, 1024, 65535, 65536, 2**31, 2**53, 2**63 - 1, 2**63,
    2**64, -(2**63), -(2**63) - 1, 10**30, 0.0, -0.0, 0.5, 1e-320, 3.5e38, 1e308, -1e308, "", " ", "0", "ü", "\0", "\n",
    "null", "HUFL", "OT", "forecast", "glyphs", "observe", "forget", "ping", "stats", "patchtst-etth1", "../glyphs",
    "feed", "history", "bars", "NONE-USD@5m", "match", "2026-03-04T05:00:00Z",
    "AAAA", "A", "=", "interpolate", "pad", "refuse", "h", "ME", "B", "m", "2024-02-30", "2024-01-31 23:59", 96, 97,
    1536, 1537, 1e-300, [0.1, 0.9], [1, 0, 0.5], [0.5, 0.5], [{"target": [1, 2]}], [{}], [{"target": []}] * 3,
    "====", "\ud83d\ude00", "x" * 300, "A" * 20_000, [], [[]], [[[]]], {}, {"a": {}}, [None], [0],
    [[0] * 7] * 512, [0, 0], [512, 7], [7, 512], [-1, -1], [2**62, 2**62], ["OT", "OT"], [0, 6], [True], [1e999],
    float("nan"), float("inf"),
]  # fmt: skip
# Fields that hold what is computed, which are changed more often, and from within.
DATA = {
    "past_values",
    "past_values_b64",
    "values",
    "grids",
    "rasters",
    "targets",
    "shape",
    "inputs",
    "channels",
    "quantile_levels",
    "message",
    "messages",
    "candles",
}
PUNCTUATION = [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\0", b"\r", b"\n", b"\xff", b"\xed\xa0\x80", b"1e999"]


@dataclass(frozen=True)
class Request:
    """A request before it is text.

    Attributes:
        op: its op, as the route has it over HTTP.
        fields: all it says, but for ``op``.
        stream: that of its path, for an op that has one there.
        right: whether it must be answered with success, as it is.
    """

    op: str
    fields: dict[str, Any]
    stream: str = ""
    right: bool = True

    def line(self) -> dict[str, Any]:
        """Return the fields as a line has them."""
        named = {"stream": self.stream} if self.stream else {}
        return {"op": self.op, **self.fields, **named}


@cache
def _windows() -> list[Any]:
    return random_windows(12, seed=20)


@cache
def _rasters() -> list[str]:
    paths = sorted((ROOT / "examples" / "rasters").glob("*.png"))[:8]
    return [base64.b64encode(path.read_bytes()).decode() for path in paths]


@cache
def _grids() -> list[Any]:
    grids: list[Any] = np.random.default_rng(3).integers(0, 1024, (6, 16, 16)).tolist()
    return grids


def keep_stream() -> Request:
    """Return the request that fills the stream which right forecasts name."""
    return Request("observe", {"values": _windows()[0].tolist()}, KEPT)


def good(rng: random.Random, number: int, *, wide: bool = False) -> Request:
    """Return a request, its number in it; most are right, and ``wide`` ones hold a whole window."""
    extra: dict[str, Any] = {"request_id": rng.choice([number, f"n{number}", number + 2**70])}
    if rng.random() < 0.2:
        extra["timestamp_ms"] = number
    if rng.random() < 0.1:
        extra["metadata"] = rng.choice([None, [], {"a": [1, 2.5, "ü"]}, 10**25, "x", [[[]]], 1.5e300])
    choices: list[dict[str, Any]] = [{}, {"targets": [6]}, {"targets": ["OT", 0]}, {"targets": CHANNELS[:1]}]
    targets = rng.choice(choices)
    window = rng.choice(_windows())
    if wide:
        return Request("forecast", rng.choice([packed, packed, packed, rows])(window, **targets, **extra))
    match rng.randrange(25):
        case 22 | 23 | 24:
            return _of_markets(rng, number, extra)
        case 20 | 21:
            extra.pop("timestamp_ms", None)
            return Request("forecast", {**_terms(rng), **extra})
        case 0:
            return Request("forecast", {"stream": KEPT, **targets, **extra})
        case 1:
            return Request("glyphs", {"grids": rng.choices(_grids(), k=rng.randint(1, 2)), "topk": 3, **extra})
        case 2:
            fitted = {"normalize": True} if rng.random() < 0.3 else {}
            return Request("glyphs", {"rasters": [rng.choice(_rasters())], **fitted, **extra})
        case 3 | 4 | 5 | 6 | 7 | 8 | 9:
            stream = f"fuzz-{rng.randrange(50)}"
            values = [round(rng.uniform(-9, 9), 3) for _ in range(7)]
            extra.pop("timestamp_ms", None)
            return Request("observe", {"values": rng.choice([values, [values] * 3]), **extra}, stream)
        case 10 | 11 | 12:
            return Request("stats", extra)
        case 13:
            return Request("ping", extra)
        case _:
            small: list[dict[str, Any]] = [{"past_values_b64": "AAAAAAAAAAA=", "shape": [1, 2]}]
            small.append({"past_values": [[1.5] * 7] * 3})
            return Request("forecast", {**rng.choice(small), **targets, **extra}, right=False)


def _of_markets(rng: random.Random, number: int, extra: dict[str, Any]) -> Request:
    """Return messages or candles of a product of its own, or a question for bars that are not there."""
    match rng.randrange(3):
        case 0:
            trade = match_of(1, NOON, round(rng.uniform(1, 9), 2), 1, f"F{number}-USD")
            several = {"messages": [trade, {"type": "subscriptions"}], "connected": True}
            return Request("feed", {**rng.choice([{"message": trade}, several]), **extra})
        case 1:
            return Request("history", {"candles": candles(rng.randint(1, 3)), **extra}, f"H{number}-USD@5m")
        case _:
            return Request("bars", {"last": rng.choice([1, 900]), **extra}, "NONE-USD@5m", right=False)


def _terms(rng: random.Random) -> dict[str, Any]:
    """Return a forecast of any series, with all that can be asked of one; the service must answer it."""
    terms: dict[str, Any] = {}
    if rng.random() < 0.5:
        terms["quantile_levels"] = rng.sample([0, 0.01, 0.1, 0.25, 1 / 3, 0.5, 0.9, 0.99, 1, 1e-300], rng.randint(1, 4))
        terms["prediction_length"] = rng.choice([1, 2, 24, 95, 96])
    elif rng.random() < 0.3:
        terms |= {"prediction_length": rng.choice([97, 192, 250]), "rollout": True}
    gaps, short = rng.random() < 0.4, rng.random() < 0.5
    terms |= {"encoding_format": rng.choice(["float", "base64"])} if rng.random() < 0.3 else {}
    terms |= {"missing": "interpolate"} if gaps else {}
    terms |= {"short": "pad"} if short else {}
    points = rng.choice([1, 2, 30, 200, 511] if short else [512, 512, 600])
    walks = np.concatenate((rng.choice(_windows()), rng.choice(_windows())))[:points].T
    columns = [_with_gaps(rng, each.round(2).tolist(), gaps=gaps) for each in walks[: rng.randint(1, 3)]]
    hourly = {"start": f"2024-02-{rng.randint(10, 28)} {rng.randint(10, 23)}:00"} if rng.random() < 0.4 else {}
    times: dict[str, Any] = {"freq": "h"} if hourly else {}
    if not times and rng.random() < 0.3:
        times = {"timestamp_ms": rng.randint(0, 2**41), "step_ms": rng.choice([1, 60_000, 86_400_000])}
    if rng.random() < 0.6 or points > len(_windows()[0]):
        ids: list[Any] = [{}, {"item_id": None}, {"item_id": 'a}],{["ü'}, {"item_id": -5}]
        items = [{"target": each, **rng.choice(ids), **hourly} for each in columns]
        return {"inputs": items, **terms, **times}
    rows_of = [list(row) for row in zip(*columns, strict=True)]
    named = {"channels": [f"c{index}" for index in range(len(columns))]}
    return {"past_values": rows_of, **named, **terms, **times, **hourly}


def _with_gaps(rng: random.Random, values: list[Any], *, gaps: bool) -> list[Any]:
    """Return values of which, with ``gaps``, at most a fifth is missing."""
    for _ in range(len(values) // 5 if gaps else 0):
        values[rng.randrange(len(values))] = None
    return values


def bend(rng: random.Random, fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields of which one to three are changed: gone, added, renamed, of another type, size or depth."""
    fields = dict(fields)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        name = rng.choice([*fields, *fields, rng.choice(NAMES), *sorted(DATA & fields.keys()) * 3])
        match rng.randrange(12):
            case 0:
                fields.pop(name, None)
            case 1:
                fields[rng.choice(NAMES)] = fields.pop(name, rng.choice(NASTY))
            case 2 | 3 | 4 | 5 if isinstance(fields.get(name), dict):
                fields[name] = bend(rng, fields[name])
            case 2 | 3 | 4 | 5 if isinstance(fields.get(name), list):
                fields[name] = _bent_list(rng, fields[name], 0)
            case 2 | 3 | 4 | 5 if isinstance(fields.get(name), str):
                fields[name] = _bent_text(rng, fields[name])
            case 6:
                depth = rng.choice([1, 2, 10, 253, 254, 255, 1023, 1100])
                fields[name] = json.loads("[" * depth + "]" * depth)
            case _:
                fields[name] = rng.choice(NASTY)
    return fields


def _bent_list(rng: random.Random, values: list[Any], depth: int) -> list[Any]:
    values = list(values)
    if not values:
        return [rng.choice(NASTY)]
    place = rng.randrange(len(values))
    if isinstance(values[place], list) and depth < 3 and rng.random() < 0.6:
        values[place] = _bent_list(rng, values[place], depth + 1)
        return values
    match rng.randrange(6):
        case 0:
            del values[place]
        case 1:
            values.insert(place, rng.choice(values))
        case 2:
            values = values[:place]
        case 3:
            values = [values]
        case 4 if len(values) <= 16:
            values *= rng.choice([2, 20, 600])
        case _:
            values[place] = rng.choice(NASTY)
    return values


def _bent_text(rng: random.Random, text: str) -> str:
    place = rng.randint(0, len(text))
    match rng.randrange(5):
        case 0:
            return text[:place]
        case 1:
            return text[:place] + rng.choice('AZ=/+- \n\0ü\ud83d"\\') + text[place:]
        case 2:
            return text[:place] + rng.choice("AZ=/+-_.") + text[place + 1 :]
        case 3:
            return _bent_base64(rng, text)
        case _:
            return text * 2


def _bent_base64(rng: random.Random, text: str) -> str:
    try:
        raw = bytearray(base64.b64decode(text, validate=True))
    except ValueError:
        return text[::-1]
    for _ in range(rng.randint(1, 4)):
        if raw:
            raw[rng.randrange(len(raw))] = rng.randrange(256)
    if rng.random() < 0.3:
        del raw[rng.randint(0, len(raw)) :]
    return base64.b64encode(bytes(raw)).decode()


def text_of(rng: random.Random, fields: dict[str, Any]) -> bytes:
    """Return fields as JSON of one of the forms that writers have; lone surrogates are escaped."""
    try:
        text = json.dumps(fields, ensure_ascii=rng.random() < 0.5, separators=rng.choice([None, (",", ":")]))
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(fields).encode()


def tear(rng: random.Random, text: bytes) -> bytes:
    """Return a text of which bytes are changed, gone, or too many."""
    for _ in range(rng.choice([1, 1, 2, 5])):
        place = rng.randint(0, len(text))
        piece = rng.choice([rng.choice(PUNCTUATION), rng.randbytes(1), rng.randbytes(rng.randint(1, 30))])
        end = min(len(text), place + rng.choice([1, 1, 2, 50]))
        match rng.randrange(7):
            case 0:
                text = text[:place]
            case 1:
                text = text[:place] + piece + text[place:]
            case 2:
                text = text[:place] + text[end:]
            case 3:
                text = text[:place] + piece + text[end:]
            case 4:
                text = text[:place] + text[place:end] * 2 + text[end:]
            case 5:
                text = rng.choice([b"\xef\xbb\xbf", b" ", b"\t", b"\xff\xfe", b"\0"]) + text
            case _:
                text += rng.choice([b"\r", b" ", b"}", b",", b"\0", text[:40]])
    return text


def garbage(rng: random.Random) -> bytes:
    """Return what was never a request."""
    makers: list[Callable[[], bytes]] = [
        lambda: rng.randbytes(rng.choice([0, 1, 3, 40, 4000])),
        lambda: b"".join(rng.choices(PUNCTUATION, k=rng.randint(1, 60))),
        lambda: b"[" * rng.choice([1, 100, 1024, 1025, 5000]),
        lambda: b'{"a":' * rng.choice([1, 300, 1025]),
        lambda: json.dumps(rng.choice(NASTY)).encode(),
        lambda: b'{"request_id":' + b"9" * rng.choice([18, 19, 20, 308, 310, 5000]) + b"}",
        lambda: b'{"request_id":1,"request_id":2,"op":"ping","op":"stats"}',
        lambda: b'{"metadata":' + json.dumps([rng.choice(NASTY) for _ in range(30)]).encode() + b',"op":"stats"}',
    ]
    if rng.random() < 0.002:
        return b"x" * rng.choice([MOST_BYTES, MOST_BYTES + 1, 3 * MOST_BYTES])
    return rng.choice(makers)()


def any_text(rng: random.Random, number: int) -> tuple[Request, bytes, bool]:
    """Return a request, its text as a line has it, and whether it must be answered with success.

    A sixth is right as it is; of the others most are bent, some torn, some garbage.
    """
    share = rng.random()
    request = good(rng, number, wide=rng.random() < 0.05)
    if share < 1 / 6:
        return request, text_of(rng, request.line()), request.right
    if share < 0.9:
        text = text_of(rng, bend(rng, request.line()))
        text = tear(rng, text) if share > 0.75 else text
        return request, garbage(rng) if drops_the_kept(text) else text, False
    return request, garbage(rng), False


def drops_the_kept(text: bytes) -> bool:
    """Whether a text may drop the stream that right forecasts name, which would make these wrong."""
    return b"forget" in text and KEPT.encode() in text
