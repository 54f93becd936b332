"""Make examples/rasters from fonts that the bundled glyph chain has not seen: some labels of every class.

    python examples/render_rasters.py --fonts DIR

It needs the train extra. The same fonts give the same files.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from vinocast.training.glyphs.charset import CLASSES, Character, candidates
from vinocast.training.glyphs.fonts import Face, belongs, find_faces, limit_faces, sfnt
from vinocast.training.glyphs.recipe import TEST
from vinocast.training.glyphs.render import FontRenderer, render

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "examples" / "rasters"
A_CLASS = 5
LICENCES = {
    "Noto Naskh Arabic": "SIL Open Font License 1.1",
    "Scheherazade": "SIL Open Font License 1.1",
    "Noto Kufi Arabic": "SIL Open Font License 1.1",
    "Cairo": "SIL Open Font License 1.1",
    "Linux Libertine": "SIL Open Font License 1.1, or GPL 2 with font exception",
    "Gentium": "SIL Open Font License 1.1",
    "Lato": "SIL Open Font License 1.1",
    "Roboto": "Apache License 2.0",
}
README = """# Rasters

128x128, white on black, the larger side 128 pixels (64 of a diacritic), at the top left, named
`{{label}}_{{row_id}}.png`: {count} labels over all eleven classes, rendered by `examples/render_rasters.py` from
families that the bundled chain `models/glyphs` was not trained on. The rasters are pictures of single
characters; the fonts themselves are not here. `vinocast raster` makes rasters of the same geometry.

| family | licence |
| --- | --- |
{families}

| raster | font |
| --- | --- |
{rasters}
"""


def main() -> None:
    """Write the rasters and their README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fonts", type=Path, required=True, help="folder of fonts, with all of: " + ", ".join(TEST))
    fonts: Path = parser.parse_args().fonts
    faces = limit_faces([face for face in find_faces(fonts) if belongs(face.family, TEST)], 1, TEST)
    renderers = {face: FontRenderer(sfnt(fonts / face.path)) for face in faces}
    with (ROOT / "models" / "glyphs" / "chars.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["label"]: number for number, row in enumerate(csv.DictReader(file), 1)}
    labels = [character for character in candidates() if character.label in rows]

    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    made: list[tuple[str, Face]] = []
    for char_class in CLASSES:
        of_class = [character for character in labels if character.char_class == char_class]
        for position in np.linspace(0, len(of_class) - 1, min(A_CLASS, len(of_class))).astype(int):
            drawn = draw(of_class[position], renderers, len(made))
            if drawn:
                pixels, face = drawn
                name = f"{of_class[position].label}_{rows[of_class[position].label]}.png"
                Image.fromarray(pixels).save(FOLDER / name)
                made.append((name, face))

    used = dict.fromkeys(belongs(face.family, TEST) or "" for face in faces if any(face == f for _, f in made))
    readme = README.format(
        count=len(made),
        families="\n".join(f"| {family} | {LICENCES[family]} |" for family in used),
        rasters="\n".join(f"| `{name}` | {face.family} {face.style} |" for name, face in sorted(made)),
    )
    (FOLDER / "README.md").write_text(readme, encoding="utf-8")
    print(f"{FOLDER}: {len(made)} rasters from {len(used)} families")


def draw(character: Character, renderers: dict[Face, FontRenderer], turn: int) -> tuple[NDArray[np.uint8], Face] | None:
    """Return a character as pixels 0 and 255 from the next font that has it, the fonts taking turns."""
    faces = list(renderers)
    for face in faces[turn % len(faces) :] + faces[: turn % len(faces)]:
        outline = renderers[face].outline(character)
        raster = render(outline, character.char_class) if outline is not None else None
        if raster is not None:
            return raster.astype(np.uint8) * np.uint8(255), face
    return None


if __name__ == "__main__":
    main()
