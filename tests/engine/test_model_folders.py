"""What a disk, or whoever may write to one, can do to the folder of a model: it is refused by the name of the file, or
served with the right numbers; never with others, and it holds nobody up."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openvino as ov
import orjson
import pytest
from openvino import opset13 as op
from support import (
    MODEL,
    MODELS,
    ROOT,
    Gate,
    HttpService,
    RunVinocast,
    Service,
    StdioService,
    change_manifest,
    copy_model,
    error_of,
    fix_hashes,
    near,
    packed,
    random_windows,
    raw_inference,
    wait_until,
)
from vinocast.engine import bounds
from vinocast.engine.manifest import find_models, golden_vectors
from vinocast.errors import ModelRefusedError, SetupError
from vinocast.forecast.manifest import open_forecaster
from vinocast.kinds import open_model
from vinocast.library import load

Damage = Callable[[Path], object]
WINDOW = random_windows(1)[0]
GRIDS = [np.arange(256).reshape(16, 16).tolist()]


def files_of(folder: Path) -> dict[str, str]:
    files: dict[str, str] = orjson.loads((folder / "manifest.json").read_bytes())["files"]
    return files


def in_place(path: Path, data: bytes, at: int = 0) -> None:
    """Write into a file that others may have mapped."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def flip(path: Path) -> None:
    at = path.stat().st_size // 2
    in_place(path, bytes([path.read_bytes()[at] ^ 0x40]), at)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0" * 4096)


def swap(path: Path) -> None:
    other = path.with_name("golden.npz")
    path.rename(path.with_name("third"))
    other.rename(path)
    path.with_name("third").rename(other)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder_in_its_place(path: Path) -> None:
    path.unlink()
    path.mkdir()


def socket_in_its_place(path: Path) -> None:
    path.unlink()
    here = Path.cwd()
    os.chdir(path.parent)  # the address of a socket holds a hundred characters
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


def link_to(target: str) -> Damage:
    def damage(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return damage


# What happens to a file of a model, by a name that a folder can have.
TO_A_FILE: dict[str, Damage] = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "zeroed": lambda path: in_place(path, bytes(path.stat().st_size)),
    "flipped": flip,
    "grown": grow,
    "sparse": lambda path: os.truncate(path, 1 << 40),
    "swapped": swap,
    "deleted": Path.unlink,
    "fifo": fifo,
    "folder": folder_in_its_place,
    "socket": socket_in_its_place,
    "device": link_to("/dev/zero"),
    "loop": link_to("model.bin"),
    "nowhere": link_to("/nowhere"),
    "another": link_to("/proc/version"),
    "closed": lambda path: path.chmod(0),
}


def change_text(name: str, old: bytes, new: bytes) -> Damage:
    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        assert old in data
        (folder / name).write_bytes(data.replace(old, new, 1))

    return damage


def replaced(name: str, data: bytes) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(data)
        fix_hashes(folder)

    return damage


def naming(name: str) -> Damage:
    """A manifest that names one file more."""
    return lambda folder: change_manifest(folder, files=files_of(folder) | {name: "0" * 64})


def to_the_manifest(damage: Damage) -> Damage:
    return lambda folder: damage(folder / "manifest.json")


def graph_of(make: Callable[[Any], Any]) -> Damage:
    """A graph with the shapes that the manifest asks for, and whatever ``make`` puts before its result."""

    def damage(folder: Path) -> None:
        past = op.parameter([-1, 512], np.float32, name="past_values")
        mean = op.reduce_mean(make(past), op.constant([1]), keep_dims=True)
        forecast = op.result(
            op.broadcast(mean, op.concat([op.gather(op.shape_of(past), op.constant([0]), 0), [96]], 0))
        )
        ov.save_model(ov.Model([forecast], [past], "hostile"), folder / "model.xml", compress_to_fp16=False)
        fix_hashes(folder)

    return damage


