"""The kinds of models there are. The first leads: the default model of a service is one of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vinocast.engine.manifest import Manifest, ModelFolder, read_manifest
from vinocast.forecast.kind import FORECASTER
from vinocast.glyphs.kind import GLYPHS

if TYPE_CHECKING:
    from pathlib import Path

    from vinocast.engine.kinds import AnyKind

KINDS: dict[str, AnyKind] = {}


def register(kind: AnyKind) -> None:
    """Add a kind of models; raises ValueError where there is one of that name."""
    if kind.name in KINDS:
        raise ValueError(f"there is a kind {kind.name} already")
    KINDS[kind.name] = kind


for _kind in (FORECASTER, GLYPHS):
    register(_kind)


def open_model(path: Path, place: str | None = None) -> ModelFolder[Manifest]:
    """Read the manifest of a model of any kind; raises ModelRefusedError that says what is wrong with it.

    ``place`` is NAME or NAME/VERSION, where it was found among others.
    """
    return read_manifest(path, {kind.name: kind.manifest for kind in KINDS.values()}, place)
