"""A model whose folder has changed is served as it is now; what cannot be served leaves what is served."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from forecast_toys import linear, make_linear
from support import MODELS, HttpService, RunVinocast, Window, change_manifest, copy_model, packed, wait_until

LOAD = "/v2/repository/models/linear/load"
WINDOW: Window = np.random.default_rng(3).standard_normal((16, 3)).astype(np.float32)
# What the model answers after the folder has changed: its weights are three times as large.
TIMES = 3.0


def put(models: Path, times: float) -> None:
    """Put another model into the place of the first, in one step, as a deployment does."""
    made = make_linear(models.parent / f"made-{times}-{len(list(models.parent.iterdir()))}" / "linear", times=times)
    old = models.parent / f"old-{len(list(models.parent.iterdir()))}"
    (models / "linear").rename(old)
    made.rename(models / "linear")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    make_linear(folder / "linear")
    return folder


def hear_hangups() -> None:
    """Whatever the tests themselves were started by, such as nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def service(models: Path) -> Iterator[HttpService]:
    with HttpService("--models", models, preexec_fn=hear_hangups) as service:
        wait_until(lambda: httpx.get(f"{service.url}/readyz").status_code == 200, "ready")
        yield service


def factor(answer: httpx.Response) -> float:
    """How many times the first model's forecast an answer is."""
    predictions = np.array(answer.json()["predictions"])
    times = predictions / linear(WINDOW)
    np.testing.assert_allclose(times, times.mean(), rtol=1e-3)  # of one model, whole
    return round(float(times.mean()), 2)


def ask(service: HttpService) -> float:
    return factor(httpx.post(f"{service.url}/forecast", json=packed(WINDOW)))


def test_while_clients_ask_each_is_answered_by_the_old_model_or_the_new(service: HttpService, models: Path) -> None:
    ended = threading.Event()
    answers: list[list[float]] = [[] for _ in range(8)]

    def keep_asking(place: int) -> None:
        with httpx.Client(base_url=service.url) as client:
            while not ended.is_set():
                answers[place].append(factor(client.post("/forecast", json=packed(WINDOW))))

    threads = [threading.Thread(target=keep_asking, args=(place,)) for place in range(len(answers))]
    for thread in threads:
        thread.start()
    try:
        for times in (TIMES, 1.0, TIMES):
            put(models, times)
            loaded = httpx.post(f"{service.url}{LOAD}")
            assert (loaded.status_code, loaded.content) == (200, b"{}")
            assert ask(service) == times
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert all(each and {*each} <= {1.0, TIMES} for each in answers)
    assert httpx.get(f"{service.url}/stats").json()["failed"] == {}


def test_on_sighup_the_folder_is_looked_at_again(service: HttpService, models: Path) -> None:
    service.signal(signal.SIGHUP)
    wait_until(lambda: "no folder of a model has changed" in service.log, "it has looked")
    put(models, TIMES)
    shutil.copytree(MODELS / "patchtst-etth1", models / "another")
    service.signal(signal.SIGHUP)
    wait_until(lambda: "model linear is served as its folder has it now" in service.log, "it has looked again")
    assert ask(service) == TIMES
    names = [model["name"] for model in httpx.get(f"{service.url}/readyz").json()["models"]]
    assert names == ["linear", "another"]


def test_what_cannot_be_served_leaves_what_is_served_and_says_why(service: HttpService, models: Path) -> None:
    good = (models / "linear" / "model.bin").read_bytes()
    put(models, TIMES)
    (models / "linear" / "model.bin").write_bytes(good)  # of other weights than the manifest says
    refused = httpx.post(f"{service.url}{LOAD}")
    assert refused.status_code == 422
    assert "model.bin" in refused.json()["error"]
    assert ask(service) == 1.0
    (described,) = httpx.get(f"{service.url}/readyz").json()["models"]
    assert "model.bin" in described["degraded"]
    assert 'vinocast_model_state{model="linear",state="degraded"} 1.0' in httpx.get(f"{service.url}/metrics").text
    put(models, TIMES)
    assert httpx.post(f"{service.url}{LOAD}", json={}).status_code == 200
    assert ask(service) == TIMES
    (described,) = httpx.get(f"{service.url}/readyz").json()["models"]
    assert "degraded" not in described


def test_what_is_not_there_cannot_be_loaded(service: HttpService) -> None:
    unknown = httpx.post(f"{service.url}/v2/repository/models/none/load")
    assert (unknown.status_code, "linear" in unknown.json()["error"]) == (404, True)
    configured = httpx.post(f"{service.url}{LOAD}", json={"parameters": {"config": "{}"}})
    assert (configured.status_code, configured.json()["error"]) == (
        422,
        "parameters.config: no such field; expected none",
    )


@pytest.mark.slow
def test_several_workers_look_again_on_sighup_of_their_parent(models: Path) -> None:
    with HttpService("--models", models, "--workers", "2", preexec_fn=hear_hangups) as service:
        wait_until(lambda: "is ready on http" in service.log, "all are ready")
        refused = httpx.post(f"{service.url}{LOAD}")
        assert (refused.status_code, "SIGHUP" in refused.json()["error"]) == (422, True)
        put(models, TIMES)
        service.signal(signal.SIGHUP)
        wait_until(lambda: service.log.count("is served as its folder has it now") == 2, "both have looked")
        assert {ask(service) for _ in range(6)} == {TIMES}


@pytest.mark.slow
def test_the_memory_of_models_that_were_replaced_is_given_back(tmp_path: Path) -> None:
    """Of a real one, whose shapes take 20 MB; two kept ones would be more than what is allowed."""
    models = tmp_path / "models"
    folder = copy_model(models)
    with HttpService("--models", models) as service:
        wait_until(lambda: httpx.get(f"{service.url}/readyz").status_code == 200, "ready")
        resident: list[float] = []
        for count in range(5):
            change_manifest(folder, version=f"again {count}")
            assert httpx.post(f"{service.url}/v2/repository/models/{folder.name}/load", timeout=60).status_code == 200
            assert f"version again {count}" in service.log
            resident.append(service.resident_mb)
        assert resident[-1] - resident[1] < 10, resident


def test_the_command_reloads_what_it_names_and_says_what_is_wrong(
    service: HttpService, models: Path, run_vinocast: RunVinocast
) -> None:
    put(models, TIMES)
    done = run_vinocast("reload", "--url", service.url)
    assert (done.returncode, done.stdout) == (0, "linear: served as its folder has it now\n")
    assert ask(service) == TIMES
    (models / "linear" / "model.bin").write_bytes(b"")
    change_manifest(models / "linear", version="new")
    refused = run_vinocast("reload", "linear", "--url", service.url)
    assert (refused.returncode, "model.bin" in refused.stderr, "Traceback" in refused.stderr) == (1, True, False)
    assert ask(service) == TIMES
    make_linear(models / "more")
    assert run_vinocast("reload", "more", "--url", service.url).returncode == 0
    several = run_vinocast("reload", "--url", service.url)
    assert (several.returncode, several.stdout) == (1, "more: served as its folder has it now\n")
    assert "what the folder of linear has now is refused: model.bin" in several.stderr
    shutil.rmtree(models / "more")
    gone = run_vinocast("reload", "more", "--url", service.url)
    assert "model: more has no folder any more, and stays as it is" in gone.stderr
    for wrong in (
        ["none", "--url", service.url],
        ["--url", "http://127.0.0.1:1"],
        ["--url", "what"],
        ["--pid", "4000000"],
    ):
        failed = run_vinocast("reload", *wrong)
        assert (failed.returncode, "Traceback" in failed.stderr) == (1, False), failed.stderr