def huge_tensor(past: Any) -> Any:
    rows = op.reduce_mean(past, op.constant([0, 1]), keep_dims=True)
    return (
        op.reduce_mean(op.broadcast(rows, op.constant([1 << 20, 1 << 20])), op.constant([0, 1]), keep_dims=True) + past
    )


def endless_loop(past: Any) -> Any:
    """2**40 rounds: to compile it takes a moment, the first inference never ends."""
    inner = op.parameter([-1, 512], np.float32)
    body = ov.Model([op.result(op.constant(True)), op.result(op.sin(inner))], [inner], "body")
    loop = op.loop(op.constant(np.int64(1 << 40)), op.constant(True))
    loop.set_function(body)
    loop.set_special_body_ports([-1, 0])
    loop.set_merged_input(inner, past.output(0), body.results[1].output(0))
    return loop.get_iter_value(body.results[1].output(0), -1)


def golden(**arrays: Any) -> Damage:
    def damage(folder: Path) -> None:
        np.savez(folder / "golden.npz", allow_pickle=True, **arrays)
        fix_hashes(folder)

    return damage


def golden_archive(packing: int, data: bytes) -> Damage:
    def damage(folder: Path) -> None:
        with zipfile.ZipFile(folder / "golden.npz", "w", packing) as archive:
            for name in ("inputs", "outputs"):
                archive.writestr(f"{name}.npy", data)
        fix_hashes(folder)

    return damage


def many_arrays(folder: Path) -> None:
    golden(**{f"a{index}": np.zeros(1) for index in range(100)})(folder)


