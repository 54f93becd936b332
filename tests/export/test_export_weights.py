"""Weights as other programs leave them: wrapped, nested, as parameters; and what is said of a file that holds none."""

from __future__ import annotations

import argparse
import io
import pickle
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from vinocast.errors import SetupError
from vinocast.export.families.patchtst.source import read_source
from vinocast.export.weights import load_checkpoint

State = dict[str, torch.Tensor]
MakeCheckpoint = Callable[..., Path]
HEAD = "head.projection.weight"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 2464312\n"
ADVICE = re.compile(r"weights_only|trust|safe_globals|allowlist|documentation of torch", re.IGNORECASE)


def pickled(folder: Path, change: Callable[[State], object]) -> Path:
    """Put in the place of a safetensors file what torch.save makes of its weights, changed."""
    path = folder / "model.safetensors"
    state = safetensors.torch.load(path.read_bytes())
    path.unlink()
    torch.save(change(state), folder / "pytorch_model.bin")
    return folder


def renamed(state: State, name: Callable[[str], str]) -> State:
    return {name(key): value for key, value in state.items()}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda state: {key: nn.Parameter(value, False) for key, value in state.items()}, id="parameters"),
        pytest.param(
            lambda state: {key: value.requires_grad_(value.is_floating_point()) for key, value in state.items()},
            id="tensors that want gradients",
        ),
        pytest.param(lambda state: renamed(state, "module.{}".format), id="DataParallel"),
        pytest.param(lambda state: renamed(state, "_orig_mod.{}".format), id="torch.compile"),
        pytest.param(lambda state: renamed(state, "module._orig_mod.{}".format), id="both"),
        pytest.param(
            lambda state: renamed(state, lambda key: key.replace("encoder.", "encoder._orig_mod.", 1)),
            id="a part that was compiled",
        ),
        pytest.param(lambda state: renamed(state, "model.{}".format), id="a trainer's attribute"),
        pytest.param(lambda state: renamed(state, "net.student.{}".format), id="attributes of attributes"),
        pytest.param(lambda state: renamed(state, "state_dict.{}".format), id="state_dict as a prefix"),
        pytest.param(lambda state: {"state_dict": state, "epoch": 3}, id="state_dict"),
        pytest.param(lambda state: {"module": state}, id="DeepSpeed"),
        pytest.param(
            lambda state: {"model": {"state_dict": renamed(state, "module.model.{}".format)}, "step": torch.ones(())},
            id="all at once",
        ),
    ],
)
def test_weights_are_found_whatever_is_around_them(
    make_checkpoint: MakeCheckpoint, change: Callable[[State], object]
) -> None:
    expected = read_source(str(make_checkpoint())).weights()
    actual = read_source(str(pickled(make_checkpoint(), change))).weights()
    assert actual.keys() == expected.keys()
    assert all(np.array_equal(actual[name], expected[name]) for name in expected)


