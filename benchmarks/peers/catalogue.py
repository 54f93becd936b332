"""The peers: how each is started, asked and read. What each serves is in ``servers/``, one short file per peer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SERVERS = "benchmarks.peers.servers"
Graph = Literal["stock IR", "ONNX", "torch"]


def _rows(window: NDArray[np.float32]) -> bytes:
    """Write rows of numbers, in the shortest digits that read back as the same float32."""
    return b'{"past_values":' + orjson.dumps(window, option=orjson.OPT_SERIALIZE_NUMPY) + b"}"


def _open_inference(window: NDArray[np.float32]) -> bytes:
    """Write a request of the Open Inference Protocol v2, data flat and row-major, as its clients do."""
    tensor = {"name": "past_values", "shape": [1, *window.shape], "datatype": "FP32", "data": window.ravel()}
    return orjson.dumps({"inputs": [tensor]}, option=orjson.OPT_SERIALIZE_NUMPY)


def read_predictions(reply: Any) -> Any:
    """Return the forecast of a reply that has it under ``predictions``, as ours and most peers' have."""
    return reply["predictions"]


def _read_open_inference(reply: Any) -> Any:
    (output,) = reply["outputs"]
    return np.reshape(output["data"], output["shape"])[0]


@dataclass(frozen=True)
class Peer:
    """A server that a user would pick instead.

    Attributes:
        name: of the peer.
        title: in the table.
        venv: of its requirements file and its virtual environment.
        graph: what it serves: the stock graph in OpenVINO's or ONNX's format, or the Hugging Face model itself.
        command: a program of its virtual environment and arguments, in which ``{port}`` and the like are filled in.
        environment: variables beside ``PEER_MODEL``, the graph's path, with the same fields.
        path: that is asked.
        write: makes a request's body of a window [context, channels].
        read: finds the forecast [horizon, channels] in a parsed reply.
    """

    name: str
    title: str
    venv: str
    graph: Graph
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    path: str = "/predict"
    write: Callable[[NDArray[np.float32]], bytes] = _rows
    read: Callable[[Any], Any] = read_predictions

    @property
    def requirements(self) -> Path:
        """The file that pins what its virtual environment holds."""
        return HERE / "requirements" / f"{self.venv}.txt"


def _uvicorn(module: str) -> tuple[str, ...]:
    return ("uvicorn", f"{SERVERS}.{module}:app", "--host", "127.0.0.1", "--port", "{port}", "--no-access-log")


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "mlserver",
            "MLServer",
            "mlserver",
            "stock IR",
            ("mlserver", "start", str(HERE / "servers" / "patchtst")),
            {
                "MLSERVER_HOST": "127.0.0.1",
                "MLSERVER_HTTP_PORT": "{port}",
                "MLSERVER_GRPC_PORT": "{second_port}",
                "MLSERVER_METRICS_PORT": "{third_port}",
                "MLSERVER_DEBUG": "false",
            },
            path="/v2/models/patchtst/infer",
            write=_open_inference,
            read=_read_open_inference,
        ),
        Peer(
            "bentoml",
            "BentoML",
            "bentoml",
            "stock IR",
            ("bentoml", "serve", f"{SERVERS}.bentoml_service:Forecaster", "--host", "127.0.0.1", "--port", "{port}"),
            {"BENTOML_HOME": "{scratch}", "BENTOML_DO_NOT_TRACK": "true"},
            read=lambda reply: reply,
        ),
        Peer("litserve", "LitServe", "litserve", "stock IR", ("python", "-m", f"{SERVERS}.litserve_api")),
        Peer(
            "ray",
            "Ray Serve",
            "ray",
            "stock IR",
            ("python", "-m", f"{SERVERS}.ray_deployment"),
            {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": "{scratch}"},
            path="/",
        ),
        Peer("onnxruntime", "FastAPI + ONNX Runtime", "onnxruntime", "ONNX", _uvicorn("fastapi_onnxruntime")),
        Peer(
            "onnxruntime-workers",
            "FastAPI + ONNX Runtime, 2 workers",
            "onnxruntime",
            "ONNX",
            (*_uvicorn("fastapi_onnxruntime"), "--workers", "2"),
            {"PEER_THREADS": "1"},
        ),
        Peer("torch", "FastAPI + torch", "torch", "torch", _uvicorn("fastapi_torch")),
    )
}
