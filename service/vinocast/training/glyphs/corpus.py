"""Rasters of every candidate in every face, one file per face, rendered by several processes.

Faces that are held out are rendered plainly and as the service's rasters are. Faces to train on are rendered without
oversampling, because they are many, and with distorted copies.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import zipfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

from vinocast.data.atomic import whole_file
from vinocast.errors import SetupError
from vinocast.glyphs.cells import CELLS, pack_cells, split_cells
from vinocast.glyphs.normalize import OVERSAMPLING
from vinocast.training.glyphs.charset import candidates
from vinocast.training.glyphs.fonts import Face, sfnt
from vinocast.training.glyphs.render import PLAIN, Distortion, FontRenderer, render

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray


# A font that draws so many characters alike draws a placeholder.
PLACEHOLDER = 20
ARABIC = frozenset([*range(0x0627, 0x063B), *range(0x0641, 0x064B)])

log = logging.getLogger(__name__)


class FaceRasters(NamedTuple):
    """What one face gave: codepoints int32 [n], copies int16 [n] (0 is the plain one), packed cells uint64 [n, 256]."""

    codepoints: NDArray[np.int32]
    copies: NDArray[np.int16]
    cells: NDArray[np.uint64]


@dataclass(frozen=True)
class Copies:
    """How many rasters of each character are wanted, the first plain and the rest distorted, and from which seed.

    Fonts that write Arabic are fewer than those that write Latin, so they may be given more.
    """

    arabic: int
    other: int
    seed: int

    def count(self, face: Face) -> int:
        """Return the copies of a face that is trained on, the plain one among them."""
        return self.arabic if face.codepoints >= ARABIC else self.other


class Corpus:
    """The rasters under a folder. A face's file is there whole or not at all, so a run goes on where another ended."""

    def __init__(self, fonts: Path, folder: Path, copies: Copies) -> None:
        self._fonts, self._folder, self._copies = fonts, folder, copies

    def render(self, faces: Mapping[Face, bool], workers: int) -> None:
        """Render the faces that have no file yet; the value of each says whether it is trained on.

        Faces whose file cannot be rendered are logged and left without rasters.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        jobs = [
            (
                self._fonts / face.path,
                self.path(face, training=training),
                self._number(face, training),
                self._copies.seed,
            )
            for face, training in faces.items()
            if not self.path(face, training=training).exists()
        ]
        if not jobs:
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            results = pool.map(_render_face, jobs)
            for job, error in zip(jobs, tqdm(results, total=len(jobs), unit="face", disable=None), strict=True):
                if error:
                    log.warning("%s gives no rasters: %s", job[0], error)

    def load(self, face: Face, *, training: bool) -> FaceRasters:
        """Return a face's rasters; raises SetupError when its file cannot be read."""
        path = self.path(face, training=training)
        try:
            with np.load(path) as file:
                return FaceRasters(file["codepoints"], file["copies"], file["cells"])
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise SetupError(f"{path} cannot be read ({error}): remove it to render it again") from error

    def path(self, face: Face, *, training: bool) -> Path:
        """Return the file of a face: named after all that decides what is in it."""
        identity = [face.sha256, self._number(face, training), self._copies.seed if training else None]
        return self._folder / f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]}.npz"

    def _number(self, face: Face, training: bool) -> int:
        return self._copies.count(face) if training else 0


def random_distortion(generator: np.random.Generator) -> Distortion:
    """Draw what makes another font of a font: bolder or lighter, wider or narrower, slanted, a little turned."""
    aspect = float(np.exp(generator.normal(0, 0.12)))
    slant = float(generator.normal(0, 0.08)) + (0.2 if generator.random() < 0.15 else 0.0)
    return Distortion(aspect, slant, float(generator.normal(0, 0.015)), float(generator.normal(0.003, 0.014)))


def _render_face(job: tuple[Path, Path, int, int]) -> str | None:
    """Render one face into its file; return what went wrong, if anything did."""
    font, path, copies, seed = job
    failure = None
    rasters: list[tuple[int, int, NDArray[np.uint64]]] = []
    try:
        rasters = list(_rasters(FontRenderer(sfnt(font)), copies, seed, font.name))
    except Exception as error:  # noqa: BLE001 - a font is foreign data, and one bad font must not end the rest
        failure = f"{type(error).__name__}: {error}"
    codepoints = np.array([codepoint for codepoint, _, _ in rasters], np.int32)
    numbers = np.array([copy for _, copy, _ in rasters], np.int16)
    cells = np.array([cells for _, _, cells in rasters], np.uint64).reshape(-1, CELLS)
    kept = ~np.isin(codepoints, _placeholders(codepoints, numbers, cells))
    with whole_file(path) as part, part.open("wb") as file:
        np.savez(file, codepoints=codepoints[kept], copies=numbers[kept], cells=cells[kept])
    return failure


def _rasters(
    renderer: FontRenderer, copies: int, seed: int, name: str
) -> Iterator[tuple[int, int, NDArray[np.uint64]]]:
    """Yield codepoint, copy and packed cells of whatever a font has; 0 copies are one, rendered with oversampling."""
    for character in candidates():
        outline = renderer.outline(character)
        if outline is None:
            continue
        key = int.from_bytes(hashlib.sha256(f"{name}/{character.label}".encode()).digest()[:8], "little")
        generator = np.random.default_rng([seed, key])
        for copy in range(max(1, copies)):
            distortion = random_distortion(generator) if copy else PLAIN
            raster = render(outline, character.char_class, distortion, 1 if copies else OVERSAMPLING)
            if raster is not None:
                yield character.codepoint, copy, pack_cells(split_cells(raster[None].astype(np.uint8)))[0]


def _placeholders(
    codepoints: NDArray[np.int32], copies: NDArray[np.int16], cells: NDArray[np.uint64]
) -> NDArray[np.int32]:
    """Return the codepoints that a font draws all alike."""
    plain = copies == 0
    _, inverse, counts = np.unique(cells[plain], axis=0, return_inverse=True, return_counts=True)
    return codepoints[plain][counts[inverse.reshape(-1)] > PLACEHOLDER] if plain.any() else codepoints[:0]
