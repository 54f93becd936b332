"""What a checkpoint must be, and what is said of one that is not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from transformers import PatchTSTConfig, PatchTSTForPrediction
from vinocast.errors import SetupError
from vinocast.export.families.patchtst.architecture import Architecture
from vinocast.export.families.patchtst.reference import torch_model
from vinocast.export.families.patchtst.source import read_source

ROOT = Path(__file__).parents[2]
HEAD = "head.projection.weight"


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "model.safetensors"
    state = safetensors.torch.load(path.read_bytes())
    change(state)
    safetensors.torch.save_file(state, path)


def refused(folder: Path, sentence: str) -> None:
    with pytest.raises(SetupError, match=re.escape(sentence)):
        read_source(str(folder)).weights()


def test_defaults_are_those_of_transformers() -> None:
    config = PatchTSTConfig().to_dict()
    ours = Architecture(model_type="patchtst").model_dump()
    undeclared = {"minimum_scale", "scaling_dim", "keepdim"}
    assert {name: value for name, value in ours.items() if name not in undeclared} == {
        name: config[name] for name in ours.keys() - undeclared
    }


def test_every_weight_of_transformers_is_expected(make_model: Callable[..., PatchTSTForPrediction]) -> None:
    for overrides in ({}, {"use_cls_token": True, "channel_attention": True, "norm_type": "layernorm", "bias": False}):
        model = make_model(**overrides)
        expected = {name: tuple(t.shape) for name, t in model.state_dict().items() if "num_batches" not in name}
        assert Architecture.model_validate(model.config.to_dict()).shapes() == expected


def test_pytorch_bin_reads_like_safetensors(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint()
    expected = read_source(str(folder)).weights()
    torch.save(safetensors.torch.load((folder / "model.safetensors").read_bytes()), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    source = read_source(str(folder))
    assert source.sha256.keys() == {"config.json", "pytorch_model.bin"}
    actual = source.weights()
    assert actual.keys() == expected.keys()
    assert all((actual[name] == expected[name]).all() for name in expected)


def test_bfloat16_weights_are_read_exactly(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint()
    edit_weights(folder, lambda state: state.update({HEAD: state[HEAD].bfloat16()}))
    weight = read_source(str(folder)).weights()[HEAD]
    assert (torch.from_numpy(weight).bfloat16().double().numpy() == weight).all()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"loss": "nll"}, "loss 'nll' makes the head predict a distribution; only point forecasts ('mse') are served"),
        ({"share_projection": False}, "share_projection false cannot be run by transformers itself"),
        ({"model_type": "patchtsmixer"}, "model_type: Input should be 'patchtst'"),
        ({"norm_type": "rmsnorm"}, "norm_type: Input should be 'batchnorm' or 'layernorm'"),
        ({"pooling_type": "attention"}, "pooling_type: Input should be 'mean' or 'max'"),
        ({"scaling": "robust"}, "scaling: "),
        ({"scaling_dim": 2}, "scaling_dim: "),
        ({"keepdim": False}, "keepdim: Input should be True"),
        ({"d_model": "16"}, "d_model: Input should be a valid integer"),
        ({"d_model": 18}, "d_model 18 is no multiple of num_attention_heads 4"),
        ({"patch_length": 43}, "context_length 43 must exceed patch_length 43"),
        ({"num_input_channels": 0}, "num_input_channels: Input should be greater than 0"),
    ],
)
def test_configurations_that_are_refused(
    make_checkpoint: Callable[..., Path], changes: dict[str, Any], sentence: str
) -> None:
    folder = make_checkpoint()
    edit_config(folder, **changes)
    refused(folder, sentence)


@pytest.mark.parametrize("overrides", [{}, {"num_input_channels": 1}, {"pooling_type": None}])
def test_transformers_cannot_run_separate_projections(overrides: dict[str, Any]) -> None:
    model = PatchTSTForPrediction(PatchTSTConfig(share_projection=False, **({"num_input_channels": 2} | overrides)))
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.zeros(2, 32, model.config.num_input_channels))


def test_what_transformers_cannot_build_is_refused(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint()
    edit_config(folder, positional_encoding_type="rotary")
    source = read_source(str(folder))
    with pytest.raises(SetupError, match=r"transformers cannot run this config\.json: rotary is not a valid"):
        torch_model(source, source.weights())


@pytest.mark.parametrize("text", ["", "{", '{"model_type": "patchtst"', "\x00\xff"])
def test_a_corrupt_config_is_refused(make_checkpoint: Callable[..., Path], text: str) -> None:
    folder = make_checkpoint()
    (folder / "config.json").write_text(text)
    refused(folder, "config.json is not JSON")


def test_a_config_that_is_no_object_is_refused(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint()
    (folder / "config.json").write_text("[1]")
    refused(folder, "config.json cannot be converted")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state: state.pop(HEAD), f"lacks weights for this config.json: {HEAD}"),
        (lambda state: state.update(extra=torch.zeros(1)), "has unknown weights for this config.json: extra"),
        (lambda state: state.update({HEAD: torch.ones(6, 1)}), f"has {HEAD} of shape (6, 1), config.json says (6, 16)"),
        (lambda state: state[HEAD].fill_(torch.inf), f"has a NaN or an infinity in {HEAD}"),
    ],
)
def test_weights_that_are_refused(
    make_checkpoint: Callable[..., Path], change: Callable[[dict[str, torch.Tensor]], object], sentence: str
) -> None:
    folder = make_checkpoint()
    edit_weights(folder, change)
    refused(folder, sentence)


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("content", [b"", b"not weights at all"])
def test_damaged_weights_are_refused(make_checkpoint: Callable[..., Path], file: str, content: bytes) -> None:
    folder = make_checkpoint()
    (folder / "model.safetensors").unlink()
    (folder / file).write_bytes(content)
    refused(folder, f"{file} cannot be read, copy or download it again")


def test_truncated_weights_are_refused(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint()
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    refused(folder, "model.safetensors cannot be read, copy or download it again")


def test_a_pickle_that_runs_code_is_not_run(make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    folder = make_checkpoint()
    (folder / "model.safetensors").unlink()
    torch.save({"a": Payload()}, folder / "pytorch_model.bin")
    refused(folder, "pytorch_model.bin cannot be read")
    assert not (tmp_path / "ran").exists()


def test_a_folder_without_its_files_says_how_to_name_one(make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    how = "name a folder that holds config.json and model.safetensors"
    refused(tmp_path / "nowhere", how)
    folder = make_checkpoint()
    (folder / "model.safetensors").unlink()
    refused(folder, f"has no model.safetensors or pytorch_model.bin: {how}")
    (folder / "config.json").unlink()
    refused(folder, how)


def run_offline(tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    return subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_script_offline_says_how_to_name_a_folder(tmp_path: Path) -> None:
    done = run_offline(tmp_path, str(ROOT / "scripts" / "convert_to_openvino.sh"), "--output", "model")
    assert done.returncode == 1
    assert "no folder ibm-granite/granite-timeseries-patchtst, and the Hugging Face hub did not give it" in done.stderr
    assert "name a folder that holds config.json and model.safetensors" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir() if path.name != "hub"] == []


def test_the_script_converts_a_folder_from_any_directory(make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    make_checkpoint("source")
    script = str(ROOT / "scripts" / "convert_to_openvino.sh")
    done = run_offline(tmp_path, script, "--model", "source", "--output", "made/model", "--fp16")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "made" / "model" / "manifest.json").read_text())["precision"] == "f16"


@pytest.mark.parametrize("arguments", [["--model"], ["--quantize"]])
def test_the_script_refuses_other_arguments(tmp_path: Path, arguments: list[str]) -> None:
    done = run_offline(tmp_path, str(ROOT / "scripts" / "convert_to_openvino.sh"), *arguments)
    assert done.returncode == 2
    assert arguments[0] in done.stderr


def test_no_telemetry(tmp_path: Path) -> None:
    code = "import vinocast.export.convert, openvino, sys; print([m for m in sys.modules if 'openvino_telemetry' in m])"
    environment = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "['openvino_telemetry']\n"  # the mark of absence alone
    assert list(tmp_path.iterdir()) == []
