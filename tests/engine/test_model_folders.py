"""What a disk, or whoever may write to one, can do to the folder of a model: it is refused by the name of the file, or
served with the right numbers; never with others, and it holds nobody up."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hostile_folders import (
    HOSTILE,
    TO_A_FILE,
    Damage,
    endless_loop,
    fifo,
    files_of,
    folder_in_its_place,
    graph_of,
    in_place,
    link_to,
)
from support import (
    MODEL,
    MODELS,
    ROOT,
    Gate,
    HttpService,
    RunVinocast,
    Service,
    StdioService,
    copy_model,
    error_of,
    near,
    packed,
    random_windows,
    raw_inference,
    wait_until,
)
from vinocast.engine import bounds
from vinocast.engine.folders import find_models
from vinocast.engine.manifest import golden_vectors
from vinocast.errors import ModelRefusedError, SetupError
from vinocast.forecast.manifest import open_forecaster
from vinocast.kinds import open_model
from vinocast.library import load

WINDOW = random_windows(1)[0]
GRIDS = [np.arange(256).reshape(16, 16).tolist()]


@dataclass(frozen=True)
class Attacked:
    """The folder of models of two services, and what they said of it."""

    models: Path
    stdio: StdioService
    http: HttpService
    told: dict[str, str]
    shown: dict[str, str]


def refusals(pong: dict[str, Any]) -> dict[str, str]:
    return {entry["model"]: entry["error"] for entry in pong["degraded"]}


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """Services that have met every damaged folder there is, beside a good one."""
    models = tmp_path_factory.mktemp("attacked") / "models"
    copy_model(models)
    for name, damage in TO_A_FILE.items():
        damage(copy_model(models, name) / "model.bin")
    for name, hostile in HOSTILE.items():
        hostile.damage(copy_model(models, name))
    wanted = {*TO_A_FILE, *HOSTILE} - ({"closed"} if os.getuid() == 0 else set())  # root may read it
    with StdioService("--models", models) as stdio, HttpService("--models", models) as http:
        wait_until(lambda: set(refusals(stdio.ask({"op": "ping"}))) == wanted, "all are settled over lines")
        wait_until(lambda: set(refusals(httpx.get(f"{http.url}/readyz").json())) == wanted, "all are settled over HTTP")
        told, shown = refusals(stdio.ask({"op": "ping"})), refusals(httpx.get(f"{http.url}/readyz").json())
        yield Attacked(models, stdio, http, told, shown)
        for service in (stdio, http):
            service.signal(signal.SIGTERM)
            assert service.wait() == 0
            assert "Traceback" not in service.log


@pytest.mark.parametrize("name", TO_A_FILE)
def test_a_file_that_is_damaged_before_the_start_is_named_or_read_right(attacked: Attacked, name: str) -> None:
    reply = attacked.stdio.ask(packed(WINDOW, model=name))
    if reply["success"]:
        assert name == "closed"
        assert near(reply["predictions"], raw_inference([WINDOW])[0], WINDOW)
        return
    assert error_of(reply) == ("unknown_model", "model")
    file = "golden.npz" if name == "swapped" else "model.bin"  # which comes first
    assert f"{file}: " in reply["error"]["message"]
    assert attacked.told[name].startswith(f"{attacked.models / name / file}: ")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder_is_refused_in_a_line(attacked: Attacked, name: str) -> None:
    said = HOSTILE[name].said
    assert said in attacked.shown[name]
    assert len(attacked.told[name]) < 800
    assert attacked.told[name].isprintable()
    assert attacked.told[name] in attacked.stdio.log
    assert attacked.told[name] in attacked.http.log


def test_the_good_model_beside_them_answers_right(attacked: Attacked) -> None:
    expected = raw_inference([WINDOW])[0]
    assert near(attacked.stdio.ask(packed(WINDOW))["predictions"], expected, WINDOW)
    reply = httpx.post(f"{attacked.http.url}/forecast", json=packed(WINDOW)).json()
    assert near(reply["predictions"], expected, WINDOW)
    assert not (attacked.models / "unpickled").exists()
    # The widest of them, had it been taken, would let requests of 300 MB in.
    assert attacked.stdio.ask({"op": "ping"})["max_request_bytes"] == 8 << 20


def test_no_line_of_the_log_is_forged(attacked: Attacked) -> None:
    for service in (attacked.stdio, attacked.http):
        lines = service.log.splitlines()
        for line in lines[: lines.index("") if "" in lines else None]:  # the welcome begins with an empty one
            assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ (vinocast|uvicorn)[\w.]*: ", line), line


def test_whoever_asks_over_http_learns_no_path_and_no_hash(attacked: Attacked) -> None:
    texts = [httpx.get(f"{attacked.http.url}/readyz").text]
    texts += [
        httpx.post(f"{attacked.http.url}/forecast", json=packed(WINDOW, model=name)).text for name in attacked.shown
    ]
    for text in texts:
        assert str(attacked.models) not in text
        assert attacked.models.parent.name not in text
        assert not re.search(r"[0-9a-f]{40}", text)
    # The log, and the process that has started the service, are told the whole.
    assert re.search(r"flipped/model.bin: sha256 is not the manifest's \([0-9a-f]{64} instead of", attacked.http.log)
    assert re.search(r"[0-9a-f]{64} instead of [0-9a-f]{64}", attacked.told["flipped"])


def test_doctor_meets_them_all(attacked: Attacked, run_vinocast: RunVinocast) -> None:
    done = run_vinocast("doctor", "--json", "--models", attacked.models)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    failed = {each["subject"]: each["text"] for each in json.loads(done.stdout)["findings"] if each["state"] == "fail"}
    assert failed == attacked.told


@pytest.mark.parametrize("name", ["fifo", "device", "golden-bomb", "graph-tensor", "context", "manifest-huge"])
def test_python_meets_them(attacked: Attacked, name: str) -> None:
    with pytest.raises(ModelRefusedError) as refused:
        load(attacked.models / name)
    assert str(refused.value) == attacked.told[name]


@pytest.mark.parametrize("name", ["manifest-fifo", "manifest-device"])
def test_python_takes_no_folder_without_a_manifest(attacked: Attacked, name: str) -> None:
    with pytest.raises(SetupError, match=r"neither a folder with a manifest\.json nor a bundled model"):
        load(attacked.models / name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fifo", "device", "golden-bomb", "context"])
def test_commands_meet_them(attacked: Attacked, run_vinocast: RunVinocast, tmp_path: Path, name: str) -> None:
    alone = tmp_path / "models"
    alone.mkdir()
    (alone / name).symlink_to(attacked.models / name)
    for command in (["tune", "--models", alone], ["bench", "--models", alone]):
        done = run_vinocast(*command, env=os.environ | {"XDG_STATE_HOME": str(tmp_path)})
        assert done.returncode == 1, command
        assert HOSTILE[name].said in done.stderr if name in HOSTILE else "model.bin: not a regular file" in done.stderr
        assert "Traceback" not in done.stderr


def test_what_happens_to_the_files_of_a_model_that_serves_changes_nothing(tmp_path: Path) -> None:
    folder = copy_model(tmp_path / "models")
    kept = shutil.copytree(folder, tmp_path / "kept")
    with StdioService("--models", folder.parent) as service:
        wait_until(lambda: len(service.ask({"op": "ping"})["models"][0]["batch_sizes"]) == 7, "all shapes")
        expected = raw_inference([WINDOW])[0]

        def answer(count: int) -> Any:
            return service.ask(packed(WINDOW, targets=list(range(count))))["predictions"]

        before = [answer(count) for count in range(1, 8)]
        assert near(before[-1], expected, WINDOW)
        maps = Path(f"/proc/{service.process.pid}/maps").read_text()
        assert str(folder) not in maps
        for name, damage in TO_A_FILE.items():
            for file in ("model.bin", "model.xml", "golden.npz"):
                if (name, file) != ("swapped", "golden.npz"):
                    damage(folder / file)
            assert [answer(count) for count in range(1, 8)] == before, name
            shutil.rmtree(folder)
            shutil.copytree(kept, folder)
        folder.rename(folder.with_name("renamed"))
        assert answer(7) == before[-1]
        shutil.rmtree(folder.parent)
        assert answer(7) == before[-1]
        assert service.finish() == ([], 0)


@pytest.mark.slow
def test_what_happens_to_the_files_of_a_glyph_model_that_serves_changes_nothing(tmp_path: Path) -> None:
    copy_model(tmp_path / "models")
    folder = shutil.copytree(MODELS / "glyphs", tmp_path / "models" / "glyphs")
    with StdioService("--models", folder.parent) as service:
        before = service.ask({"op": "glyphs", "grids": GRIDS})["results"]
        assert str(folder) not in Path(f"/proc/{service.process.pid}/maps").read_text()
        for file in folder.glob("*.*"):
            in_place(file, bytes(file.stat().st_size))
            assert service.ask({"op": "glyphs", "grids": GRIDS})["results"] == before
            os.truncate(file, 0)
            assert service.ask({"op": "glyphs", "grids": GRIDS})["results"] == before
        assert service.finish() == ([], 0)


@pytest.mark.parametrize("file", ["phase1.bin", "phase2.xml", "label_map.json", "chars.csv", "golden.npz"])
@pytest.mark.parametrize("damage", ["zeroed", "fifo", "device"])
def test_a_damaged_file_of_a_glyph_model_is_named(tmp_path: Path, file: str, damage: str) -> None:
    folder = shutil.copytree(MODELS / "glyphs", tmp_path / "glyphs")
    TO_A_FILE[damage](folder / file)
    with pytest.raises(ModelRefusedError, match=f"{folder / file}: "):
        open_model(folder).verify()


@pytest.mark.parametrize("how", ["renamed", "deleted", "other weights", "zeros"])
def test_what_happens_while_a_model_loads_is_refused(
    make_gate: Callable[[str], Gate], tmp_path: Path, how: str
) -> None:
    gate = make_gate("late")
    copy_model(tmp_path / "models")
    folder = tmp_path / "models" / "late"
    with StdioService("--models", folder.parent) as service:
        gate.reach()
        weights = (tmp_path / "models" / MODEL / "model.bin").read_bytes()
        if how == "renamed":
            folder.rename(folder.with_name("elsewhere"))
        elif how == "deleted":
            shutil.rmtree(folder)
        gate.open({"zeros": bytes(len(weights)), "other weights": weights[4:]}.get(how))
        reply = service.ask(packed(WINDOW, model="late"))
        assert error_of(reply) == ("unknown_model", "model")
        assert "model.bin: " in reply["error"]["message"]
        assert service.finish() == ([], 0)


def test_what_was_hashed_is_what_is_returned(tmp_path: Path) -> None:
    folder = copy_model(tmp_path)
    model = open_forecaster(folder)
    files = model.read()
    assert set(files) == {"model.xml", "model.bin", "golden.npz", "quantiles.npz"}
    for file in files:
        in_place(folder / file, bytes(100))
    assert files["model.bin"] == (MODELS / MODEL / "model.bin").read_bytes()
    assert [len(array) for array in golden_vectors(model, files, "inputs", "outputs")] > [0, 0]
    with pytest.raises(ModelRefusedError, match="sha256 is not the manifest's"):
        model.read()


class WorkersService(HttpService):
    """Two workers, or one where there is one core."""

    def __init__(self, *options: str | Path, **more: Any) -> None:
        super().__init__("--workers", str(min(2, len(os.sched_getaffinity(0)))), *options, **more)


def serve(models: Path, *, ready: bool) -> HttpService:
    return HttpService("--models", models, ready=ready)


def serve_workers(models: Path, *, ready: bool) -> HttpService:
    return WorkersService("--models", models, ready=ready)


def stdio(models: Path, *, ready: bool) -> StdioService:
    service = StdioService("--models", models)
    if ready:
        assert service.ask({"op": "ping"})["ready"]
    return service


def busy(service: Service) -> bool:
    """Whether a process, or each of its workers, has computed for a second and more."""
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()

    def seconds(pid: str) -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    return all(seconds(pid) > 3 for pid in children or [str(service.process.pid)])


@pytest.mark.parametrize("start", [stdio, serve, serve_workers], ids=["stdio", "serve", "workers"])
@pytest.mark.parametrize("default", [True, False], ids=["the default", "another"])
def test_a_model_that_never_finishes_loading_holds_no_end_up(
    tmp_path: Path, start: Callable[..., Service], default: bool
) -> None:
    models = tmp_path / "models"
    if not default:
        copy_model(models)
    graph_of(endless_loop)(copy_model(models, "endless"))
    with start(models, ready=not default) as service:
        wait_until(lambda: busy(service), "the loader is in native code")
        assert service.process.poll() is None
        if not default and isinstance(service, HttpService):
            reply = httpx.post(f"{service.url}/forecast", json=packed(WINDOW)).json()
            assert near(reply["predictions"], raw_inference([WINDOW])[0], WINDOW)
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
        assert "had to be killed" not in service.log
        assert "Traceback" not in service.log


@pytest.mark.slow
def test_requests_that_wait_for_a_model_that_never_loads_are_refused_in_time(tmp_path: Path) -> None:
    graph_of(endless_loop)(copy_model(tmp_path / "models", "endless"))
    shutil.copytree(MODELS / "glyphs", tmp_path / "models" / "glyphs")
    with StdioService("--models", tmp_path / "models") as service:
        service.send(packed(WINDOW, request_id=1), {"op": "glyphs", "grids": GRIDS, "request_id": 2}, {"op": "ping"})
        wait_until(lambda: busy(service), "the loader is in native code")
        service.signal(signal.SIGTERM)
        replies = {reply["request_id"]: reply for reply in service.rest()}
        assert service.wait() == 0
        assert {error_of(replies[number]) for number in (1, 2)} == {("shutting_down", None)}
        assert replies[None]["ready"] is False
        assert len(replies) == 3


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (fifo, "not a regular file"),
        (link_to("/dev/zero"), "not a regular file"),
        (folder_in_its_place, "Is a directory"),
        (lambda path: os.truncate(path, 1 << 30), "1073741824 bytes, more than the 1048576 it may have"),
    ],
)
def test_a_profile_that_is_no_file_of_its_own_is_told(
    run_vinocast: RunVinocast, tmp_path: Path, damage: Damage, said: str
) -> None:
    path = tmp_path / "vinocast" / "tuned.json"
    path.parent.mkdir()
    path.write_text("{}")
    damage(path)
    for command in ("stdio", "serve", "doctor"):
        done = run_vinocast(command, "--profile", "tuned", env=os.environ | {"XDG_STATE_HOME": str(tmp_path)}, input="")
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        assert said in done.stderr


def test_the_bundled_models_are_far_below_every_bound() -> None:
    folders = find_models(MODELS).values()
    assert len(folders) >= 2
    for folder in folders:
        assert (folder / "manifest.json").stat().st_size < bounds.MANIFEST_BYTES / 50
        for name in files_of(folder):
            assert stat.S_ISREG((folder / name).stat().st_mode)
            assert (folder / name).stat().st_size < bounds.most_bytes(name) / 50


def test_the_documents_say_every_bound() -> None:
    section = (ROOT / "docs" / "deployment.md").read_text().partition("## What a model's folder may hold")[2]
    said = [int(number) for number in re.findall(r"(?<=[| ])\d+(?= )", section.partition("engine/bounds.py")[0])]
    assert sorted(said) == sorted(value for name, value in vars(bounds).items() if re.fullmatch("[A-Z][A-Z_]+", name))
