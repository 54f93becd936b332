"""The Open Inference Protocol over gRPC: bounds, faults, tokens, deadlines and the end, by messages of our own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from guarded import TOKEN
from support import MODEL, PATIENCE, HttpService, in_threads, wait_until
from tensors_asked import GRIDS, PNGS, SERIES, WINDOWS, grpc_port, in_bytes, own_predictions
from vinocast.protocols.open_inference import messages
from vinocast.protocols.open_inference.messages import COMPILED, SERVICE, message

Request, Response = message("ModelInferRequest"), message("ModelInferResponse")
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.enable_retries", 0)]
ONE = WINDOWS[:1]


def request(array: Any = ONE, datatype: str = "FP32", name: str = "past_values", **fields: Any) -> Any:
    """A request with a tensor as bytes."""
    array = np.asarray(array)
    shape = list(fields.pop("shape", array.shape))
    raw = fields.pop("raw", [array.tobytes()])
    tensor = {"name": name, "datatype": datatype, "shape": shape, **fields.pop("tensor", {})}
    return Request(**{"model_name": MODEL, "inputs": [tensor], "raw_input_contents": raw, **fields})


def glyphs(array: Any = GRIDS, datatype: str = "INT64", name: str = "grids", **fields: Any) -> Any:
    return request(array, datatype, name, model_name="glyphs", **fields)


class Calls:
    """What can be called on a port."""

    def __init__(self, port: int) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", OPTIONS)

    def infer(self, given: Any, **options: Any) -> Any:
        """What ``ModelInfer`` answers to a message, or to any bytes."""
        data = given if isinstance(given, bytes) else given.SerializeToString()
        call = self.channel.unary_unary(f"/{SERVICE}/ModelInfer", None, Response.FromString)
        return call(data, timeout=options.pop("timeout", PATIENCE), **options)

    def say(self, method: str, **fields: Any) -> Any:
        """What a method answers that says something."""
        options = {"metadata": fields.pop("metadata")} if "metadata" in fields else {}
        serialize, parse = message(f"{method}Request").SerializeToString, message(f"{method}Response").FromString
        call = self.channel.unary_unary(f"/{SERVICE}/{method}", serialize, parse)
        return call(message(f"{method}Request")(**fields), timeout=PATIENCE, **options)

    def refusal(self, given: Any, **options: Any) -> tuple[str, str]:
        """Code and path of a refusal of ``ModelInfer``."""
        with pytest.raises(grpc.RpcError) as raised:
            self.infer(given, **options)
        error: Any = raised.value
        return error.code().name, error.details().partition(":")[0]


@pytest.fixture(scope="module")
def service() -> Iterator[HttpService]:
    with HttpService("--grpc-port", "0", "--max-request-bytes", "2000000") as running:
        yield running


@pytest.fixture(scope="module")
def calls(service: HttpService) -> Iterator[Calls]:
    made = Calls(grpc_port(service))
    with made.channel:
        yield made


def predictions(response: Any) -> Any:
    place = [output.name for output in response.outputs].index("predictions")
    return np.frombuffer(response.raw_output_contents[place], "<f4").reshape(response.outputs[place].shape)


def test_the_compiled_messages_are_those_of_the_file(tmp_path: Path) -> None:
    folder = Path(messages.__file__).parent
    command = [f"-I{folder}", f"--descriptor_set_out={tmp_path / 'made'}", "open_inference.proto"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *command], check=True, timeout=PATIENCE)
    assert (tmp_path / "made").read_bytes() == COMPILED.read_bytes()


def test_a_window_is_forecast_as_our_own_route_does(service: HttpService, calls: Calls) -> None:
    with httpx.Client(base_url=service.url, timeout=PATIENCE) as client:
        own = own_predictions(client, WINDOWS)
    for count in (1, 3):
        response = calls.infer(request(WINDOWS[:count], id="mine"))
        assert (response.model_name, response.model_version, response.id) == (MODEL, "1", "mine")
        assert np.array_equal(predictions(response), own[:count])
        assert response.parameters["inference_time_ms"].double_param > 0
        values = {"contents": {"fp32_contents": WINDOWS[:count].ravel().tolist()}}
        assert np.array_equal(predictions(calls.infer(request(WINDOWS[:count], raw=[], tensor=values))), own[:count])
    levels = {"quantile_levels": {"string_param": "0.1,0.9"}, "prediction_length": {"int64_param": 4}}
    both = calls.infer(request(SERIES, parameters=levels, model_name="vinocast-general"))
    assert [list(output.shape) for output in both.outputs] == [[21, 4], [21, 2, 4]]


def test_what_is_said_over_http_is_said_over_grpc(service: HttpService, calls: Calls) -> None:
    assert calls.say("ServerLive").live
    assert calls.say("ServerReady").ready
    assert calls.say("ModelReady", name=MODEL, version="1").ready
    described = calls.say("ModelMetadata", name="glyphs")
    told = httpx.get(f"{service.url}/v2/models/glyphs").json()
    assert [(each.name, each.datatype, list(each.shape)) for each in (*described.inputs, *described.outputs)] == [
        (each["name"], each["datatype"], each["shape"]) for each in told["inputs"] + told["outputs"]
    ]
    listed = httpx.post(f"{service.url}/v2/repository/index").json()
    index = calls.say("RepositoryIndex", ready=True).models
    assert [
        {"name": each.name, "version": each.version, "state": each.state, "reason": each.reason} for each in index
    ] == listed
    for method in ("ModelReady", "ModelMetadata"):
        with pytest.raises(grpc.RpcError) as raised:
            calls.say(method, name=MODEL, version="7")
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def changed(value: float) -> Any:
    array = ONE.copy()
    array[0, 3, 2] = value
    return array


BAD: dict[str, tuple[Any, tuple[str, str]]] = {
    "no message": (b"\xff\xff\xff", ("INVALID_ARGUMENT", "expected a message ModelInferRequest")),
    "nothing": (b"", ("INVALID_ARGUMENT", "inputs")),
    "no such model": (request(model_name="none"), ("NOT_FOUND", "model")),
    "no such version": (request(model_version="2"), ("NOT_FOUND", "version")),
    "NaN": (request(changed(np.nan)), ("INVALID_ARGUMENT", "past_values[0][3][2]")),
    "infinite": (request(changed(np.inf)), ("INVALID_ARGUMENT", "past_values[0][3][2]")),
    "fewer bytes": (request(raw=[b"1234"]), ("INVALID_ARGUMENT", "past_values")),
    "no bytes": (request(raw=[]), ("INVALID_ARGUMENT", "past_values")),
    "bytes of two": (request(raw=[ONE.tobytes()] * 2), ("INVALID_ARGUMENT", "raw_input_contents")),
    "both forms": (
        request(tensor={"contents": {"fp32_contents": [1.0]}}),
        ("INVALID_ARGUMENT", "raw_input_contents"),
    ),
    "elements of another kind": (
        request(raw=[], tensor={"contents": {"fp64_contents": [1.0]}}),
        ("INVALID_ARGUMENT", "past_values"),
    ),
    "a shape that overflows": (request(shape=[2**62, 2**62, 4]), ("INVALID_ARGUMENT", "past_values")),
    "a shape below nothing": (request(shape=[-1, 512, 7]), ("INVALID_ARGUMENT", "inputs[0].shape")),
    "many dimensions": (request(shape=[1] * 1000), ("INVALID_ARGUMENT", "inputs[0].shape")),
    "another datatype": (request(ONE.astype("<f8"), "FP64"), ("INVALID_ARGUMENT", "inputs[0].datatype")),
    "another size": (
        request(tensor={"parameters": {"binary_data_size": {"int64_param": 5}}}),
        ("INVALID_ARGUMENT", "inputs[0].parameters.binary_data_size"),
    ),
    "shared memory": (
        request(tensor={"parameters": {"shared_memory_region": {"string_param": "x"}}}),
        ("INVALID_ARGUMENT", "inputs[0].parameters.shared_memory_region"),
    ),
    "many outputs": (request(outputs=[{"name": "predictions"}] * 17), ("INVALID_ARGUMENT", "outputs")),
    "an output twice": (request(outputs=[{"name": "predictions"}] * 2), ("INVALID_ARGUMENT", "outputs[1].name")),
    "a parameter that is not known": (
        request(parameters={"quantile": {"double_param": 0.5}}),
        ("INVALID_ARGUMENT", "parameters.quantile"),
    ),
    "a parameter of nothing": (request(parameters={"timeout": {}}), ("INVALID_ARGUMENT", "parameters.timeout")),
    "a long name": (request(id="x" * 70_000), ("INVALID_ARGUMENT", "id")),
    "an id out of range": (glyphs(GRIDS + 1024), ("INVALID_ARGUMENT", "grids[0][0][0]")),
    "a length that lies": (
        glyphs([0], "BYTES", "rasters", raw=[b"\xff\xff\xff\x7f123"]),
        ("INVALID_ARGUMENT", "rasters[0]"),
    ),
    "fewer pictures": (
        glyphs([0, 0], "BYTES", "rasters", raw=[], tensor={"contents": {"bytes_contents": PNGS[:1]}}),
        ("INVALID_ARGUMENT", "rasters"),
    ),
    "no picture": (glyphs([0], "BYTES", "rasters", raw=[in_bytes(b"abc")]), ("INVALID_ARGUMENT", "rasters[0]")),
    "too late": (request(parameters={"timeout": {"uint64_param": 1}}), ("DEADLINE_EXCEEDED", "parameters.timeout")),
}


@pytest.mark.parametrize("name", BAD)
def test_a_fault_has_a_code_and_its_path(calls: Calls, service: HttpService, name: str) -> None:
    given, expected = BAD[name]
    assert calls.refusal(given) == expected
    assert calls.infer(request()).outputs
    assert "internal error" not in service.log


def test_a_message_over_the_limit_is_refused_and_others_are_answered(calls: Calls) -> None:
    assert calls.refusal(request(np.zeros((140, 512, 7), "<f4")))[0] == "RESOURCE_EXHAUSTED"
    assert calls.infer(request()).outputs


def test_pictures_come_as_elements_too(calls: Calls) -> None:
    contents = {"contents": {"bytes_contents": PNGS}}
    shape = [len(PNGS)]
    apart = calls.infer(glyphs([0], "BYTES", "rasters", raw=[], shape=shape, tensor=contents))
    raw = calls.infer(glyphs([0], "BYTES", "rasters", raw=[in_bytes(*PNGS)], shape=shape))
    assert apart.raw_output_contents == raw.raw_output_contents


def test_a_client_that_has_left_is_told_nothing_and_costs_nothing(calls: Calls, service: HttpService) -> None:
    many = request(np.repeat(ONE, 100, axis=0))
    assert calls.refusal(many, timeout=0.02)[0] == "DEADLINE_EXCEEDED"
    wait_until(lambda: httpx.get(f"{service.url}/stats").json()["queued_rows"] == 0, "let go")


def test_many_ask_at_once_and_http_is_answered_beside_them(calls: Calls, service: HttpService) -> None:
    expected = calls.infer(request(WINDOWS)).raw_output_contents

    def ask(index: int) -> Any:
        if index % 2:
            return httpx.get(f"{service.url}/readyz").status_code == 200
        return all(calls.infer(request(WINDOWS)).raw_output_contents == expected for _ in range(5))

    assert all(in_threads(ask, 8))


def test_only_who_has_the_token_is_answered(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with HttpService("--token-file", token, "--grpc-port", "0") as guarded:
        calls = Calls(grpc_port(guarded))
        assert calls.say("ServerLive").live
        assert calls.say("ServerReady").ready
        known = (("authorization", f"Bearer {TOKEN}"),)
        assert calls.infer(request(), metadata=known).outputs
        assert calls.say("ModelMetadata", name=MODEL, metadata=known).name == MODEL
        for metadata in ((), (("authorization", "Bearer x"),), known * 2):
            assert calls.refusal(request(), metadata=metadata) == ("UNAUTHENTICATED", "authorization")
            for method in ("ServerMetadata", "ModelMetadata", "ModelReady", "RepositoryIndex"):
                with pytest.raises(grpc.RpcError) as raised:
                    calls.say(method, metadata=metadata)
                assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert TOKEN not in guarded.log
        calls.channel.close()


def test_the_end_answers_what_was_accepted_and_waits_for_no_idle_stream() -> None:
    with HttpService("--grpc-port", "0") as ending:
        calls = Calls(grpc_port(ending))
        stream = calls.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", None, None)
        held = stream(iter(lambda: wait_until(lambda: ending.process.poll() is not None, "the end"), None))
        call = calls.channel.unary_unary(f"/{SERVICE}/ModelInfer", None, Response.FromString)
        waiting = call.future(request(np.repeat(ONE, 20, axis=0)).SerializeToString(), timeout=PATIENCE)
        wait_until(lambda: httpx.get(f"{ending.url}/stats").json()["queued_rows"] > 0 or waiting.done(), "accepted")
        ending.signal(15)
        assert predictions(waiting.result()).shape == (20, 96, 7)
        assert ending.wait() == 0
        with pytest.raises(grpc.RpcError):
            next(held)
        calls.channel.close()


def test_a_stream_on_which_nothing_comes_ends_and_the_next_is_taken() -> None:
    with HttpService("--grpc-port", "0", "--keep-alive-seconds", "1") as running:
        calls, asked = Calls(grpc_port(running)), threading.Event()
        stream = calls.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", None, None)
        held = [stream(iter(lambda: asked.wait(PATIENCE), True)) for _ in range(3)]
        for each in held:
            assert list(each) == []
        asked.set()
        assert calls.infer(request()).outputs
        calls.channel.close()


def test_without_the_port_nothing_of_grpc_is_loaded(service: HttpService) -> None:
    with HttpService() as plain:
        maps = Path(f"/proc/{plain.process.pid}/maps").read_text()
        assert "cygrpc" not in maps
        assert "speaks gRPC" not in plain.log
    assert "cygrpc" in Path(f"/proc/{service.process.pid}/maps").read_text()


def test_a_port_that_is_taken_is_said_at_the_start(service: HttpService) -> None:
    for options in ((), ("--workers", "2")):
        command = [sys.executable, "-m", "vinocast", "serve", "--port", "0", "--grpc-port", str(grpc_port(service))]
        done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 1
        assert "choose another --grpc-port" in done.stderr