def test_prefixes_are_taken_off_safetensors_too(make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint()
    expected = read_source(str(folder)).weights()
    path = folder / "model.safetensors"
    state = renamed(safetensors.torch.load(path.read_bytes()), "_orig_mod.module.{}".format)
    safetensors.torch.save_file(state, path)
    actual = read_source(str(folder)).weights()
    assert all(np.array_equal(actual[name], expected[name]) for name in expected)


def itself(_state: State) -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["state_dict"] = loop
    return loop


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param(lambda state: list(state.values()), "expected a dict of weights by name, got list", id="a list"),
        pytest.param(lambda state: state[HEAD], "expected a dict of weights by name, got Tensor", id="a tensor"),
        pytest.param(lambda _: {}, "expected a dict of weights by name, got an empty dict", id="nothing"),
        pytest.param(lambda state: {**state, "epoch": 3}, "epoch: expected a tensor, got int", id="a number"),
        pytest.param(lambda state: {1: state[HEAD]}, "1: expected a tensor", id="a number as a name"),
        pytest.param(itself, "state_dict: expected a tensor, got dict", id="a dict in itself"),
        pytest.param(
            lambda state: state | {f"module.{HEAD}": state[HEAD]},
            f"{HEAD} is there twice, the second time in pytorch_model.bin as module.{HEAD}",
            id="the same with and without a prefix",
        ),
        pytest.param(
            lambda state: {key: value for key, value in state.items() if not key.startswith("head")},
            "lacks weights for this config.json: head.projection.bias, head.projection.weight",
            id="a model without its head",
        ),
        pytest.param(
            lambda state: renamed(state, "a{}".format),
            "and 41 more",
            id="names of another model",
        ),
        pytest.param(lambda state: state | {HEAD: state[HEAD].to(torch.complex64)}, "complex64", id="complex numbers"),
        pytest.param(lambda state: state | {HEAD: state[HEAD].long()}, "torch.int64", id="integers"),
        pytest.param(lambda state: state | {HEAD: state[HEAD].to_sparse()}, "torch.sparse_coo", id="a sparse tensor"),
        pytest.param(lambda state: state | {HEAD: state[HEAD].to("meta")}, "on meta", id="a tensor without values"),
    ],
)
def test_what_holds_no_weights_is_named_in_one_sentence(
    make_checkpoint: MakeCheckpoint, change: Callable[[State], object], sentence: str
) -> None:
    with pytest.raises(SetupError, match=re.escape(sentence)) as refused:
        read_source(str(pickled(make_checkpoint(), change))).weights()
    assert str(refused.value).startswith("source: pytorch_model.bin")
    assert len(str(refused.value)) < 400


def saved(content: object, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def archive() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("storages"))
    return file.getvalue()


def script() -> bytes:
    """The mark by which torch knows a TorchScript archive, which takes seconds to compile."""
    file = io.BytesIO(saved({"a": torch.ones(2)}))
    with zipfile.ZipFile(file, "a") as zipped:
        name = zipped.namelist()[0].partition("/")[0]
        zipped.writestr(f"{name}/constants.pkl", pickle.dumps(()))
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        pytest.param(POINTER, "is a Git LFS pointer, not the file itself: run 'git lfs pull'", id="a pointer"),
        pytest.param(saved({"args": argparse.Namespace()}), "it holds argparse.Namespace", id="a class"),
        pytest.param(saved(nn.Linear(2, 2)), "it holds torch.nn.modules.linear.Linear", id="a model"),
        pytest.param(b"cos\nsystem\n(S'false'\ntR.", "it holds os.system", id="code"),
        pytest.param(script(), "it holds a whole model", id="TorchScript"),
        pytest.param(archive(), "cannot be read", id="an old archive"),
        pytest.param(pickle.dumps({"a": 1}), "copy or download it again", id="a plain pickle"),
        pytest.param(b"\x80\x04junk", "copy or download it again", id="the start of a pickle"),
        pytest.param(b"not weights at all", "copy or download it again: no file of torch.save", id="text"),
        pytest.param(b"", "copy or download it again", id="nothing"),
        pytest.param(saved({"a": torch.ones(9)})[:-30], "copy or download it again", id="cut off"),
        pytest.param(
            saved({"a": torch.ones(9)}, _use_new_zipfile_serialization=False)[:-3],
            "copy or download it again",
            id="an old file cut off",
        ),
    ],
)
def test_a_file_that_is_not_read_says_why_and_never_how_to_read_it_unsafely(data: bytes, sentence: str) -> None:
    with pytest.raises(SetupError, match=re.escape(sentence)) as refused:
        load_checkpoint(data, "pytorch_model.bin", "source: pytorch_model.bin")
    assert str(refused.value).startswith("source: pytorch_model.bin")
    assert "\n" not in str(refused.value)
    assert not ADVICE.search(str(refused.value))


def test_a_damaged_file_never_ends_in_anything_but_one_sentence() -> None:
    """Each byte of a small pickle in turn is another."""
    data = saved({"a": torch.ones(2)}, _use_new_zipfile_serialization=False)
    said: set[str] = set()
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x15
        try:
            load_checkpoint(bytes(damaged), "pytorch_model.bin", "it")
        except SetupError as refused:
            said.add(str(refused))
    assert len(said) > 1
    assert not [sentence for sentence in said if "\n" in sentence or ADVICE.search(sentence)]
