"""A model that is unloaded answers what has waited for it and nothing more, until it is loaded again."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from forecast_toys import linear, make_linear
from support import (
    MODELS,
    PATIENCE,
    HttpService,
    RunVinocast,
    Window,
    change_manifest,
    copy_model,
    error_of,
    packed,
    wait_until,
)
from tensors_asked import grpc_port
from vinocast.dataplane import DataPlane
from vinocast.engine.changes import Change
from vinocast.engine.kinds import AnyServedModel
from vinocast.errors import OverloadedError
from vinocast.handlers.models import MOST_CHANGES, UNLOAD
from vinocast.ops import OPS
from vinocast.protocols.open_inference.messages import SERVICE, message
from vinocast.settings import HttpSettings
from vinocast.transports.http.server import Server

WINDOW: Window = np.random.default_rng(3).standard_normal((16, 3)).astype(np.float32)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    for name in ("first", "second"):
        make_linear(folder / name)
    return folder


@pytest.fixture
def service(models: Path) -> Iterator[HttpService]:
    options = ("--models", models, "--default-model", "first", "--grpc-port", "0")
    with HttpService(*options, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL)) as service:
        wait_until(lambda: states(service) == {"first": "READY", "second": "READY"}, "both models")
        yield service


def index(service: HttpService) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = httpx.post(f"{service.url}/v2/repository/index").json()
    return listed


def states(service: HttpService) -> dict[str, str]:
    return {each["name"]: each["state"] for each in index(service)}


def change(service: HttpService, name: str, what: str, **more: Any) -> httpx.Response:
    return httpx.post(f"{service.url}/v2/repository/models/{name}/{what}", **more)


def ask(service: HttpService, model: str) -> httpx.Response:
    return httpx.post(f"{service.url}/forecast", json=packed(WINDOW, model=model))


def test_what_comes_after_is_refused_until_it_is_loaded_again(
    service: HttpService, models: Path, run_vinocast: RunVinocast
) -> None:
    done = change(service, "second", "unload", json={"parameters": {"unload_dependents": False}})
    assert (done.status_code, done.content) == (200, b"{}")
    refused = ask(service, "second")
    assert (refused.status_code, error_of(refused.json())) == (404, ("unknown_model", "model"))
    assert "second is not served: unloaded, until POST /v2/repository/models/second/load" in refused.text
    assert httpx.get(f"{service.url}/v2/models/second/ready").status_code == 404
    assert {"name": "second", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"} in index(service)
    ready = httpx.get(f"{service.url}/readyz").json()
    assert (ready["degraded"], [each["state"] for each in ready["models"]]) == ([], ["ready", "unloaded"])
    assert 'vinocast_model_state{model="second",state="unloaded"} 1.0' in httpx.get(f"{service.url}/metrics").text
    assert ask(service, "first").status_code == 200
    assert change(service, "second", "unload").status_code == 200  # it is already
    # What somebody has unloaded comes back by its name alone.
    change_manifest(models / "second", version="2")
    service.signal(signal.SIGHUP)
    wait_until(lambda: "no folder of a model has changed" in service.log, "it has looked")
    assert run_vinocast("reload", "--url", service.url).stdout == "first: served as its folder has it now\n"
    assert states(service)["second"] == "UNAVAILABLE"
    assert change(service, "second", "load").status_code == 200
    predictions = np.array(ask(service, "second").json()["predictions"])
    np.testing.assert_allclose(predictions, linear(WINDOW), rtol=1e-3, atol=1e-5)


def test_all_versions_are_unloaded_and_come_back(service: HttpService, models: Path) -> None:
    for version in (1, 2):
        make_linear(models / "many" / str(version), times=version)
    assert change(service, "many", "load").status_code == 200
    assert ask(service, "many").json()["model"] == "many/2"
    assert change(service, "many", "unload").status_code == 200
    for name in ("many", "many/1", "many/2"):
        assert "unloaded" in ask(service, name).text
    shutil.rmtree(models / "many" / "2")
    assert change(service, "many", "load").status_code == 200
    assert ask(service, "many").json()["model"] == "many/1"
    assert [(each["version"], each["state"]) for each in index(service) if each["name"] == "many"] == [("1", "READY")]


def test_what_requests_without_a_name_need_stays(service: HttpService, models: Path) -> None:
    refused = change(service, "first", "unload")
    assert (refused.status_code, refused.json()["error"]) == (
        422,
        "model: expected another than first, which answers requests that name none",
    )
    assert change(service, "third", "unload").status_code == 404
    wrong = change(service, "second", "unload", json={"parameters": {"unload_dependants": True}})
    assert (wrong.status_code, "parameters.unload_dependants" in wrong.json()["error"]) == (422, True)
    assert states(service) == {"first": "READY", "second": "READY"}


def test_over_grpc_a_model_is_unloaded_and_loaded(service: HttpService) -> None:
    def call(method: str, **fields: Any) -> Any:
        serialize, parse = message(f"{method}Request").SerializeToString, message(f"{method}Response").FromString
        made = channel.unary_unary(f"/{SERVICE}/{method}", serialize, parse)
        return made(message(f"{method}Request")(**fields), timeout=PATIENCE)

    with grpc.insecure_channel(f"127.0.0.1:{grpc_port(service)}") as channel:
        call("RepositoryModelUnload", model_name="second", parameters={"unload_dependents": {"bool_param": True}})
        assert states(service)["second"] == "UNAVAILABLE"
        call("RepositoryModelLoad", model_name="second")
        assert states(service)["second"] == "READY"
        for method, fields, code in (
            ("RepositoryModelUnload", {"model_name": "first"}, grpc.StatusCode.INVALID_ARGUMENT),
            ("RepositoryModelUnload", {"model_name": "third"}, grpc.StatusCode.NOT_FOUND),
            (
                "RepositoryModelLoad",
                {"parameters": {"config": {"string_param": "{}"}}},
                grpc.StatusCode.INVALID_ARGUMENT,
            ),
        ):
            with pytest.raises(grpc.RpcError) as raised:
                call(method, **fields)
            assert raised.value.code() is code


def test_what_waits_is_answered_and_the_memory_given_back(tmp_path: Path) -> None:
    """Of the glyph model, which takes 60 MB; a long batch of it waits when it is unloaded."""
    copy_model(tmp_path / "models")
    shutil.copytree(MODELS / "glyphs", tmp_path / "models" / "glyphs")
    grids = [np.random.default_rng(4).integers(0, 1024, (16, 16)).tolist()] * 60
    with HttpService("--models", tmp_path / "models") as service, ThreadPoolExecutor() as pool:
        wait_until(lambda: set(states(service).values()) == {"READY"}, "both models")

        def recognize() -> httpx.Response:
            return httpx.post(f"{service.url}/glyphs", json={"grids": grids})

        first = recognize().json()["results"]
        # All shapes of both, which are compiled before anything is unloaded.
        wait_until(lambda: change(service, "glyphs", "load").status_code == 200, "all shapes")
        before = service.resident_mb
        waiting = pool.submit(recognize)
        wait_until(lambda: httpx.get(f"{service.url}/stats").json()["queued_rows"] > 0, "it waits")
        unloaded = pool.submit(change, service, "glyphs", "unload")
        assert waiting.result().json()["results"] == first
        assert unloaded.result().status_code == 200
        assert error_of(recognize().json()) == ("unknown_model", "model")
        wait_until(lambda: before - service.resident_mb > 20, f"memory is given back: {before}, {service.resident_mb}")
        assert httpx.get(f"{service.url}/readyz").status_code == 200
        assert change(service, "glyphs", "load").status_code == 200
        assert recognize().json()["results"] == first


class Long(Change):
    """A change that takes until it is let end."""

    def __init__(self, plane: DataPlane) -> None:
        super().__init__(plane.repository)
        self.end = threading.Event()

    def run(self, load: Callable[[AnyServedModel], None], closing: Callable[[], bool]) -> None:
        self.end.wait(PATIENCE)


def test_few_changes_wait_for_another(models: Path) -> None:
    settings = HttpSettings(models=models, default_model="first")
    plane = DataPlane(settings, OPS)
    server = Server(plane, settings)
    plane.start(lambda: None)
    long = Long(plane)
    plane.loader.change(long, lambda: None)
    for _ in range(10):
        server.look_again()
    assert plane.loader.changes == 2  # the first of them finds what there is for all
    answers: list[object] = []
    for _ in range(MOST_CHANGES):
        plane.submit(UNLOAD, "second", answers.append)
    assert [type(answer) for answer in answers] == [OverloadedError] * 2
    assert plane.loader.changes == MOST_CHANGES
    long.end.set()
    wait_until(lambda: not plane.loader.changes, "the changes")
    while plane.lane.step():
        pass
    assert answers[2:] == [{"unloaded": "second"}] * (MOST_CHANGES - 2)
