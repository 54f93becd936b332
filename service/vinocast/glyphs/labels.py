"""The labels of Phase 2, in the order of its outputs, and the base character of each."""

from __future__ import annotations

import codecs
import csv
import io
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO

import orjson

from vinocast.data.regular import open_input, read_input
from vinocast.errors import SetupError, quote

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ("codepoint", "base_unicode", "joining_group", "char_class", "label")
# A digit of another script is no digit here: int() would take it for one.
RASTER_NAME = re.compile(r"(?P<label>\d+_.+)_(?P<row>\d+)", re.ASCII)
CODE_POINT = re.compile(
    r"(?:U\+|0x|\\u)(?P<hex>[0-9A-F]{1,6})|(?P<padded>0[0-9A-F]{3,5})|(?P<decimal>\d{1,7})", re.I | re.A
)

# Labels of glyphs that were numbered, not named.
SYNTHETIC = re.compile(r"gid_\d+", re.ASCII)
UNKNOWN_BASE = "?"


@dataclass(frozen=True)
class Labels:
    """The labels of a model.

    Attributes:
        names: the labels, such as ``66_latin``, in the order of the model's outputs.
        bases: the base character of each, such as ``B``.
        unlisted: labels that ``chars.csv`` has no row of; their base is their own code point, or ``?`` where they are
            numbers of glyphs, as ``gid_7`` is.
    """

    names: list[str]
    bases: list[str]
    unlisted: list[str]

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def places(self) -> dict[str, int]:
        """The place of each label."""
        return {name: place for place, name in enumerate(self.names)}


def read_labels(label_map: Path, chars: Path) -> Labels:
    """Read ``label_map.json`` and ``chars.csv``; raises SetupError that names the file and the fault."""
    return _labels(read_label_map(label_map), read_bases(chars), label_map, chars)


def parse_labels(label_map: bytes, chars: bytes, map_origin: str, chars_origin: str) -> Labels:
    """Return what :func:`read_labels` does, from the bytes of both files; the origins name them in a message."""
    return _labels(
        parse_label_map(label_map, map_origin), parse_bases(io.BytesIO(chars), chars_origin), map_origin, chars_origin
    )


def _labels(names: list[str], bases: dict[str, str], label_map: object, chars: object) -> Labels:
    unlisted = [name for name in names if name not in bases]
    for name in unlisted:
        if SYNTHETIC.fullmatch(name):
            bases[name] = UNKNOWN_BASE
            continue
        code_point = name.partition("_")[0]
        try:
            bases[name] = chr(int(code_point))
        except (ValueError, OverflowError):
            raise SetupError(
                f"{label_map}: label {name!r} has no row in {chars} and begins with no code point"
            ) from None
    return Labels(names, [bases[name] for name in names], unlisted)


def check_same_labels(own: list[str] | None, outputs: int, given: list[str], checkpoint: object, path: object) -> None:
    """Compare a label map with the net it is for, and with the labels that the net's checkpoint knows, if it does.

    Raises SetupError where the numbers differ, or where an index stands for another label: every answer would be wrong.
    """
    if outputs != len(given):
        raise SetupError(f"{checkpoint}: classifier.4 has {outputs} labels, {path} has {len(given)}")
    if own is None or own == given or len(own) != outputs:
        return
    index = next(n for n, (a, b) in enumerate(zip(own, given, strict=True)) if a != b)
    raise SetupError(
        f"{path} is not the label map that {checkpoint} was trained with: index {index} is {given[index]!r} here and "
        f"{own[index]!r} in the checkpoint's label_map; take the one that was saved with the net"
    )


def read_label_map(path: Path) -> list[str]:
    """Read ``{"label": index}``; return the labels by index. Raises SetupError."""
    try:
        data = read_input(path)
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}") from error
    return parse_label_map(data, str(path))


def parse_label_map(data: bytes, origin: str) -> list[str]:
    """Return the labels by index of the bytes of a label map; raises SetupError that begins with ``origin``."""
    try:
        content = orjson.loads(data.removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError as error:
        raise SetupError(f"{origin}: not JSON: {error}") from error
    return check_label_map(content, origin)


def check_label_map(content: object, origin: str) -> list[str]:
    """Return the labels by index of a parsed label map; raises SetupError that begins with ``origin``."""
    if not isinstance(content, dict) or not content:
        raise SetupError(f'{origin}: expected an object {{"label": index, …}} with a label at least')
    names: dict[int, str] = {}
    for name, index in content.items():
        if type(index) is not int or not 0 <= index < len(content):
            raise SetupError(
                f"{origin}: {quote(name)}: expected an index from 0 to {len(content) - 1}, got {quote(index)}"
            )
        if index in names:
            raise SetupError(f"{origin}: {quote(names[index])} and {quote(name)} have the same index {index}")
        names[index] = str(name)
    return [names[index] for index in range(len(names))]


def read_bases(path: Path) -> dict[str, str]:
    """Read ``chars.csv``; return the base character by label. Raises SetupError that names the line."""
    try:
        with open_input(path) as file:
            return parse_bases(file, str(path))
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}") from error


def parse_bases(data: BinaryIO, origin: str) -> dict[str, str]:
    """Return what :func:`read_bases` does, of a file that is open; raises SetupError that begins with ``origin``."""
    try:
        with io.TextIOWrapper(data, "utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise SetupError(f"{origin}: the header lacks {', '.join(missing)}; expected {','.join(COLUMNS)}")
            return {row["label"]: _base(row, f"{origin}: line {rows.line_num}") for row in rows}
    except (csv.Error, UnicodeDecodeError) as error:
        raise SetupError(f"{origin}: not CSV in UTF-8: {error}") from error


def _base(row: dict[str | None, str | list[str] | None], line: str) -> str:
    """Return ``base_unicode`` as it stands, or the character of ``codepoint`` where it is empty."""
    if None in row or None in row.values():
        raise SetupError(f"{line}: expected {len(COLUMNS)} fields; a field with a comma is quoted")
    return str(row["base_unicode"]) or _character(str(row["codepoint"]))


def _character(text: str) -> str:
    """A code point (``U+0628``, ``0x628``, ``0628`` in hexadecimal, ``1576`` in decimal), or the text itself."""
    match = CODE_POINT.fullmatch(text)
    if not match:
        return text
    digits = match["hex"] or match["padded"]
    value = int(digits, 16) if digits else int(match["decimal"])
    return chr(value) if value <= 0x10FFFF else text


def label_of_file(stem: str) -> str | None:
    """Return the label in the name ``{label}_{row_id}`` of a raster, None where the name is not of that form."""
    match = RASTER_NAME.fullmatch(stem)
    return match["label"] if match else None
