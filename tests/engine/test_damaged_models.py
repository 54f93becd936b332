"""Models: what is damaged is refused with a message that says which, and does not stop the others."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import orjson
import pytest
from support import (
    MODEL,
    PATIENCE,
    StdioService,
    change_manifest,
    copy_model,
    error_of,
    fix_hashes,
    packed,
    wait_until,
)
from vinocast.data.bundled import bundled_models
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.folders import find_models
from vinocast.engine.loader import Loader
from vinocast.engine.profiles import PROFILES
from vinocast.engine.repository import Repository
from vinocast.errors import ModelRefusedError, SetupError
from vinocast.forecast.kind import FORECASTER
from vinocast.forecast.manifest import open_forecaster
from vinocast.kinds import KINDS, open_model


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def change_golden(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    with np.load(folder / "golden.npz") as arrays:
        values = {name: arrays[name].copy() for name in arrays.files}
    change(values)
    np.savez(folder / "golden.npz", **values)
    fix_hashes(folder)


def flip_a_weight(folder: Path) -> None:
    weights = bytearray((folder / "model.bin").read_bytes())
    weights[len(weights) // 2] ^= 0x40
    (folder / "model.bin").write_bytes(weights)


def flip_weights_and_hash(folder: Path) -> None:
    weights = np.fromfile(folder / "model.bin", np.float32)
    weights[(abs(weights) > 1e-3) & (abs(weights) < 10)] *= 1.1  # not the integers between them
    weights.tofile(folder / "model.bin")
    fix_hashes(folder)


def shift_golden_outputs(folder: Path) -> None:
    change_golden(folder, lambda values: values["outputs"].__iadd__(np.float32(0.5)))


def golden_without_outputs(folder: Path) -> None:
    change_golden(folder, lambda values: values.pop("outputs"))


def golden_of_another_context(folder: Path) -> None:
    change_golden(folder, lambda values: values.update(inputs=values["inputs"][:, 1:]))


def replace(name: str, data: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(data)
        fix_hashes(folder)

    return change


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def pipe_in_place_of(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def name_a_file_outside(folder: Path) -> None:
    files = orjson.loads((folder / "manifest.json").read_bytes())["files"]
    change_manifest(folder, files=files | {"../secret": "0" * 64})


def forget_hash(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        files = orjson.loads((folder / "manifest.json").read_bytes())["files"]
        change_manifest(folder, files={key: value for key, value in files.items() if key != name})

    return change


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        pytest.param(flip_a_weight, "model.bin", id="one altered weight"),
        pytest.param(remove("model.bin"), "model.bin", id="no weights"),
        pytest.param(remove("model.xml"), "model.xml", id="no graph"),
        pytest.param(remove("golden.npz"), "golden.npz", id="no golden vectors"),
        pytest.param(pipe_in_place_of("model.bin"), "model.bin: not a regular file", id="a pipe in place of weights"),
        pytest.param(pipe_in_place_of("golden.npz"), "golden.npz: not a regular file", id="a pipe in place of golden"),
        pytest.param(forget_hash("model.bin"), "model.bin", id="weights without a hash"),
        pytest.param(forget_hash("golden.npz"), "golden.npz", id="golden vectors without a hash"),
        pytest.param(name_a_file_outside, "'../secret' is not inside the folder", id="a file outside the folder"),
        pytest.param(flip_weights_and_hash, "golden", id="other weights, hash and all"),
        pytest.param(shift_golden_outputs, "golden", id="other golden values, hash and all"),
        pytest.param(golden_without_outputs, "outputs", id="golden vectors without outputs"),
        pytest.param(golden_of_another_context, MODEL, id="golden vectors of another shape"),
        pytest.param(replace("golden.npz", b""), MODEL, id="empty golden vectors"),
        pytest.param(replace("golden.npz", b"PK\3\4 no more"), MODEL, id="golden vectors cut off"),
        pytest.param(replace("model.xml", b"<net"), MODEL, id="a graph that is none"),
        pytest.param(replace("model.bin", b""), MODEL, id="empty weights"),
    ],
)
def test_a_damaged_model_is_refused_with_a_message_that_says_which(
    models: Path, damage: Callable[[Path], None], named: str
) -> None:
    damage(copy_model(models))
    repository, settled = Repository(models, None, KINDS), Event()
    Loader(repository).load(PROFILES["native"], cpu_budget(), lambda _: settled.set())
    assert settled.wait(PATIENCE)
    assert repository.find(FORECASTER, None).engine is None
    assert named in str(repository.find(FORECASTER, None).refused)


def test_a_pipe_among_the_files_of_a_model_holds_nobody_up(models: Path) -> None:
    copy_model(models)
    pipe_in_place_of("model.bin")(copy_model(models, "weights"))
    pipe_in_place_of("manifest.json")(copy_model(models, "manifest"))
    with StdioService("--models", models) as service:
        degraded = service.ask({"op": "ping"})["degraded"]
        wait_until(lambda: len(service.ask({"op": "ping"})["degraded"]) == 2, f"both are refused: {degraded}")
        reasons = {one["model"]: one["error"] for one in service.ask({"op": "ping"})["degraded"]}
        assert "manifest: no readable manifest.json (not a regular file)" in reasons["manifest"]
        assert "model.bin: not a regular file" in reasons["weights"]
        service.signal(signal.SIGTERM)
        assert service.wait() == 0


def test_a_damaged_default_model_is_told_and_ends_the_service_with_code_1(models: Path) -> None:
    flip_a_weight(copy_model(models))
    with StdioService("--models", models) as service:
        ping = service.ask({"op": "ping"})
        assert ping["ready"] is False
        assert ping["models"][0]["state"] == "failed"
        assert "model.bin" in ping["models"][0]["error"]
        assert error_of(service.ask(packed(np.zeros((512, 7), np.float32)))) == ("unknown_model", "model")
        assert service.finish() == ([], 1)
        assert "model.bin" in service.log


@pytest.mark.slow
def test_a_damaged_model_does_not_stop_the_others(models: Path) -> None:
    copy_model(models)
    for name, damage in {"altered": flip_a_weight, "empty": replace("golden.npz", b"")}.items():
        damage(copy_model(models, name))
    (copy_model(models, "unreadable") / "manifest.json").write_text("{")
    change_manifest(copy_model(models, "strange"), layout="sideways")
    copy_model(models, "zealous")
    window = np.zeros((512, 7), np.float32)
    with StdioService("--models", models) as service:
        ping = service.ask({"op": "ping"})
        assert ping["ready"] is True
        assert {model["name"] for model in ping["models"]} == {MODEL, "altered", "empty", "zealous"}
        assert service.ask(packed(window))["model"] == MODEL
        assert service.ask(packed(window, model="zealous"))["model"] == "zealous"
        for name in ("altered", "empty"):
            assert error_of(service.ask(packed(window, model=name))) == ("unknown_model", "model")
        for name in ("unreadable", "strange", "", "absent"):
            assert error_of(service.ask(packed(window, model=name))) == ("unknown_model", "model")
        assert service.finish() == ([], 0)
        assert "unreadable" in service.log
        assert "strange" in service.log


def test_no_other_model_stands_in_for_a_damaged_bundled_default(models: Path) -> None:
    copy_model(models, "other")
    (copy_model(models) / "manifest.json").write_text("{}")
    with pytest.raises(ModelRefusedError, match=MODEL):
        Repository(models, None, KINDS)
    assert Repository(models, "other", KINDS).default == "other"


def test_a_manifest_that_cannot_be_read_says_where_and_why(models: Path) -> None:
    folder = copy_model(models)
    change_manifest(folder, context=0)
    with pytest.raises(ModelRefusedError, match=r"(?s)manifest\.json.*context"):
        open_forecaster(folder)
    change_manifest(folder, context=512, channels=["a", "b", "a"])
    with pytest.raises(ModelRefusedError, match=r"channels: .*each channel needs a name of its own"):
        open_forecaster(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(ModelRefusedError, match=r"no readable manifest\.json"):
        open_forecaster(folder)
    with pytest.raises(SetupError):
        find_models(models)


def test_every_file_of_a_bundled_model_matches_its_hash() -> None:
    found = find_models(bundled_models())
    assert MODEL in found
    for path in found.values():
        open_model(path).verify()


def test_a_manifest_that_is_there_and_cannot_be_read_is_told(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    copy_model(models)
    (copy_model(models, "lost") / "manifest.json").unlink()
    (models / "lost" / "manifest.json").symlink_to("/nowhere/manifest.json")
    assert Repository(models, None, KINDS).default == MODEL
    assert "lost: no readable manifest.json (No such file or directory)" in caplog.text
