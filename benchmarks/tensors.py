"""What a window costs besides its inference: tensors in bytes over HTTP and gRPC, beside our base64 form.

    python -m benchmarks.tensors

A service of its own answers the same windows in each form, in turns of fifty. A time is a client's, from an array to an
array, less the inference as the reply tells it. Bare clients do no more than their form asks for: over HTTP on one kept
connection, over gRPC by grpcio's own channel. The others are those that users have: vinocast.connect, which speaks
base64, and tritonclient. Exits with 1 where bytes over HTTP take longer than base64 by bare clients, or tritonclient
over gRPC more than 1.5 times as long as vinocast.connect.
"""

from __future__ import annotations

import base64
import importlib
import re
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import click
import grpc
import numpy as np
import orjson
import vinocast
from numpy.typing import NDArray
from vinocast.measure.bench.processes import HttpService
from vinocast.measure.bench.requests import random_windows
from vinocast.protocols.open_inference.messages import SERVICE, message
from vinocast.settings import HttpSettings

MODEL = "patchtst-etth1"
TURN = 50
SHAPE = [1, 512, 7]
TENSOR = {"name": "past_values", "shape": SHAPE, "datatype": "FP32", "parameters": {"binary_data_size": 4 * 512 * 7}}
INFER_TEXT = orjson.dumps({"inputs": [TENSOR], "parameters": {"binary_data_output": True}})
LENGTH = re.compile(rb"(?<!-)content-length: (\d+)", re.IGNORECASE)
JSON_LENGTH = re.compile(rb"inference-header-content-length: (\d+)", re.IGNORECASE)
OURS = "vinocast.connect"
MOST_OF_BYTES, MOST_OF_GRPC = 1.0, 1.5
# A forecast, and the milliseconds of its inference.
Answered = tuple[NDArray[np.float32], float]