class Touch:
    """What would be run by whoever unpickles it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self._path,)


def pickled(folder: Path) -> None:
    value = np.array([Touch(folder.parent / "unpickled")], object)
    golden(inputs=value, outputs=value)(folder)


def npy_of(shape: str, data: bytes = b"") -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(10 + len(header) + 1) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + data


def wide(folder: Path) -> None:
    change_manifest(folder, channels=[f"c{index}" for index in range(20_000)])


def long_and_wide(folder: Path) -> None:
    change_manifest(folder, context=60_000, channels=[f"c{index}" for index in range(100)])


XML = b'<?xml version="1.0"?><net name="m" version="11"><layers>'
LAUGHS = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">' + b"".join(
    b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(12)
)


@dataclass(frozen=True)
class Hostile:
    """A folder that was made to do harm, hashes and all, and what the refusal says, for everybody."""

    damage: Damage
    said: str


HOSTILE = {
    "manifest-fifo": Hostile(to_the_manifest(fifo), "no readable manifest.json (not a regular file)"),
    "manifest-device": Hostile(to_the_manifest(link_to("/dev/zero")), "no readable manifest.json (not a regular file)"),
    "manifest-socket": Hostile(to_the_manifest(socket_in_its_place), "no readable manifest.json (not a regular file)"),
    "manifest-folder": Hostile(to_the_manifest(folder_in_its_place), "no readable manifest.json (Is a directory)"),
    "manifest-huge": Hostile(
        lambda folder: os.truncate(folder / "manifest.json", 1 << 30), "no readable manifest.json (1073741824 bytes"
    ),
    "manifest-deep": Hostile(lambda folder: (folder / "manifest.json").write_bytes(b"[" * 200_000), "manifest.json: "),
    "manifest-wrong": Hostile(
        lambda folder: change_manifest(folder, channels=[None] * 50_000), "manifest.json: channels.0: "
    ),
    "context": Hostile(change_text("manifest.json", b'"context":512', b'"context":1' + b"0" * 30), "context: "),
    "context-real": Hostile(change_text("manifest.json", b'"context":512', b'"context":1e30'), "context: "),
    "channels": Hostile(wide, "channels: "),
    "values": Hostile(long_and_wide, "60000 steps of 100 channels"),
    "tolerance": Hostile(lambda folder: change_manifest(folder, golden_tolerance=0), "golden_tolerance: "),
    "files": Hostile(
        lambda folder: change_manifest(folder, files=files_of(folder) | {f"f{n}": "" for n in range(300)}), "files: "
    ),
    "name-nul": Hostile(naming("a\0b"), r"files: 'a\x00b' is not inside the folder"),
    "name-up": Hostile(naming("../secret"), "files: '../secret' is not inside the folder"),
    "name-up-within": Hostile(naming("source/../../x"), "files: 'source/../../x' is not inside the folder"),
    "name-absolute": Hostile(naming("/etc/passwd"), "files: '/etc/passwd' is not inside the folder"),
    "name-twice": Hostile(naming("./model.bin"), "files: './model.bin' is not inside the folder"),
    "name-empty": Hostile(naming(""), "files: '' is not inside the folder"),
    "name-line": Hostile(naming("a\n2026-01-01 ERROR forged"), r"files: 'a\n2026-01-01 ERROR forged' is not inside"),
    "name-long": Hostile(naming("x" * 5000), "File name too long"),
    "key-line": Hostile(
        lambda folder: change_manifest(folder, **{"a\n2026-01-01 ERROR forged": 1}), r"a\n2026-01-01 ERROR forged: "
    ),
    "golden-empty": Hostile(replaced("golden.npz", b""), "golden.npz: golden vectors expected"),
    "golden-cut": Hostile(
        lambda folder: replaced("golden.npz", (folder / "golden.npz").read_bytes()[:-700])(folder),
        "golden.npz: golden vectors expected",
    ),
    "golden-no-arrays": Hostile(golden(other=np.zeros(3)), "golden.npz: golden vectors expected"),
    "golden-many": Hostile(many_arrays, "golden.npz: golden vectors expected"),
    "golden-objects": Hostile(pickled, "golden.npz: golden vectors expected"),
    "golden-texts": Hostile(golden(inputs=np.array(["a"]), outputs=np.array(["a"])), "golden vectors expected"),
    "golden-bomb": Hostile(
        golden_archive(zipfile.ZIP_DEFLATED, npy_of("(25000000,)", bytes(100_000_000))), "golden vectors expected"
    ),
    "golden-claims": Hostile(golden_archive(zipfile.ZIP_STORED, npy_of("(1000000000000,)")), "golden vectors expected"),
    "golden-packed": Hostile(golden_archive(zipfile.ZIP_LZMA, npy_of("(0,)")), "golden vectors expected"),
    "golden-nothing": Hostile(
        golden(inputs=np.zeros((0, 512), np.float32), outputs=np.zeros((0, 96), np.float32)), "another shape"
    ),
    "golden-nan": Hostile(
        golden(inputs=np.full((1, 512), np.nan, np.float32), outputs=np.zeros((1, 96), np.float32)), "golden vectors"
    ),
    "graph-onnx": Hostile(replaced("model.xml", b"\x08\x07\x12\x04test"), "cannot be loaded"),
    "graph-cut": Hostile(
        lambda folder: replaced("model.xml", (folder / "model.xml").read_bytes()[:5000])(folder), "cannot be loaded"
    ),
    "graph-laughs": Hostile(
        replaced("model.xml", LAUGHS + b']><net name="&m;" version="11"><layers/><edges/></net>'), "cannot be loaded"
    ),
    "graph-deep": Hostile(replaced("model.xml", XML + b"<then_body>" * 5000), "cannot be loaded"),
    "graph-huge": Hostile(replaced("model.xml", XML + b" " * bounds.GRAPH_BYTES), "model.xml: 83"),
    "graph-tensor": Hostile(graph_of(huge_tensor), "cannot be loaded"),
    "graph-of-two-channels": Hostile(
        change_text("manifest.json", b'"layout":"series"', b'"layout":"window"'), "cannot be loaded"
    ),
    "weights-short": Hostile(
        lambda folder: replaced("model.bin", (folder / "model.bin").read_bytes()[:-64])(folder), "cannot be loaded"
    ),
    "weights-outside": Hostile(replaced("model.bin", b""), "cannot be loaded"),
}


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
    assert set(files) == {"model.xml", "model.bin", "golden.npz"}
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
