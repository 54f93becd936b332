"""Several versions of a model, each in a folder of its own: the newest answers, and each where it is named."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import vinocast
from forecast_toys import linear, make_linear
from support import HttpService, RunVinocast, StdioService, Window, copy_model, error_of, packed, wait_until

LOAD = "/v2/repository/models/linear/load"
WINDOW: Window = np.random.default_rng(3).standard_normal((16, 3)).astype(np.float32)


def make_version(models: Path, version: int | str, *, broken: bool = False) -> Path:
    """Make a version in one step, as a deployment does, whose forecasts are so many times those of the first."""
    made = make_linear(models.parent / f"made-{version}", times=float(version))
    if broken:
        (made / "model.bin").write_bytes(b"")
    return made.rename(models / "linear" / str(version))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    (folder / "linear").mkdir(parents=True)
    for version in (1, 2):
        make_version(folder, version)
    return folder


def serve(models: Path) -> HttpService:
    return HttpService("--models", models, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))


@pytest.fixture
def service(models: Path) -> Iterator[HttpService]:
    with serve(models) as service:
        wait_until(lambda: [*state(service).values()] == ["ready", "ready"], "both versions")
        yield service


def factor(reply: Any) -> float:
    """How many times the first version's forecast a reply is."""
    times = np.array(reply["predictions"]) / linear(WINDOW)
    np.testing.assert_allclose(times, times.mean(), rtol=1e-3)  # of one version, whole
    return round(float(times.mean()), 2)


def ask(service: HttpService, **fields: Any) -> tuple[float, str]:
    """Return the version that answers by its numbers, and as the reply names it."""
    reply = httpx.post(f"{service.url}/forecast", json=packed(WINDOW, **fields)).json()
    return factor(reply), reply["model"]


def infer(service: HttpService, path: str) -> httpx.Response:
    tensor = {"name": "past_values", "datatype": "FP32", "shape": [1, *WINDOW.shape], "data": WINDOW.ravel().tolist()}
    return httpx.post(f"{service.url}/v2/models/{path}/infer", json={"inputs": [tensor]})


def described(service: HttpService) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = httpx.get(f"{service.url}/readyz").json()["models"]
    return models


def state(service: HttpService) -> dict[str, str]:
    """Return the state of each version that has one now, by the metrics."""
    lines = httpx.get(f"{service.url}/metrics").text.splitlines()
    now = [line for line in lines if line.startswith("vinocast_model_state{") and line.endswith(" 1.0")]
    return {line.split('"')[1]: line.split('"')[3] for line in now}


def test_the_newest_answers_and_each_where_it_is_named(service: HttpService) -> None:
    assert ask(service) == (2, "linear/2")
    assert ask(service, model="linear") == (2, "linear/2")
    assert ask(service, model="linear/1") == (1, "linear/1")
    metadata = httpx.get(f"{service.url}/v2/models/linear").json()
    assert (metadata["name"], metadata["versions"]) == ("linear", ["1", "2"])
    for path, version in (("linear", 2), ("linear/versions/2", 2), ("linear/versions/1", 1)):
        reply = infer(service, path).json()
        assert (reply["model_name"], reply["model_version"]) == ("linear", str(version))
        np.testing.assert_allclose(
            np.array(reply["outputs"][0]["data"]).reshape(4, 3), version * linear(WINDOW), rtol=1e-3
        )
        assert httpx.get(f"{service.url}/v2/models/{path}/ready").status_code == 200
    assert [(each["name"], each["version"], each["default_version"]) for each in described(service)] == [
        ("linear", "2", True),
        ("linear", "1", False),
    ]
    index = httpx.post(f"{service.url}/v2/repository/index").json()
    assert [(each["name"], each["version"], each["state"]) for each in index] == [
        ("linear", "2", "READY"),
        ("linear", "1", "READY"),
    ]
    assert state(service) == {"linear/1": "ready", "linear/2": "ready"}
    assert 'model="linear/1",op="forecast"' in httpx.get(f"{service.url}/metrics").text


def test_a_version_that_is_not_there_is_refused_with_those_that_are(service: HttpService) -> None:
    for version in ("3", "03", "1/2", ""):
        reply = httpx.post(f"{service.url}/forecast", json=packed(WINDOW, model=f"linear/{version}"))
        assert (reply.status_code, error_of(reply.json())) == (404, ("unknown_model", "model"))
    assert "expected one of 2, 1" in httpx.post(f"{service.url}/forecast", json=packed(WINDOW, model="linear/3")).text
    refused = infer(service, "linear/versions/3")
    assert (refused.status_code, "expected one of 2, 1" in refused.json()["error"]) == (404, True)


def test_a_version_is_named_over_lines_too_and_a_ping_tells_which_is_degraded(models: Path) -> None:
    make_version(models, 3, broken=True)
    with StdioService("--models", models) as lines:
        lines.ask({"op": "ping"})
        wait_until(lambda: len(lines.ask({"op": "ping"})["degraded"]) == 1, "the newest is refused")
        told = {each["version"]: each for each in lines.ask({"op": "ping"})["models"]}
        assert [told[version]["default_version"] for version in "321"] == [False, True, False]
        assert told["2"]["degraded"].startswith("version 3 is refused: model.bin: ")
        assert factor(lines.ask(packed(WINDOW))) == 2
        assert factor(lines.ask(packed(WINDOW, model="linear/1"))) == 1
        assert error_of(lines.ask(packed(WINDOW, model="linear/7"))) == ("unknown_model", "model")


