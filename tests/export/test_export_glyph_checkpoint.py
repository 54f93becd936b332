"""Checkpoints of other code are read whatever wraps them; what does not fit is refused by its name."""

from __future__ import annotations

import argparse
import datetime
import pickle
import traceback
import types
from collections import defaultdict
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from glyph_support import LABELS, SMALL, logits, phase1, phase2, random_grids, save
from vinocast.errors import SetupError
from vinocast.export.glyphs.architecture import read_config_yaml, variant_config
from vinocast.export.glyphs.checkpoint import phase1_net, phase2_net, read_checkpoint
from vinocast.export.glyphs.nets import VARIANTS, Phase2Net


@pytest.mark.parametrize("prefix", ["", "model.", "module.", "net.", "_orig_mod.", "module._orig_mod.model.net."])
def test_prefixes_of_wrappers_are_taken_off(tmp_path: Path, prefix: str) -> None:
    net, grids = phase2(), random_grids(3)
    loaded = phase2_net(read_checkpoint(save(tmp_path / "p.pt", net, prefix)))
    np.testing.assert_array_equal(logits(loaded, grids), logits(net, grids))
    cells = np.random.default_rng(0).random((5, 1, 8, 8), np.float32)
    first = phase1_net(read_checkpoint(save(tmp_path / "p1.pt", phase1(), prefix)))
    np.testing.assert_array_equal(logits(first, cells), logits(phase1(), cells))


def test_weights_alone_and_safetensors_are_read(tmp_path: Path) -> None:
    net, grids = phase2(), random_grids(2)
    torch.save(net.state_dict(), tmp_path / "bare.pth")
    safetensors.torch.save_file(net.state_dict(), tmp_path / "p.safetensors")
    for name in ("bare.pth", "p.safetensors"):
        loaded = phase2_net(read_checkpoint(tmp_path / name))
        np.testing.assert_array_equal(logits(loaded, grids), logits(net, grids))


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_each_variant_is_told_by_its_shapes(tmp_path: Path, variant: str) -> None:
    with torch.device("meta"):
        net = Phase2Net(VARIANTS[variant], 1197)
    state = {name: torch.zeros(value.shape) for name, value in net.state_dict().items()}
    torch.save({"model_state": state}, tmp_path / "p.pt")
    found = phase2_net(read_checkpoint(tmp_path / "p.pt")).architecture
    assert replace(found, dropout=0, classifier_dropout=0) == replace(
        VARIANTS[variant], dropout=0, classifier_dropout=0
    )


def test_numbers_of_numpy_beside_the_weights_do_no_harm(tmp_path: Path) -> None:
    beside: dict[str, Any] = {"metrics": {"accuracy": np.float64(0.5), "steps": np.int64(3)}, "scheduler_state": None}
    assert read_checkpoint(save(tmp_path / "p.pt", phase2(), **beside)).state


HARMLESS = {
    "namespace": argparse.Namespace(rate=0.1, folder=Path("runs")),
    "simple": types.SimpleNamespace(rate=0.1),
    "path": Path("a/b"),
    "windows": PureWindowsPath("a"),
    "lists": defaultdict(list, {"loss": [1.0]}),
    "counts": defaultdict(int, {"a": 1}),
    "time": datetime.datetime.now(datetime.UTC),
    "delta": datetime.timedelta(1),
    "array": np.arange(6.0).reshape(2, 3),
    "texts": np.array(["ab"]),
    "objects": np.array([{"a": 1}], dtype=object),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_plain_values_of_other_classes_beside_the_weights_do_no_harm(tmp_path: Path, name: str) -> None:
    assert read_checkpoint(save(tmp_path / "p.pt", phase2(), metrics={"x": HARMLESS[name]})).state


def test_the_arguments_of_a_command_line_are_a_config(tmp_path: Path) -> None:
    cnn = {"stages": [8, 13]}
    for kind in (argparse.Namespace, types.SimpleNamespace):
        checkpoint = read_checkpoint(save(tmp_path / "p.pt", phase2(), config=kind(model={"cnn": cnn})))
        with pytest.raises(SetupError, match=r"expected \[13"):
            phase2_net(checkpoint)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_what_cannot_be_read_is_said_without_the_advice_of_torch(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.pt", phase2()).read_bytes()
    torch.save(phase2(), tmp_path / "net.pt")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / "script.pt"))
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
    for name, data, reason in (
        ("cut.pt", whole[: len(whole) // 2], "damaged"),
        ("short.pt", whole[:-30], "damaged"),
        ("none.pt", b"", "it is empty"),
        ("lfs.pt", pointer, "run 'git lfs pull'"),
        ("lfs.safetensors", pointer, "run 'git lfs pull'"),
        ("net.pt", None, r"it holds vinocast\.export\.glyphs\.nets\.Phase2Net"),
        ("script.pt", None, "TorchScript archive; save the net's state_dict"),
    ):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(SetupError, match=reason) as caught:
            read_checkpoint(tmp_path / name)
        assert "weights_only" not in "".join(traceback.format_exception(caught.value))
        assert "trust" not in str(caught.value)


@pytest.mark.parametrize("key", ["model_state", "model_state_dict", "state_dict", "model"])
def test_weights_are_found_under_each_usual_key(tmp_path: Path, key: str) -> None:
    torch.save({key: {f"module.{name}": value for name, value in phase2().state_dict().items()}}, tmp_path / "p.pt")
    phase2_net(read_checkpoint(tmp_path / "p.pt"))


@pytest.mark.parametrize("written", [1e-3, "1e-3"])
def test_the_eps_of_batch_norms_is_honoured(tmp_path: Path, written: object) -> None:
    net, grids = phase2(architecture=replace(SMALL, bn_eps=1e-3)), random_grids(3)
    loaded = phase2_net(read_checkpoint(save(tmp_path / "p.pt", net, config={"model": {"cnn": {"bn_eps": written}}})))
    np.testing.assert_array_equal(logits(loaded, grids), logits(net, grids))
    assert not np.array_equal(logits(phase2(), grids), logits(net, grids))


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "owned",))

    torch.save({"model_state": {}, "config": Evil()}, tmp_path / "p.pt")
    (tmp_path / "q.pt").write_bytes(pickle.dumps(Evil()))
    for name in ("p.pt", "q.pt"):
        with pytest.raises(SetupError, match=r"no checkpoint of tensors and plain values alone"):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(("name", "data"), [("p.pt", b""), ("p.pt", b"junk" * 9), ("p.safetensors", b"\xff" * 20)])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SetupError, match=f"{name}: no checkpoint"):
        read_checkpoint(tmp_path / name)


