"""The files of a checkpoint: one or several, in a folder or on a hub, and each of them decides what is made."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import safetensors.torch
import torch
from support import RunVinocast
from vinocast.errors import SetupError
from vinocast.export.convert import convert_forecaster
from vinocast.export.families.patchtst.source import read_source
from vinocast.forecast.manifest import open_forecaster

MakeCheckpoint = Callable[..., Path]
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 2464312\n"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def save(state: dict[str, torch.Tensor], path: Path) -> None:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)


def write_index(folder: Path, weight_map: object, stem: str = "model.safetensors") -> None:
    (folder / f"{stem}.index.json").write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))


def sharded(folder: Path, stem: str = "model.safetensors") -> Path:
    """Spread a checkpoint's weights over three files, as save_pretrained does with a small max_shard_size."""
    whole = folder / "model.safetensors"
    state = safetensors.torch.load(whole.read_bytes())
    whole.unlink()
    name, suffix = stem.rsplit(".", 1)
    files = [f"{name}-{i + 1:05}-of-00003.{suffix}" for i in range(3)]
    names = sorted(state)
    for i, file in enumerate(files):
        save({key: state[key] for key in names[i::3]}, folder / file)
    write_index(folder, {key: files[i % 3] for i, key in enumerate(names)}, stem)
    return folder


@pytest.mark.parametrize("stem", ["model.safetensors", "pytorch_model.bin"])
def test_weights_spread_over_files_are_those_of_one_file(make_checkpoint: MakeCheckpoint, stem: str) -> None:
    expected = read_source(str(make_checkpoint())).weights()
    source = read_source(str(sharded(make_checkpoint(), stem)))
    shards = {f"{stem.rsplit('.', 1)[0]}-0000{i}-of-00003.{stem.rsplit('.', 1)[1]}" for i in (1, 2, 3)}
    assert source.sha256.keys() == {"config.json", f"{stem}.index.json"} | shards
    actual = source.weights()
    assert actual.keys() == expected.keys()
    assert all(np.array_equal(actual[name], expected[name]) for name in expected)


def test_safetensors_are_read_where_a_pickle_lies_beside(make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint()
    (folder / "pytorch_model.bin").write_bytes(b"of an older revision")
    assert read_source(str(folder)).sha256.keys() == {"config.json", "model.safetensors"}
    read_source(str(folder)).weights()
    assert "pytorch_model.bin" not in read_source(str(sharded(folder))).sha256


def test_a_changed_shard_converts_again_and_an_unchanged_one_does_not(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    folder, output = sharded(make_checkpoint()), tmp_path / "models" / "tiny"
    convert_forecaster(str(folder), output, keep_source=True)
    manifest = open_forecaster(output).manifest
    assert len(manifest.source.sha256) == 5
    assert {name for name in manifest.files if name.startswith("source/")} == {
        f"source/{name}" for name in manifest.source.sha256
    }
    before = (output / "manifest.json").stat().st_mtime_ns
    convert_forecaster(str(folder), output, keep_source=True)
    assert (output / "manifest.json").stat().st_mtime_ns == before

    shard = folder / "model-00003-of-00003.safetensors"
    state = safetensors.torch.load(shard.read_bytes())
    name = next(key for key, value in state.items() if value.is_floating_point())
    save(state | {name: state[name] * 1.5}, shard)
    convert_forecaster(str(folder), output, keep_source=True)
    again = open_forecaster(output).manifest
    assert again.source.sha256[shard.name] != manifest.source.sha256[shard.name]
    assert again.files["model.bin"] != manifest.files["model.bin"]


def read(folder: Path) -> None:
    read_source(str(folder)).weights()


@pytest.mark.parametrize(
    ("weight_map", "sentence"),
    [
        ({"a": "../model.safetensors"}, "expected names of .safetensors files in the same folder, got '../model.safet"),
        ({"a": "/etc/model.safetensors"}, "expected names of .safetensors files in the same folder"),
        ({"a": "sub/model.safetensors"}, "expected names of .safetensors files in the same folder"),
        ({"a": "x\0.safetensors"}, "expected names of .safetensors files in the same folder"),
        ({"a": ".."}, "expected names of .safetensors files in the same folder, got '..'"),
        ({"a": "pytorch_model.bin"}, "expected names of .safetensors files in the same folder"),
        ({"a": 1}, "expected names of .safetensors files in the same folder, got 1"),
        ({"a": ["x"]}, "expected an object with weight_map, the file of each weight"),
        ({}, "weight_map names no file"),
        ([], "expected an object with weight_map"),
        ({"a": "lost.safetensors"}, "names lost.safetensors, which is not there: copy or download it too"),
    ],
)
def test_an_index_names_files_beside_it(make_checkpoint: MakeCheckpoint, weight_map: object, sentence: str) -> None:
    folder = make_checkpoint()
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    write_index(folder, weight_map)
    with pytest.raises(SetupError, match=re.escape(sentence)) as refused:
        read(folder)
    assert str(refused.value).startswith("source: model.safetensors.index.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": 1}'])
def test_an_index_that_is_none_is_refused(make_checkpoint: MakeCheckpoint, text: str) -> None:
    folder = sharded(make_checkpoint())
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(
        SetupError, match=r"source: model\.safetensors\.index\.json: expected an object with weight_map"
    ):
        read(folder)


def test_a_shard_that_is_damaged_or_repeats_another_is_named(make_checkpoint: MakeCheckpoint) -> None:
    folder = sharded(make_checkpoint())
    first, second = (folder / f"model-0000{i}-of-00003.safetensors" for i in (1, 2))
    whole = second.read_bytes()
    second.write_bytes(whole[:-8])
    with pytest.raises(SetupError, match=rf"source: {second.name} cannot be read, copy or download it again"):
        read(folder)
    state = safetensors.torch.load(first.read_bytes())
    name = next(iter(state))
    save(safetensors.torch.load(whole) | {name: state[name]}, second)
    with pytest.raises(SetupError, match=rf"{re.escape(name)} is there twice, the second time in {second.name}"):
        read(folder)
    second.write_bytes(whole)
    read(folder)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "model-00002-of-00003.safetensors"])
