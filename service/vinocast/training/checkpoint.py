"""Checkpoints: tensors and a JSON object in one safetensors file, replaced as a whole, with nothing pickled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch

from vinocast.data.atomic import whole_file
from vinocast.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

KEY = "state"


def save(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write a checkpoint; whoever reads the path meanwhile, or after a crash, finds the old one or the new one."""
    with whole_file(path) as part:
        part.write_bytes(safetensors.torch.save(dict(tensors), {KEY: json.dumps(state)}))


def load(path: Path, *parts: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the object of a checkpoint.

    Raises SetupError when it cannot be read, or the object lacks one of ``parts``, as another kind of training's does.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            state = json.loads(file.metadata()[KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file is no dict
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise SetupError(f"{path} cannot be read ({error}): remove it to begin again") from error
    if not state.keys() >= set(parts):
        raise SetupError(f"{path} is of another kind of training: name another --output, or remove this")
    return tensors, state
