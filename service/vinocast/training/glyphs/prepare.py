"""From fonts to examples: rasters, labels, primitives and the grids that Phase 2 learns from."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from vinocast.export.glyphs.nets import Phase1Net
from vinocast.training import checkpoint
from vinocast.training.glyphs.charset import Character
from vinocast.training.glyphs.classify import Examples
from vinocast.training.glyphs.corpus import ARABIC, Copies, Corpus
from vinocast.training.glyphs.fonts import Face, find_faces, limit_faces
from vinocast.training.glyphs.primitives import cluster, distinct_cells, identify, to_grids, train_phase1
from vinocast.training.glyphs.split import HeldOut, choose_labels, kinship

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from vinocast.training.glyphs.recipe import Recipe

# A face with less is of another script, and draws its few Latin letters as another family does.
LATIN = frozenset(range(0x21, 0x180))
LATIN_LEAST = 150
PHASE1_FILE = "phase1.safetensors"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """The faces of each role and the labels.

    Attributes:
        relatives: the families that were dropped, and of which held-out family they drew what part of their letters.
        closest: the closest family left to train on for each held-out one, and that part.
    """

    train: list[Face]
    validation: list[Face]
    test: list[Face]
    labels: list[Character]
    relatives: dict[str, dict[str, float]]
    closest: dict[str, dict[str, float]]

    def identity(self) -> str:
        """Return a hash of all that this is."""
        faces = [[face.sha256 for face in faces] for faces in (self.train, self.validation, self.test)]
        labels = [label.label for label in self.labels]
        return hashlib.sha256(json.dumps([faces, labels]).encode()).hexdigest()


def prepare_split(fonts: Path, work: Path, held_out: HeldOut, recipe: Recipe, workers: int) -> tuple[Corpus, Split]:
    """Render every face and decide what it is for; what has been rendered before is not rendered again."""
    usable = [
        face for face in find_faces(fonts) if face.codepoints >= ARABIC or len(face.codepoints & LATIN) >= LATIN_LEAST
    ]
    held_out.refuse_unknown(face.family for face in usable)
    roles: dict[str, list[Face]] = {"train": [], "validation": [], "test": [], "unused": []}
    for face in limit_faces(usable, recipe.faces, held_out.test + held_out.validation):
        roles[held_out.role(face.family)].append(face)
    held = roles["validation"] + roles["test"]
    corpus = Corpus(fonts, work / "rasters", Copies(recipe.arabic_copies, recipe.other_copies, recipe.seed))
    log.info("rendering %d faces to train on and %d held out", len(roles["train"]), len(held))
    corpus.render(dict.fromkeys(roles["train"], True) | dict.fromkeys(held, False), workers)
    shares = sorted(kinship(corpus, roles["train"], held).items(), key=lambda item: item[1])
    relatives: dict[str, dict[str, float]] = {}
    for (family, other), share in shares:
        if share > recipe.relative:
            relatives.setdefault(family, {})[other] = round(share, 3)
            log.info("%s takes no part: it draws %.0f%% of its letters as %s does", family, 100 * share, other)
    train = [face for face in roles["train"] if face.family not in relatives]
    # The shares ascend: the last to be put down is the highest.
    closest = {other: {family: round(share, 3)} for (family, other), share in shares if family not in relatives}
    labels = choose_labels(corpus, train, recipe.families)
    return corpus, Split(train, roles["validation"], roles["test"], labels, relatives, closest)


def prepare_primitives(
    corpus: Corpus, split: Split, folder: Path, recipe: Recipe
) -> tuple[Phase1Net, NDArray[np.float32], dict[str, Any]]:
    """Return Phase 1, the centres of its primitives and how it does; from the folder where it has them already."""
    path = folder / PHASE1_FILE
    net = Phase1Net().eval()
    if path.exists():
        tensors, state = checkpoint.load(path)
        centres = tensors.pop("centres").numpy()
        net.load_state_dict(tensors)
        return net, centres, state
    codepoints = [label.codepoint for label in split.labels]
    cells, counts = distinct_cells(
        _of_labels(corpus.load(face, training=True), codepoints)
        for face in tqdm(split.train, unit="face", desc="cells", disable=None)
    )
    log.info("clustering %d distinct cells", len(cells))
    centres = cluster(cells, counts, recipe)
    log.info("training phase 1")
    net, accuracy = train_phase1(cells, counts, centres, recipe)
    state = {"distinct_cells": len(cells), "cells": int(counts.sum()), "agreement": accuracy}
    log.info("phase 1 gives %.2f%% of the cells their nearest primitive", 100 * accuracy)
    checkpoint.save(path, {"centres": torch.from_numpy(centres), **net.state_dict()}, state)
    return net, centres, state


def prepare_examples(
    corpus: Corpus, faces: Sequence[Face], labels: Sequence[Character], net: Phase1Net, *, training: bool
) -> tuple[Examples, NDArray[np.int64]]:
    """Return the grids of faces as Phase 1 makes them, and the index of the face each is of."""
    index = {label.codepoint: position for position, label in enumerate(labels)}
    codepoints = list(index)
    loaded, owners, indices = [], [], []
    for number, face in enumerate(faces):
        rasters = corpus.load(face, training=training)
        kept = np.isin(rasters.codepoints, codepoints)
        loaded.append(rasters.cells[kept])
        indices += [index[codepoint] for codepoint in rasters.codepoints[kept].tolist()]
        owners.append(np.full(int(kept.sum()), number, np.int64))
    known, _ = distinct_cells(loaded)
    ids = identify(net, known)
    grids = [to_grids(cells, known, ids) for cells in loaded]
    return Examples(np.concatenate(grids), np.array(indices, np.int64)), np.concatenate(owners)


def _of_labels(rasters: Any, codepoints: list[int]) -> NDArray[np.uint64]:
    cells: NDArray[np.uint64] = rasters.cells[np.isin(rasters.codepoints, codepoints)]
    return cells
