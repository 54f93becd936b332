"""Clients of others, unchanged, in a process of their own: ``python -m tensor_clients CLIENT ADDRESS FOLDER``.

Each asks for what ``asked.npz`` of the folder holds, writes what it gets to ``got.npz``, and prints what it was told of
the service as JSON. They cannot share a process: each brings messages of gRPC by the same names.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

MODEL = "patchtst-etth1"
# What is asked for, by the name of the input: its model and its outputs.
ASKED = {
    "past_values": (MODEL, "FP32", ["predictions", "quantiles"]),
    "grids": ("glyphs", "INT64", ["labels", "ids", "probabilities"]),
    "rasters": ("glyphs", "BYTES", ["labels", "ids", "probabilities"]),
}
Arrays = dict[str, Any]


def triton_inputs(module: Any, arrays: Arrays, name: str, **options: Any) -> list[Any]:
    given = module.InferInput(name, list(arrays[name].shape), ASKED[name][1])
    given.set_data_from_numpy(arrays[name], **options)
    return [given]


def triton_told(client: Any, **options: Any) -> dict[str, Any]:
    """What a client of Triton's is told besides."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "1")
    return {
        "server": client.get_server_metadata(**options),
        "models": [client.get_model_metadata(name, **options) for name in (MODEL, "glyphs")],
        "index": client.get_model_repository_index(**options),
    }


def triton_http(address: str, arrays: Arrays, *, binary: bool) -> tuple[Arrays, Any]:
    import tritonclient.http as triton

    client = triton.InferenceServerClient(address)
    got: Arrays = {}
    for name, (model, _, outputs) in ASKED.items():
        if name == "rasters" and not binary:
            continue  # a picture is no text
        wanted = [triton.InferRequestedOutput(output, binary_data=binary) for output in outputs]
        inputs = triton_inputs(triton, arrays, name, binary_data=binary)
        for waiting in (False, True):
            ask = client.async_infer if waiting else client.infer
            reply = ask(model, inputs, outputs=wanted, request_id="mine", timeout=60_000_000, priority=1)
            reply = reply.get_result() if waiting else reply
            assert reply.get_response()["id"] == "mine"
            got |= {f"{name}.{output}": reply.as_numpy(output) for output in outputs}
    default = client.infer(MODEL, triton_inputs(triton, arrays, "past_values"))
    assert np.array_equal(default.as_numpy("predictions"), got["past_values.predictions"])
    assert not client.is_model_ready("none")
    try:
        client.infer(MODEL, triton_inputs(triton, arrays, "grids"))
    except triton.InferenceServerException as error:
        assert "expected one of" in str(error)  # noqa: PT017 - pytest is not here
    return got, triton_told(client)


def triton_http_json(address: str, arrays: Arrays) -> tuple[Arrays, Any]:
    return triton_http(address, arrays, binary=False)


def triton_http_binary(address: str, arrays: Arrays) -> tuple[Arrays, Any]:
    return triton_http(address, arrays, binary=True)


def triton_http_aio(address: str, arrays: Arrays) -> tuple[Arrays, Any]:
    import tritonclient.http.aio as triton

    async def ask() -> tuple[Arrays, Any]:
        async with triton.InferenceServerClient(address) as client:
            got: Arrays = {}
            for name, (model, _, outputs) in ASKED.items():
                wanted = [triton.InferRequestedOutput(output) for output in outputs]
                reply = await client.infer(model, triton_inputs(triton, arrays, name), outputs=wanted)
                got |= {f"{name}.{output}": reply.as_numpy(output) for output in outputs}
            assert await client.is_server_ready()
            return got, {"server": await client.get_server_metadata()}

    return asyncio.run(ask())


def kserve_request(arrays: Arrays, name: str, *, binary: bool) -> Any:
    from kserve import InferInput, InferRequest
    from kserve.protocol.infer_type import RequestedOutput

    model, datatype, outputs = ASKED[name]
    given = InferInput(name, list(arrays[name].shape), datatype)
    given.set_data_from_numpy(arrays[name], binary_data=binary)
    wanted = [RequestedOutput(output, {"binary_data": binary}) for output in outputs]
    return InferRequest(model, [given], request_id="mine", request_outputs=wanted)


def kserve_arrays(reply: Any, name: str) -> Arrays:
    assert (reply.id, reply.model_name) == ("mine", ASKED[name][0])
    got: Arrays = {}
    for output in reply.outputs:
        if output.datatype == "BYTES" and output._raw_data is None:
            got[f"{name}.{output.name}"] = np.array(output.data, object).reshape(output.shape)
        else:
            got[f"{name}.{output.name}"] = output.as_numpy()
    return got


