"""The characters the glyph chain may be taught, from Unicode data; and ``chars.csv``, which describes them.

A joined Arabic letter or ligature is a presentation form of Unicode: its compatibility decomposition says which letters
it is made of and how it joins. All else is a character of its own.
"""

from __future__ import annotations

import csv
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

COLUMNS = ("codepoint", "base_unicode", "joining_group", "char_class", "label")
CLASSES = (
    "liga", "isol", "final", "init", "medi", "symbol", "latin", "diacritic", "punctuation", "digit", "latin_digit",
)  # fmt: skip

NO_JOINING_GROUP = "No_Joining_Group"
# Python's unicodedata does not know the property Joining_Group: these are its values, from the Unicode Character
# Database, for every letter that a presentation form is made of.
JOINING_GROUPS = {
    "ALEF": "0622 0623 0625 0627 0671",
    "WAW": "0624 0648 0677 06C5 06C6 06C7 06C8 06C9 06CB",
    "YEH": "0626 0649 064A 06D0",
    "BEH": "0628 062A 062B 0679 067A 067B 067E 067F 0680",
    "TEH MARBUTA": "0629 06C0 06D5",
    "HAH": "062C 062D 062E 0683 0684 0686 0687",
    "DAL": "062F 0630 0688 068C 068D 068E",
    "REH": "0631 0632 0691 0698",
    "SEEN": "0633 0634",
    "SAD": "0635 0636",
    "TAH": "0637 0638",
    "AIN": "0639 063A",
    "FEH": "0641 06A4 06A6",
    "QAF": "0642",
    "KAF": "0643 06AD",
    "LAM": "0644",
    "MEEM": "0645",
    "NOON": "0646 06BA 06BB",
    "HEH": "0647",
    "GAF": "06A9 06AF 06B1 06B3",
    "KNOTTED HEH": "06BE",
    "HEH GOAL": "06C1",
    "FARSI YEH": "06CC",
    "YEH BARREE": "06D2 06D3",
}
_GROUP_OF = {int(letter, 16): group for group, letters in JOINING_GROUPS.items() for letter in letters.split()}

_FORMS = {"<isolated>": "isol", "<final>": "final", "<initial>": "init", "<medial>": "medi"}
# Zero width joiners around letters make a shaper join them to neighbours that are not there.
_JOINER = "\u200d"
_JOINED = {"isol": "{}", "final": _JOINER + "{}", "init": "{}" + _JOINER, "medi": _JOINER + "{}" + _JOINER}
# A ligature of more letters, 128 pixels wide, leaves its dots fewer than five.
_LIGATURE_LETTERS = 2
_PRESENTATION_FORMS = (range(0xFB50, 0xFE00), range(0xFE80, 0xFEFD))
_OTHER_BLOCKS = (
    range(0x0021, 0x0180),  # Latin, Latin-1, Latin Extended-A
    range(0x0218, 0x021C),
    range(0x0300, 0x0370),  # combining marks
    range(0x0606, 0x06FF),  # Arabic
    range(0x1E9E, 0x1E9F),
    range(0x2010, 0x2060),  # general punctuation
    range(0x20A0, 0x20C0),  # currencies
    range(0x2100, 0x2150),  # letterlike
    range(0x2153, 0x215F),  # fractions
    range(0x2190, 0x21FF),  # arrows
    range(0x2200, 0x2300),  # mathematics
    range(0x25A0, 0x2600),  # geometric shapes
    range(0x2605, 0x2670),
    range(0x2713, 0x2714),
)


@dataclass(frozen=True)
class Character:
    """One label's character.

    Attributes:
        codepoint: what the label is named after.
        base: the letters it is made of; itself where it is no presentation form.
        joining_group: of each base letter, joined by commas; Unicode's names.
        char_class: one of CLASSES.
        shaped: the text that a shaper turns into it, or None where only the codepoint's own glyph is meant.
    """

    codepoint: int
    base: str
    joining_group: str
    char_class: str
    shaped: str | None = None

    @property
    def label(self) -> str:
        """The name of its class of rasters."""
        return f"{self.codepoint}_{self.char_class}"

    @property
    def row(self) -> tuple[str, ...]:
        """Its row of ``chars.csv``."""
        return (str(self.codepoint), self.base, self.joining_group, self.char_class, self.label)


def candidates() -> list[Character]:
    """Return every character that could be a label, by codepoint. Which are depends on the fonts at hand."""
    return sorted([*_presentation_forms(), *_others()], key=lambda character: character.codepoint)


def _presentation_forms() -> Iterator[Character]:
    for codepoint in (codepoint for block in _PRESENTATION_FORMS for codepoint in block):
        form, *letters = unicodedata.decomposition(chr(codepoint)).split() or [""]
        codes = [int(letter, 16) for letter in letters]
        if form not in _FORMS or len(codes) > _LIGATURE_LETTERS or any(chr(code).isspace() for code in codes):
            continue
        base = "".join(map(chr, codes))
        groups = dict.fromkeys(_GROUP_OF.get(code, NO_JOINING_GROUP) for code in codes)
        yield Character(
            codepoint,
            base,
            ",".join(groups),
            _FORMS[form] if len(codes) == 1 else "liga",
            _JOINED[_FORMS[form]].format(base),
        )


def _others() -> Iterator[Character]:
    for codepoint in (codepoint for block in _OTHER_BLOCKS for codepoint in block):
        char_class = _class_of(chr(codepoint))
        if char_class:
            yield Character(codepoint, chr(codepoint), NO_JOINING_GROUP, char_class)


def _class_of(character: str) -> str | None:
    """Return the class of what is no presentation form, or None for what none of the classes holds."""
    category = unicodedata.category(character)
    if category == "Nd":
        return "latin_digit" if character.isascii() else "digit"
    if category[0] == "L":
        return "latin" if unicodedata.name(character).startswith("LATIN") else None
    if category == "Mn":
        return "diacritic"
    return {"P": "punctuation", "S": "symbol", "N": "symbol"}.get(category[0])


def write_chars_csv(path: Path, characters: Iterable[Character]) -> None:
    """Write the characters as ``chars.csv``."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(character.row for character in characters)
