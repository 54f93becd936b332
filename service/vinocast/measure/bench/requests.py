"""The requests of a benchmark, made before it starts: one window in each of its forms, for each transport."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson

from vinocast.measure.bench.load import FIRST_ID, ID_KEY, Body

if TYPE_CHECKING:
    from numpy.typing import NDArray

Transport = Literal["stdio", "http"]
# ``empty`` names no window and is refused: what a request costs that brings next to nothing.
Form = Literal["json", "base64", "stream", "empty"]
TRANSPORTS: tuple[Transport, ...] = ("stdio", "http")
FORMS: tuple[Form, ...] = ("json", "base64", "stream")

# Several, so that no cache and no branch predictor learns one by heart.
WINDOWS = 8


def random_windows(context: int, channels: int, count: int = WINDOWS) -> list[NDArray[np.float32]]:
    """Return random walks [context, channels] around 100 with five decimals: about 10 bytes per number as JSON."""
    walks = np.random.default_rng(0).standard_normal((count, context, channels)).cumsum(axis=1)
    return list((100 + walks).round(5).astype(np.float32))


def forecasts(
    transport: Transport, form: Form, windows: list[NDArray[np.float32]], targets: list[int] | None
) -> list[Body]:
    """Return a forecast request for each window; ``targets`` are channel indices, None for all."""
    wanted = {} if targets is None else {"targets": targets}
    return [
        request(transport, "/forecast", {**_window(form, window, index), **wanted})
        for index, window in enumerate(windows)
    ]


def observations(transport: Transport, windows: list[NDArray[np.float32]]) -> list[Body]:
    """Return the requests that fill a stream with each window; send them once."""
    return [
        request(
            transport,
            f"/streams/{_stream(index)}/observations",
            {"op": "observe", "stream": _stream(index), "values": window.tolist()},
        )
        for index, window in enumerate(windows)
    ]


def ping() -> Body:
    """Return a line that is answered once the default model is ready or has failed."""
    return request("stdio", "", {"op": "ping"})


def _window(form: Form, window: NDArray[np.float32], index: int) -> dict[str, Any]:
    match form:
        case "json":
            # The shortest digits that read back as the same float32.
            return {"past_values": orjson.Fragment(orjson.dumps(window, option=orjson.OPT_SERIALIZE_NUMPY))}
        case "base64":
            return {"past_values_b64": base64.b64encode(window.tobytes()).decode(), "shape": list(window.shape)}
        case "stream":
            return {"stream": _stream(index)}
        case "empty":
            return {}


def _stream(index: int) -> str:
    return f"bench-{index}"


def request(transport: Transport, path: str, fields: dict[str, Any]) -> Body:
    """Return a request but for its id: a line, or a POST to a route."""
    rest = orjson.dumps(fields)[1:]
    suffix = rest if rest == b"}" else b"," + rest
    if transport == "stdio":
        return Body(ID_KEY, suffix + b"\n")
    length = len(ID_KEY) + len(str(FIRST_ID)) + len(suffix)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
    return Body(head.encode() + ID_KEY, suffix)