def kserve_rest(address: str, arrays: Arrays) -> tuple[Arrays, Any]:
    from kserve import InferenceRESTClient, RESTConfig
    from kserve.protocol.rest import v2_datamodels as validators

    async def ask() -> tuple[Arrays, Any]:
        client, url = InferenceRESTClient(RESTConfig(protocol="v2", retries=1)), f"http://{address}"
        assert await client.is_server_live(url)
        assert await client.is_server_ready(url)
        assert await client.is_model_ready(url, MODEL)
        assert not await client.is_model_ready(url, "none")
        got: Arrays = {}
        for name, (model, _, _) in ASKED.items():
            for binary in (True, False) if name != "rasters" else (True,):
                reply = await client.infer(url, kserve_request(arrays, name, binary=binary), model_name=model)
                got |= kserve_arrays(reply, name)
        get = client._client.get
        server = (await get(f"{url}/v2")).json()
        models = [(await get(f"{url}/v2/models/{name}")).json() for name in (MODEL, "glyphs")]
        validators.ServerMetadataResponse.model_validate(server)
        for described in models:
            validators.ModelMetadataResponse.model_validate(described)
        text = kserve_request(arrays, "past_values", binary=False).to_rest()[0]
        body = (await client._client.post(f"{url}/v2/models/{MODEL}/infer", json=text)).json()
        validators.InferenceResponse.model_validate(body)
        await client.close()
        return got, {"server": server, "models": models}

    return asyncio.run(ask())


def triton_wanted(module: Any, name: str) -> list[Any]:
    return [module.InferRequestedOutput(output) for output in ASKED[name][2]]


def triton_grpc(address: str, arrays: Arrays) -> tuple[Arrays, Any]:
    import tritonclient.grpc as triton

    client = triton.InferenceServerClient(address)
    got: Arrays = {}
    for name, (model, _, outputs) in ASKED.items():
        inputs, wanted = triton_inputs(triton, arrays, name), triton_wanted(triton, name)
        reply = client.infer(model, inputs, outputs=wanted, request_id="mine", timeout=60_000_000, client_timeout=60)
        assert reply.get_response().id == "mine"
        got |= {f"{name}.{output}": reply.as_numpy(output) for output in outputs}
        answered: queue.Queue[tuple[Any, Any]] = queue.Queue()

        def put(result: Any, error: Any, into: queue.Queue[tuple[Any, Any]] = answered) -> None:
            into.put((result, error))

        client.async_infer(model, inputs, put, outputs=wanted)
        result, error = answered.get(timeout=60)
        assert error is None
        assert all(np.array_equal(result.as_numpy(output), got[f"{name}.{output}"]) for output in outputs)
    try:
        client.infer("none", triton_inputs(triton, arrays, "past_values"))
    except triton.InferenceServerException as error:
        assert (error.status(), "expected one of" in str(error)) == ("StatusCode.NOT_FOUND", True)  # noqa: PT017
    return got, triton_told(client, as_json=True)


def triton_grpc_stream(address: str, arrays: Arrays) -> tuple[Arrays, Any]:
    import tritonclient.grpc as triton

    client = triton.InferenceServerClient(address)
    answered: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: answered.put((result, error)))
    for name, (model, _, _) in ASKED.items():
        inputs, wanted = triton_inputs(triton, arrays, name), triton_wanted(triton, name)
        client.async_stream_infer("none", inputs, request_id="wrong")
        client.async_stream_infer(model, inputs, outputs=wanted, request_id=name)
    got: Arrays = {}
    for name, (_, _, outputs) in ASKED.items():
        _, error = answered.get(timeout=60)
        assert "expected one of" in str(error)
        result, error = answered.get(timeout=60)
        assert (error, result.get_response().id) == (None, name)
        got |= {f"{name}.{output}": result.as_numpy(output) for output in outputs}
    client.stop_stream()
    return got, {"server": client.get_server_metadata(as_json=True)}


def triton_grpc_aio(address: str, arrays: Arrays) -> tuple[Arrays, Any]:
    import tritonclient.grpc.aio as triton

    async def ask() -> tuple[Arrays, Any]:
        async with triton.InferenceServerClient(address) as client:
            asked = {
                name: client.infer(model, triton_inputs(triton, arrays, name), outputs=triton_wanted(triton, name))
                for name, (model, _, _) in ASKED.items()
            }
            replies = dict(zip(asked, await asyncio.gather(*asked.values()), strict=True))
            got = {f"{name}.{output}": replies[name].as_numpy(output) for name in ASKED for output in ASKED[name][2]}
            return got, {"server": await client.get_server_metadata(as_json=True)}

    return asyncio.run(ask())


def kserve_grpc(address: str, arrays: Arrays) -> tuple[Arrays, Any]:
    from kserve import InferenceGRPCClient

    async def ask() -> tuple[Arrays, Any]:
        client = InferenceGRPCClient(address, retries=2)
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready(MODEL)
        got: Arrays = {}
        for name in ASKED:
            for binary in (True, False) if name != "rasters" else (True,):
                reply = await client.infer(kserve_request(arrays, name, binary=binary))
                got |= kserve_arrays(reply, name)
        await client.close()
        return got, {"server": {"name": "vinocast"}}

    return asyncio.run(ask())


GRPC = (triton_grpc, triton_grpc_stream, triton_grpc_aio, kserve_grpc)
CLIENTS: dict[str, Callable[[str, Arrays], tuple[Arrays, Any]]] = {
    each.__name__: each for each in (triton_http_json, triton_http_binary, triton_http_aio, kserve_rest, *GRPC)
}


def main(client: str, address: str, folder: str) -> None:
    with np.load(Path(folder, "asked.npz"), allow_pickle=True) as file:
        arrays = dict(file)
    got, told = CLIENTS[client](address, arrays)
    np.savez(Path(folder, "got.npz"), **got)
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
