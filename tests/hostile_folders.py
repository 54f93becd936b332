"""Folders of models that a disk has damaged, or somebody has made to do harm."""

from __future__ import annotations

import os
import socket
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import orjson
from openvino import opset13 as op
from support import change_manifest, fix_hashes
from vinocast.engine import bounds

Damage = Callable[[Path], object]


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
