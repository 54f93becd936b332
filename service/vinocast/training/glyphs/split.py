"""Which families train, validate and test, and which characters become labels."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vinocast.errors import SetupError
from vinocast.training.glyphs.charset import CLASSES, Character, candidates
from vinocast.training.glyphs.fonts import Face, belongs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from vinocast.training.glyphs.corpus import Corpus, FaceRasters

# Two fonts draw a letter alike when so much of the ink of both is common to both (intersection over union).
ALIKE = 0.9
COMPARED = 80
LETTERS = ("liga", "isol", "final", "init", "medi", "latin")


@dataclass(frozen=True)
class HeldOut:
    """Names of families that are held out, and of families that are left out of everything.

    A name holds every family that it begins, see :func:`vinocast.training.glyphs.fonts.belongs`.
    """

    test: tuple[str, ...]
    validation: tuple[str, ...]
    unused: tuple[str, ...] = ()

    def role(self, family: str) -> str:
        """Return what a family is for: test, validation, unused or train."""
        for role in ("test", "validation", "unused"):
            if belongs(family, getattr(self, role)):
                return role
        return "train"

    def refuse_unknown(self, families: Iterable[str]) -> None:
        """Raise SetupError when a name holds no family at hand."""
        families = list(families)
        for role in ("test", "validation"):
            for name in getattr(self, role):
                if not any(belongs(family, [name]) for family in families):
                    raise SetupError(f"no font is of the {role} family {name!r}: add it to --fonts, or name another")


def kinship(corpus: Corpus, train: Sequence[Face], held_out: Sequence[Face]) -> dict[tuple[str, str], float]:
    """Return what part of its letters each training family draws as each held-out family does, from 0 to 1.

    Of two families, the part of those two faces is taken that have most in common. Up to COMPARED letters, evenly
    taken, are compared, and none when two faces share fewer than 20.
    """
    letters = [character.codepoint for character in candidates() if character.char_class in LETTERS]
    theirs = [(face.family, _plain(corpus.load(face, training=False), letters)) for face in held_out]
    found: dict[tuple[str, str], float] = defaultdict(float)
    for face in train:
        ours = _plain(corpus.load(face, training=True), letters)
        for family, rasters in theirs:
            pair = face.family, family
            found[pair] = max(found[pair], _share_alike(ours, rasters))
    return found


def choose_labels(corpus: Corpus, train: Sequence[Face], families: int) -> list[Character]:
    """Return the characters that at least ``families`` families have, by label as strings.

    Raises SetupError when one of the classes has none.
    """
    having: dict[int, set[str]] = defaultdict(set)
    for face in train:
        for codepoint in np.unique(corpus.load(face, training=True).codepoints).tolist():
            having[codepoint].add(face.family)
    chosen = [character for character in candidates() if len(having[character.codepoint]) >= families]
    missing = set(CLASSES) - {character.char_class for character in chosen}
    if missing:
        raise SetupError(f"no {', '.join(sorted(missing))} is in {families} families: add fonts, or lower --families")
    return sorted(chosen, key=lambda character: character.label)


def _plain(rasters: FaceRasters, letters: Sequence[int]) -> dict[int, NDArray[np.uint64]]:
    rows = np.flatnonzero((rasters.copies == 0) & np.isin(rasters.codepoints, letters))
    return dict(zip(rasters.codepoints[rows].tolist(), rasters.cells[rows], strict=True))


def _share_alike(ours: dict[int, NDArray[np.uint64]], theirs: dict[int, NDArray[np.uint64]]) -> float:
    common = sorted(ours.keys() & theirs.keys())
    if len(common) < 20:
        return 0.0
    taken = [common[i] for i in np.linspace(0, len(common) - 1, min(COMPARED, len(common))).astype(int)]
    a, b = (np.stack([rasters[codepoint] for codepoint in taken]) for rasters in (ours, theirs))
    return float((overlap(a, b) > ALIKE).mean())


def overlap(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return intersection over union of packed rasters [..., 256], each pair of them: [...]."""
    common = np.bitwise_count(a & b).sum(-1, dtype=np.int64)
    either = np.bitwise_count(a | b).sum(-1, dtype=np.int64)
    return np.asarray(common / np.maximum(either, 1), np.float64)
