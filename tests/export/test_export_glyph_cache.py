"""The cache of converted nets: never stale, never half, for several processes at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from vinocast.errors import SetupError
from vinocast.export.glyphs.cache import KEEP, Cache


class Builder:
    """Writes what an exporter would, and counts how often it was asked."""

    def __init__(self, weights: bytes = b"weights") -> None:
        self.weights = weights
        self.calls = 0

    def __call__(self, folder: Path) -> dict[str, Any]:
        self.calls += 1
        (folder / "openvino_ir").mkdir()
        (folder / "net.onnx").write_bytes(b"onnx")
        (folder / "openvino_ir" / "net.xml").write_bytes(b"<net/>")
        (folder / "openvino_ir" / "net.bin").write_bytes(self.weights)
        return {"parameters": 3}


def test_the_same_content_is_built_once_and_other_content_answers_at_once(tmp_path: Path) -> None:
    cache, a, b = Cache(tmp_path / "deep" / "cache"), Builder(b"a"), Builder(b"b")
    assert [cache.get("net", {"checkpoint": "a"}, a).weights for _ in range(2)] == [b"a", b"a"]
    assert cache.get("net", {"checkpoint": "b"}, b).weights == b"b"
    assert (cache.folder / "openvino_ir" / "net.bin").read_bytes() == b"b"
    entry = cache.get("net", {"checkpoint": "a"}, a)
    assert (entry.weights, entry.graph, entry.notes) == (b"a", b"<net/>", {"parameters": 3})
    assert (cache.folder / "openvino_ir" / "net.bin").read_bytes() == b"a"
    assert (a.calls, b.calls) == (1, 1)


@pytest.mark.parametrize("file", ["openvino_ir/net.bin", "openvino_ir/net.xml", "net.onnx"])
@pytest.mark.parametrize("damage", ["change", "truncate", "delete"])
def test_a_damaged_file_is_noticed_and_built_again(tmp_path: Path, file: str, damage: str) -> None:
    cache, builder = Cache(tmp_path), Builder()
    path = cache.get("net", {}, builder).folder / file
    if damage == "change":
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    elif damage == "truncate":
        (tmp_path / file).write_bytes(b"")  # through the documented name
    else:
        path.unlink()
    assert cache.get("net", {}, builder).weights == b"weights"
    assert builder.calls == 2
    assert (tmp_path / "openvino_ir" / "net.bin").read_bytes() == b"weights"


def test_files_of_an_older_program_at_the_documented_names_are_not_served(tmp_path: Path) -> None:
    (tmp_path / "openvino_ir").mkdir()
    (tmp_path / "net.onnx").write_bytes(b"old")
    (tmp_path / "openvino_ir" / "net.bin").write_bytes(b"old")
    assert Cache(tmp_path).get("net", {}, Builder()).weights == b"weights"
    assert (tmp_path / "openvino_ir" / "net.bin").read_bytes() == b"weights"


def test_a_tool_of_another_version_converts_again_and_one_that_is_missing_does_not(tmp_path: Path) -> None:
    cache, builder = Cache(tmp_path), Builder()
    about = cache.get("net", {}, builder).folder / "entry.json"
    content = orjson.loads(about.read_bytes())
    about.write_bytes(orjson.dumps(content | {"tools": content["tools"] | {"onnx": "1.0"}}))
    cache.get("net", {}, builder)
    assert builder.calls == 2
    cache.get("net", {}, builder, ("openvino", "no-such-package"))
    assert builder.calls == 2


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> dict[str, Any]:
        (folder / "half").write_bytes(b"x")
        raise SetupError("no such weight")

    with pytest.raises(SetupError, match="no such weight"):
        Cache(tmp_path).get("net", {}, fail)
    assert list((tmp_path / "entries").iterdir()) == []


def test_what_was_used_last_is_kept_and_the_rest_pruned(tmp_path: Path) -> None:
    cache, first = Cache(tmp_path), Builder()
    (tmp_path / "entries" / ".left-by-a-killed-process").mkdir(parents=True)
    for number in range(2 * KEEP):
        cache.get("net", {"checkpoint": str(number)}, Builder())
        cache.get("net", {"checkpoint": "first"}, first)
    assert first.calls == 1
    assert len(list((tmp_path / "entries").iterdir())) == KEEP


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SetupError, match="cannot be used as a cache"):
        Cache(tmp_path / "file" / "cache").get("net", {}, Builder())


def test_a_folder_that_may_only_be_read_serves_what_is_in_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    cache.get("net", {"checkpoint": "there"}, Builder())
    lock = cache.folder / ".lock"
    lock.unlink()
    lock.mkdir()  # root, as which tests may run, is stopped by no mode of a file
    for path in (cache.folder, cache.folder / "entries"):
        path.chmod(0o555)
    try:
        assert cache.get("net", {"checkpoint": "there"}, Builder(b"other")).weights == b"weights"
        with pytest.raises(SetupError, match="cannot be used as a cache"):
            cache.get("net", {"checkpoint": "missing"}, Builder())
    finally:
        for path in (cache.folder, cache.folder / "entries"):
            path.chmod(0o755)


PROCESS = """
import sys, time
from pathlib import Path
from vinocast.export.glyphs.cache import Cache

def build(folder):
    with open(sys.argv[2], "a") as log:
        log.write("x")
    (folder / "openvino_ir").mkdir()
    (folder / "openvino_ir" / "net.xml").write_bytes(b"<net/>")
    time.sleep(0.3)
    (folder / "openvino_ir" / "net.bin").write_bytes(b"weights" * 1000)
    return {}

assert Cache(Path(sys.argv[1])).get("net", {}, build).weights == b"weights" * 1000
"""


def test_processes_at_the_same_time_build_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROCESS, str(tmp_path / "cache"), str(tmp_path / "log")]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert (tmp_path / "log").read_text() == "x"