class Http:
    """A kept connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, path: str, body: bytes, *headers: str) -> tuple[bytes, bytes]:
        """Return the head and the body of a response."""
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers, "", ""]
        self._socket.sendall("\r\n".join(lines).encode() + body)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._socket.recv(1 << 16)
        head, _, rest = received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if length is None or not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"not answered: {received[:500]!r}")
        while len(rest) < int(length[1]):
            rest += self._socket.recv(1 << 16)
        return head, rest


def ask_base64(http: Http, *, encoded: bool) -> Callable[[NDArray[np.float32]], Answered]:
    """Return what asks in our base64 form, and has the answer in numbers or in base64."""

    def ask(window: NDArray[np.float32]) -> Answered:
        fields: dict[str, Any] = {"past_values_b64": base64.b64encode(window.tobytes()).decode(), "shape": window.shape}
        if encoded:
            fields["encoding_format"] = "base64"
        _, body = http.post("/forecast", orjson.dumps(fields), "Content-Type: application/json")
        reply = orjson.loads(body)
        if encoded:
            array = np.frombuffer(base64.b64decode(reply["predictions_b64"]), "<f4").reshape(96, 7)
        else:
            array = np.array(reply["predictions"], np.float32)
        return array, reply["inference_time_ms"]

    return ask


def ask_bytes(http: Http) -> Callable[[NDArray[np.float32]], Answered]:
    """Return what asks in bytes over HTTP."""

    def ask(window: NDArray[np.float32]) -> Answered:
        header = f"Inference-Header-Content-Length: {len(INFER_TEXT)}"
        head, body = http.post(f"/v2/models/{MODEL}/infer", INFER_TEXT + window.tobytes(), header)
        length = JSON_LENGTH.search(head)
        place = int(length[1]) if length else 0
        reply = orjson.loads(body[:place])
        return np.frombuffer(body, "<f4", offset=place).reshape(96, 7), reply["parameters"]["inference_time_ms"]

    return ask


def ask_grpc(port: int) -> Callable[[NDArray[np.float32]], Answered]:
    """Return what asks over gRPC."""
    request, response = message("ModelInferRequest"), message("ModelInferResponse")
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    call = channel.unary_unary(f"/{SERVICE}/ModelInfer", request.SerializeToString, response.FromString)
    tensor = {name: TENSOR[name] for name in ("name", "shape", "datatype")}

    def ask(window: NDArray[np.float32]) -> Answered:
        reply = call(request(model_name=MODEL, inputs=[tensor], raw_input_contents=[window.tobytes()]))
        array = np.frombuffer(reply.raw_output_contents[0], "<f4").reshape(96, 7)
        return array, reply.parameters["inference_time_ms"].double_param

    return ask


def ask_ours(url: str) -> Callable[[NDArray[np.float32]], Answered]:
    """Return what asks by our own client of Python, which speaks base64."""
    client = vinocast.connect(url)

    def ask(window: NDArray[np.float32]) -> Answered:
        forecast = client.forecast(window)
        return np.asarray(forecast.predictions, np.float32), forecast.inference_time_ms or 0.0

    return ask


def ask_triton(address: str, name: str) -> Callable[[NDArray[np.float32]], Answered]:
    """Return what asks by tritonclient, over ``http`` or ``grpc``."""
    triton = importlib.import_module(f"tritonclient.{name}")
    client = triton.InferenceServerClient(address)

    def ask(window: NDArray[np.float32]) -> Answered:
        given = triton.InferInput("past_values", SHAPE, "FP32")
        given.set_data_from_numpy(window[None])
        reply = client.infer(MODEL, [given])
        said = reply.get_response()
        if name == "http":
            inference = said["parameters"]["inference_time_ms"]
        else:
            inference = said.parameters["inference_time_ms"].double_param
        return reply.as_numpy("predictions")[0], inference

    return ask


@click.command(context_settings={"show_default": True})
@click.option("--rounds", type=click.IntRange(1, 1000), default=10, help=f"Turns of {TURN} requests, of each form.")
def main(rounds: int) -> None:
    """Measure what a window costs besides its inference, in each form."""
    windows = random_windows(512, 7)
    with HttpService(HttpSettings(grpc_port=0)) as service:
        service.client()
        service.wait_until_quiet()
        said = re.search(r"speaks gRPC on \S+:(\d+)", service.log)
        if said is None:
            raise SystemExit(service.log)
        http = Http(service.port)
        forms = {
            "base64, numbers back": ask_base64(http, encoded=False),
            "base64, base64 back": ask_base64(http, encoded=True),
            "bytes over HTTP": ask_bytes(http),
            "gRPC": ask_grpc(int(said[1])),
            OURS: ask_ours(f"http://127.0.0.1:{service.port}"),
            "tritonclient.http": ask_triton(f"127.0.0.1:{service.port}", "http"),
            "tritonclient.grpc": ask_triton(f"127.0.0.1:{said[1]}", "grpc"),
        }
        expected = [forms["bytes over HTTP"](window)[0] for window in windows]
        times: dict[str, list[float]] = {name: [] for name in forms}
        for _ in range(rounds):
            for name, ask in forms.items():
                for number in range(TURN):
                    start = time.perf_counter()
                    array, inference = ask(windows[number % len(windows)])
                    times[name].append((time.perf_counter() - start) * 1e3 - inference)
                    if not np.array_equal(array, expected[number % len(windows)]):
                        raise SystemExit(f"{name}: another forecast")
    medians = {name: float(np.median(values)) for name, values in times.items()}
    print(f"{'':24}{'median':>9}{'p99':>9}   ms besides inference; {rounds * TURN} of each, in turns")
    for name, values in times.items():
        print(f"{name:24}{medians[name]:9.3f}{np.quantile(values, 0.99):9.3f}")
    bars = (
        ("bytes over HTTP", "base64, base64 back", MOST_OF_BYTES),
        ("gRPC", "base64, base64 back", None),
        ("tritonclient.http", OURS, None),
        ("tritonclient.grpc", OURS, MOST_OF_GRPC),
    )
    for name, other, most in bars:
        print(f"{name}: {medians[name] / medians[other]:.2f} of {other}{f', at most {most}' if most else ''}")
    sys.exit(any(most is not None and medians[name] > most * medians[other] for name, other, most in bars))


if __name__ == "__main__":
    main()