def test_a_new_version_answers_from_then_on_and_one_that_is_gone_no_more(service: HttpService, models: Path) -> None:
    make_version(models, 10)  # which is newer than 2, though not as a text
    shutil.rmtree(models / "linear" / "1")
    assert ask(service, model="linear/1") == (1, "linear/1")
    assert httpx.post(f"{service.url}{LOAD}").content == b"{}"
    assert ask(service) == (10, "linear/10")
    assert ask(service, model="linear/2") == (2, "linear/2")
    assert infer(service, "linear/versions/1").status_code == 404
    assert state(service) == {"linear/2": "ready", "linear/10": "ready"}
    assert 'model="linear/1"' not in httpx.get(f"{service.url}/metrics").text
    assert "no longer served, as their folders are gone: linear/1" in service.log
    shutil.rmtree(models / "linear" / "10")
    service.signal(signal.SIGHUP)
    wait_until(lambda: ask(service) == (2, "linear/2"), "the older one again")


def test_where_the_newest_fails_the_next_older_answers_and_says_why(models: Path) -> None:
    make_version(models, 3, broken=True)
    with serve(models) as service:
        wait_until(lambda: len(state(service)) == 3 and "loading" not in state(service).values(), "all versions")
        assert ask(service) == (2, "linear/2")
        assert state(service) == {"linear/1": "ready", "linear/2": "degraded", "linear/3": "refused"}
        told = httpx.get(f"{service.url}/readyz").json()
        assert [each["model"] for each in told["degraded"]] == ["linear/3"]
        (answering,) = [each for each in told["models"] if each["default_version"]]
        assert answering["degraded"].startswith("version 3 is refused: model.bin: sha256")
        pinned = httpx.post(f"{service.url}/forecast", json=packed(WINDOW, model="linear/3"))
        assert (pinned.status_code, "model.bin" in pinned.text) == (404, True)
        shutil.rmtree(models / "linear" / "3")
        make_version(models, 3)
        assert httpx.post(f"{service.url}{LOAD}").status_code == 200
        assert ask(service) == (3, "linear/3")
        assert set(state(service).values()) == {"ready"}


def test_a_new_version_that_fails_leaves_the_older_one_and_says_why(service: HttpService, models: Path) -> None:
    make_version(models, 3, broken=True)
    refused = httpx.post(f"{service.url}{LOAD}")
    assert (refused.status_code, "linear/3" in refused.json()["error"]) == (422, True)
    assert ask(service) == (2, "linear/2")
    assert state(service) == {"linear/1": "ready", "linear/2": "degraded", "linear/3": "refused"}
    shutil.rmtree(models / "linear" / "3")
    assert httpx.post(f"{service.url}{LOAD}").status_code == 200
    assert state(service) == {"linear/1": "ready", "linear/2": "ready"}


def test_a_model_without_versions_gets_some(tmp_path: Path) -> None:
    models = tmp_path / "models"
    make_linear(models / "linear", times=5)
    with serve(models) as service:
        assert ask(service) == (5, "linear")
        assert ask(service, model="linear/1")[0] == 5  # which its manifest says
        (models / "linear").rename(tmp_path / "old")
        (models / "linear").mkdir()
        make_version(models, 2)
        assert httpx.post(f"{service.url}{LOAD}").status_code == 200
        assert ask(service) == (2, "linear/2")
        assert state(service) == {"linear/2": "ready"}
        shutil.rmtree(models / "linear")  # what would leave nothing takes nothing
        service.signal(signal.SIGHUP)
        wait_until(lambda: "no models can be looked for" in service.log, "it has looked")
        assert ask(service) == (2, "linear/2")


def test_what_is_no_folder_of_versions_is_refused_by_name(models: Path) -> None:
    copy_model(models, "other")
    make_linear(models / "mixed")
    (models / "mixed" / "4").mkdir()
    (models / "void").mkdir()
    (models / "linear" / "3").mkdir()
    for name in ("linear/03", "linear/v4", "misnamed/v1"):
        make_linear(models / name)
    with HttpService("--models", models, "--default-model", "linear") as service:
        told = {each["model"]: each["error"] for each in httpx.get(f"{service.url}/readyz").json()["degraded"]}
        assert set(told) == {"linear/3", "linear/03", "linear/v4", "misnamed/v1", "mixed", "void"}
        assert "manifest.json beside folders of versions (4)" in told["mixed"]
        for name in ("linear/3", "void"):
            assert told[name].startswith("it is empty")
        for name in ("linear/03", "linear/v4", "misnamed/v1"):
            assert "a positive whole number" in told[name]
        assert ask(service) == (2, "linear/2")


def test_commands_know_versions(models: Path, run_vinocast: RunVinocast) -> None:
    done = run_vinocast("doctor", "--models", models / "linear")
    assert (done.returncode, f"name its parent, --models {models}" in done.stdout) == (1, True)
    done = run_vinocast("doctor", "--models", models)
    assert done.returncode == 0, done.stdout
    for name in ("linear/1", "linear/2"):
        assert re.search(rf"\b{name}\b.*in force", done.stdout), done.stdout
    table = models.parent / "table.csv"
    table.write_text("a,b,c\n" + "".join(f"{row},{row * 2},{row % 5}\n" for row in range(40)))
    made = run_vinocast("forecast", table, "--models", models, "--format", "json")
    assert (made.returncode, "linear/2" in made.stderr + made.stdout) == (0, True), made.stderr


def test_python_loads_the_newest_version_or_the_one_that_is_named(models: Path) -> None:
    for folder, version in (("linear", 2), ("linear/1", 1)):
        model = vinocast.load(models / folder)
        assert model.name == f"linear/{version}"
        forecast = model.forecast(WINDOW, quantile_levels=[0.1, 0.9])
        np.testing.assert_allclose(forecast, version * linear(WINDOW), rtol=1e-3)
        assert list(forecast.quantiles) == [0.1, 0.9]
