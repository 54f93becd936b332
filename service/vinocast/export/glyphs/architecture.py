"""The architecture of a Phase 2 from what is said of it: a YAML file, a checkpoint's config, the weights' shapes."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

import yaml

from vinocast.data.regular import read_input
from vinocast.errors import SetupError, quote
from vinocast.export.glyphs.nets import VARIANTS, Phase2Architecture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Shapes = dict[str, tuple[int, ...]]

EXAMPLE = VARIANTS["light"]  # whose dropout stands where nobody says one: inference has none


def read_config_yaml(path: Path) -> dict[str, Any]:
    """Read ``--config_yaml``; raises SetupError."""
    try:
        config = yaml.safe_load(read_input(path).decode("utf-8-sig"))
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SetupError(f"{path}: not YAML: {error}") from error
    if not isinstance(config, dict):
        raise SetupError(f"{path}: expected the sections input and model, got {quote(config)}")
    return config


def variant_config(name: str) -> dict[str, Any]:
    """Return the config of a known variant, in the form of ``--config_yaml``."""
    variant = VARIANTS[name]
    cnn = {
        "stages": list(variant.stages),
        "blocks_per_stage": list(variant.blocks),
        "classifier_hidden_dim": variant.hidden,
    }
    return {"input": {"embedding_dim": variant.embedding}, "model": {"architecture": "cnn", "cnn": cnn}}


def phase2_architecture(shapes: Shapes, configs: Sequence[dict[str, Any]], origin: str) -> Phase2Architecture:
    """Return the architecture: each value from the first config that has it, else from the shapes of the weights.

    Raises SetupError that names the key of a value which this net cannot have, or the weight that is missing.
    """
    values = _Values(configs, origin)
    values.only("model.architecture", "cnn")
    values.only("input.normalize_embeddings", expected=False)
    values.only("model.cnn.kernel_size", 3)
    values.only("model.cnn.stem_kernel_size", 3)
    values.only("model.cnn.stem_stride", 1)
    values.only("model.cnn.activation", "gelu")
    downsample = values.get("model.cnn.downsample")
    if not (downsample in (None, True) or re.search("conv|strid", str(downsample), re.I)):
        values.refuse("model.cnn.downsample", downsample, "a convolution of stride 2 ('stride')")

    stages = values.counts("model.cnn.stages", lambda: _stages(shapes, origin)[0])
    return Phase2Architecture(
        primitives=values.count("input.primitive_vocab_size", lambda: _axis(shapes, "embedding.weight", 0, origin)),
        embedding=values.count("input.embedding_dim", lambda: _axis(shapes, "embedding.weight", 1, origin)),
        stages=stages,
        blocks=values.counts("model.cnn.blocks_per_stage", lambda: _stages(shapes, origin)[1], len(stages)),
        hidden=values.count("model.cnn.classifier_hidden_dim", lambda: _axis(shapes, "classifier.1.weight", 0, origin)),
        dropout=values.share("model.cnn.dropout", EXAMPLE.dropout),
        classifier_dropout=values.share("model.cnn.classifier_dropout", EXAMPLE.classifier_dropout),
        bn_eps=values.share("model.cnn.bn_eps", EXAMPLE.bn_eps),
    )


class _Values:
    """Values by dotted key, from the first of some configs that has the key; each checked, and refused by its key."""

    def __init__(self, configs: Sequence[dict[str, Any]], origin: str) -> None:
        self._configs = configs
        self._origin = origin

    def get(self, key: str) -> Any:
        for config in self._configs:
            value: Any = config
            for part in key.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            if value is not None:
                return value
        return None

    def refuse(self, key: str, value: object, expected: str) -> None:
        raise SetupError(f"{self._origin}: config: {key}: expected {expected}, got {quote(value)}")

    def only(self, key: str, expected: object) -> None:
        value = self.get(key)
        if value is not None and (value.lower() if isinstance(value, str) else value) != expected:
            self.refuse(key, value, f"{expected!r}, the only one there is")

    def count(self, key: str, default: Callable[[], int]) -> int:
        value = self.get(key)
        if value is None:
            return default()
        if type(value) is not int or value < 1:
            self.refuse(key, value, "a whole number above 0")
        return int(value)

    def counts(self, key: str, default: Callable[[], tuple[int, ...]], length: int | None = None) -> tuple[int, ...]:
        value = self.get(key)
        if value is None:
            return default()
        if type(value) is int and length:
            value = [value] * length
        if not isinstance(value, list | tuple) or not value or any(type(n) is not int or n < 1 for n in value):
            self.refuse(key, value, "a list of whole numbers above 0")
        if length not in (None, len(value)):
            self.refuse(key, value, f"{length} numbers, one per stage")
        return tuple(value)

    def share(self, key: str, default: float) -> float:
        value = self.get(key)
        if value is None:
            return default
        with contextlib.suppress(ValueError):
            value = float(value) if isinstance(value, str) else value  # YAML takes 1e-3 for a text
        if type(value) not in (int, float) or not 0 <= value < 1:
            self.refuse(key, value, "a number from 0 to below 1")
        return float(value)


def _axis(shapes: Shapes, name: str, axis: int, origin: str) -> int:
    shape = shapes.get(name, ())
    if len(shape) <= axis:
        raise SetupError(f"{origin}: lacks {name} of {axis + 1} axes or more: no Phase 2 of this kind")
    return shape[axis]


def _stages(shapes: Shapes, origin: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return channels and residual blocks of each stage; a plain convolution among the blocks begins a new one."""
    stages, blocks = [_axis(shapes, "stem.conv.weight", 0, origin)], [0]
    index = 0
    while True:
        if f"features.{index}.conv.weight" in shapes:
            stages.append(_axis(shapes, f"features.{index}.conv.weight", 0, origin))
            blocks.append(0)
        elif f"features.{index}.conv1.conv.weight" in shapes:
            blocks[-1] += 1
        else:
            return tuple(stages), tuple(blocks)
        index += 1
