"""The faces of a folder of fonts, by family, and which families are held out."""

from __future__ import annotations

import hashlib
import io
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fontTools.ttLib import TTFont

from vinocast.data.regular import open_regular
from vinocast.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

SUFFIXES = (".ttf", ".otf", ".woff2")
# The usual four first: a family that has more gives the rest up when there is a limit.
_STYLES = ("regular", "book", "medium", "bold", "italic", "oblique", "bolditalic", "boldoblique", "light", "semibold")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Face:
    """One font file: a face of a family. ``path`` is relative to the folder of fonts."""

    path: str
    family: str
    style: str
    sha256: str
    codepoints: frozenset[int]


def find_faces(folder: Path) -> list[Face]:
    """Return the faces under a folder, the same file once, by path.

    Raises SetupError when there is none; a file that is no font is logged and passed over.
    """
    faces: dict[str, Face] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            try:
                face = _read_face(path, path.relative_to(folder).as_posix())
            except Exception as error:  # noqa: BLE001 - a font is foreign data, whose readers fail in many ways
                log.warning("%s is passed over: %s", path, str(error) or type(error).__name__)
                continue
            faces.setdefault(face.sha256, face)
    if not faces:
        raise SetupError(f"{folder} holds no font ({', '.join(SUFFIXES)}): name a folder that does with --fonts")
    return list(faces.values())


def sfnt(path: Path) -> bytes:
    """Return a font file's bytes, unpacked where it is a WOFF2."""
    if path.suffix.lower() != ".woff2":
        return path.read_bytes()
    unpacked = io.BytesIO()
    with TTFont(path) as font:
        font.flavor = None
        font.save(unpacked)
    return unpacked.getvalue()


def style_rank(face: Face) -> tuple[int, str]:
    """Return a key that puts the usual styles of a family first."""
    style = re.sub(r"[^a-z]", "", face.style.lower())
    return (_STYLES.index(style) if style in _STYLES else len(_STYLES), style)


def belongs(family: str, names: Iterable[str]) -> str | None:
    """Return which of the names a family goes by, if any.

    A name holds the families that it begins: "Roboto" holds "Roboto Condensed", "Noto Naskh Arabic" holds its "UI".
    """
    return next((name for name in names if f"{family} ".startswith(f"{name} ")), None)


def limit_faces(faces: Iterable[Face], count: int, names: Sequence[str] = ()) -> list[Face]:
    """Return at most ``count`` faces of each family: those of most characters first, then the usual styles.

    Families that one of ``names`` holds count as one. Of a face that is there as several files the fullest is taken.
    """
    fullest: dict[str, int] = {}
    for face in faces:
        fullest[face.family] = max(fullest.get(face.family, 0), len(face.codepoints))
    kept: dict[str, dict[tuple[str, str], Face]] = {}
    for face in sorted(faces, key=lambda f: (-fullest[f.family], f.family, *style_rank(f), -len(f.codepoints), f.path)):
        chosen = kept.setdefault(belongs(face.family, names) or face.family, {})
        if len(chosen) < count:
            chosen.setdefault((face.family, face.style), face)
    return [face for chosen in kept.values() for face in chosen.values()]


def _read_face(path: Path, name: str) -> Face:
    # TTFont leaves a file that it cannot read open.
    with open_regular(path) as file, TTFont(file, lazy=True) as font:
        names = font["name"]
        family = names.getDebugName(16) or names.getDebugName(1)
        style = names.getDebugName(17) or names.getDebugName(2) or "Regular"
        codepoints = frozenset(font.getBestCmap() or ())
        if not {"glyf", "CFF ", "CFF2"} & set(font.keys()):
            raise ValueError("it has no outlines")
    if not family:
        raise ValueError("it names no family")
    return Face(name, family.strip(), style.strip(), hashlib.sha256(path.read_bytes()).hexdigest(), codepoints)