def test_a_git_lfs_pointer_says_how_to_fetch_the_file(make_checkpoint: MakeCheckpoint, file: str) -> None:
    folder = make_checkpoint()
    if "of" in file:
        sharded(folder)
    (folder / file).write_bytes(POINTER)
    with pytest.raises(SetupError, match=rf"source: {file} is a Git LFS pointer.*run 'git lfs pull'"):
        read(folder)


class Hub(BaseHTTPRequestHandler):
    """What huggingface_hub asks of a hub, answered from folders named by the ids of models."""

    root: Path
    asked: list[str]

    def do_GET(self) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            files = sorted(path.name for path in (self.root / parts[2] / parts[3]).glob("*"))
            model = {"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
            self.answer(orjson.dumps(model) if files else None, {})
        else:  # /OWNER/NAME/resolve/REVISION/FILE
            path = self.root / parts[0] / parts[1] / parts[4]
            self.asked.append(path.name)
            data = path.read_bytes() if path.is_file() else None
            self.answer(data, {"ETag": f'"{path.stat().st_size}-{path.name}"'} if data else {})

    do_HEAD = do_GET  # noqa: N815 - the base class's name

    def answer(self, data: bytes | None, headers: dict[str, str]) -> None:
        self.send_response(404 if data is None else 200)
        for name, value in {"X-Repo-Commit": COMMIT, "Content-Length": str(len(data or b"")), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET" and data:
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A hub on the loopback with the models below ``tmp_path/hub``; the variables by which a client finds it."""
    handler = type("Handler", (Hub,), {"root": tmp_path / "hub", "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield os.environ | {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
        }
        server.shutdown()
        thread.join()


def test_a_sharded_model_comes_from_a_hub_and_then_from_its_cache(
    make_checkpoint: MakeCheckpoint, hub: dict[str, str], tmp_path: Path, run_vinocast: RunVinocast
) -> None:
    folder = sharded(make_checkpoint())
    (folder / "pytorch_model.bin").write_bytes(b"the same again, which nobody needs")
    (folder / "optimizer.pt").write_bytes(b"no weights of the model")
    (tmp_path / "hub" / "someone").mkdir(parents=True)
    shutil.copytree(folder, tmp_path / "hub" / "someone" / "tiny")
    output = tmp_path / "models" / "tiny"

    done = run_vinocast("convert", "someone/tiny", "--output", output, env=hub)
    assert done.returncode == 0, done.stderr
    manifest = open_forecaster(output).manifest
    assert manifest.source.name == "someone/tiny"
    assert manifest.source.sha256 == read_source(str(folder)).sha256
    cached = {path.name for path in (tmp_path / "cache" / "hub").rglob("snapshots/*/*")}
    assert cached == set(manifest.source.sha256)

    offline = run_vinocast("convert", "someone/tiny", "--output", output, env=hub | {"HF_HUB_OFFLINE": "1"})
    assert offline.returncode == 0, offline.stderr
    assert "nothing to do" in offline.stderr

    for path in (tmp_path / "cache" / "hub").rglob("snapshots/*/model-00002-*"):
        path.unlink()
    lost = run_vinocast("convert", "someone/tiny", "--output", output, env=hub | {"HF_HUB_OFFLINE": "1"})
    assert lost.returncode == 1
    assert "names model-00002-of-00003.safetensors, which is not there" in lost.stderr
    assert "Traceback" not in lost.stderr


def test_a_pickle_comes_from_a_hub_that_has_no_safetensors(
    make_checkpoint: MakeCheckpoint, hub: dict[str, str], tmp_path: Path, run_vinocast: RunVinocast
) -> None:
    folder = sharded(make_checkpoint(), "pytorch_model.bin")
    (tmp_path / "hub" / "someone").mkdir(parents=True)
    shutil.copytree(folder, tmp_path / "hub" / "someone" / "old")
    output = tmp_path / "models" / "old"
    done = run_vinocast("convert", "someone/old", "--output", output, env=hub)
    assert done.returncode == 0, done.stderr
    assert open_forecaster(output).manifest.source.sha256 == read_source(str(folder)).sha256