def change(tmp_path: Path, **changes: torch.Tensor | None) -> Path:
    state = dict(phase2().state_dict())
    for key, value in changes.items():
        name = key.replace("__", ".")
        if value is None:
            del state[name]
        else:
            state[name] = value
    torch.save({"model_state": state}, tmp_path / "p.pt")
    return tmp_path / "p.pt"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"stem__bn__bias": None}, r"lacks stem\.bn\.bias"),
        ({"features__9__conv__weight": torch.zeros(3)}, r"has features\.9\.conv\.weight"),
        ({"stem__bn__weight": torch.zeros(9)}, r"stem\.bn\.weight is \[9\], expected \[8\]"),
        ({"classifier__1__bias": torch.full((16,), torch.nan)}, r"classifier\.1\.bias has a NaN"),
        ({"classifier__4__weight": None}, r"lacks classifier\.4\.weight"),
        ({"embedding__weight": None}, r"lacks embedding\.weight"),
        ({"features__0__conv1__conv__weight": None}, r"lacks features\.0\.conv1\.conv\.weight|has features\.0"),
    ],
)
def test_a_weight_that_does_not_fit_is_named(
    tmp_path: Path, changes: dict[str, torch.Tensor | None], fault: str
) -> None:
    with pytest.raises(SetupError, match=fault):
        phase2_net(read_checkpoint(change(tmp_path, **changes)))


def test_phase_1_is_checked_as_well(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"lacks features\.0\.weight.*has embedding\.weight"):
        phase1_net(read_checkpoint(save(tmp_path / "p.pt", phase2())))


def test_the_same_weight_under_two_prefixes_is_refused(tmp_path: Path) -> None:
    state = phase2().state_dict()
    twice = {**state, **{f"module.{name}": value for name, value in state.items()}}
    torch.save({"model_state": twice}, tmp_path / "p.pt")
    with pytest.raises(SetupError, match=r"embedding\.weight is there twice"):
        read_checkpoint(tmp_path / "p.pt")


def test_another_architecture_than_the_weights_is_refused_by_name(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(save(tmp_path / "p.pt", phase2()))
    with pytest.raises(SetupError, match=r"embedding\.weight is \[1024, 8\], expected \[1024, 64\]"):
        phase2_net(checkpoint, variant_config("light"))


def test_the_yaml_goes_before_the_config_key_by_key(tmp_path: Path) -> None:
    config = {"model": {"cnn": {"stages": [8, 13], "dropout": 0.3}}, "input": {"embedding_dim": 8}}
    checkpoint = read_checkpoint(save(tmp_path / "p.pt", phase2(), config=config))
    with pytest.raises(SetupError, match=r"expected \[13"):
        phase2_net(checkpoint)
    (tmp_path / "c.yaml").write_text("model:\n  architecture: cnn\n  cnn:\n    stages: [8, 12]\n")
    found = phase2_net(checkpoint, read_config_yaml(tmp_path / "c.yaml")).architecture
    assert found == replace(SMALL, dropout=0.3, classifier_dropout=found.classifier_dropout)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.architecture", "transformer"),
        ("input.normalize_embeddings", True),
        ("input.embedding_dim", "8"),
        ("input.primitive_vocab_size", 0),
        ("model.cnn.kernel_size", 5),
        ("model.cnn.stem_kernel_size", 7),
        ("model.cnn.stem_stride", 2),
        ("model.cnn.activation", "relu"),
        ("model.cnn.downsample", "maxpool"),
        ("model.cnn.stages", []),
        ("model.cnn.blocks_per_stage", [1, 2, 3]),
        ("model.cnn.dropout", 1.5),
        ("model.cnn.classifier_hidden_dim", -1),
    ],
)
def test_a_value_that_is_not_supported_is_refused_by_its_key(tmp_path: Path, key: str, value: object) -> None:
    config: Any = value
    for part in reversed(key.split(".")):
        config = {part: config}
    checkpoint = read_checkpoint(save(tmp_path / "p.pt", phase2(), config=config))
    with pytest.raises(SetupError, match=rf"p\.pt: config: {key}: expected .*, got"):
        phase2_net(checkpoint)


def test_a_label_map_in_the_checkpoint_is_kept_in_order(tmp_path: Path) -> None:
    label_map = {label: index for index, label in enumerate(reversed(LABELS))}
    assert read_checkpoint(save(tmp_path / "p.pt", phase2(), label_map=label_map)).labels == LABELS[::-1]
