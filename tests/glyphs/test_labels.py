"""Label maps and chars.csv: what users have is read, what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from vinocast.errors import SetupError
from vinocast.glyphs.labels import label_of_file, read_bases, read_label_map, read_labels

HEH = "\u0647"
HEADER = "codepoint,base_unicode,joining_group,char_class,label\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_labels_come_in_the_order_of_their_indices(tmp_path: Path) -> None:
    path = write(tmp_path / "map.json", '{"66_latin": 1, "65258_final": 0, "9_latin_digit": 2}')
    assert read_label_map(path) == ["65258_final", "66_latin", "9_latin_digit"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "not JSON"),
        ("[]", "expected an object"),
        ("{}", "a label at least"),
        ('{"a": 0, "b": 0}', "'a' and 'b' have the same index 0"),
        ('{"a": 0, "b": 2}', "'b': expected an index from 0 to 1, got 2"),
        ('{"a": true}', "got True"),
        ('{"a": "0"}', "got '0'"),
    ],
)
def test_a_label_map_that_is_none_is_refused(tmp_path: Path, content: str, fault: str) -> None:
    with pytest.raises(SetupError, match=fault):
        read_label_map(write(tmp_path / "map.json", content))


@pytest.mark.parametrize(
    ("row", "base"),
    [
        ("66,B,,latin,x", "B"),
        (f'65258,{HEH},"HEH, GOAL",final,x', HEH),
        ("65275,لا,LAM,liga,x", "لا"),
        ("53,5,,digit,x", "5"),
        ("9321,10,,symbol,x", "10"),
        ("65258,1607,HEH,final,x", "1607"),
        ("65258,U+0647,HEH,final,x", "U+0647"),
        ('9833,"♩ 1 ",,symbol,x', "♩ 1 "),
        ('34,"""",,punctuation,x', '"'),
    ],
)
def test_a_base_is_taken_as_it_stands(tmp_path: Path, row: str, base: str) -> None:
    assert read_bases(write(tmp_path / "chars.csv", HEADER + row + "\n")) == {"x": base}


@pytest.mark.parametrize("codepoint", ["1607", "U+0647", "0x647", "0647"])
def test_a_base_that_is_empty_is_the_character_of_the_code_point(tmp_path: Path, codepoint: str) -> None:
    assert read_bases(write(tmp_path / "chars.csv", f"{HEADER}{codepoint},,HEH,final,x\n")) == {"x": HEH}


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    assert read_label_map(write(tmp_path / "map.json", '\ufeff{"a": 0}')) == ["a"]
    assert read_bases(write(tmp_path / "chars.csv", f"\ufeff{HEADER}66,B,,latin,a\n")) == {"a": "B"}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("codepoint,label\n66,66_latin\n", "lacks base_unicode, joining_group, char_class"),
        (HEADER + "66,66,latin,66_latin\n", "line 2: expected 5 fields"),
        (HEADER + "66,66,HEH, GOAL,latin,66_latin\n", "line 2: expected 5 fields; a field with a comma is quoted"),
    ],
)
def test_a_damaged_chars_csv_is_refused(tmp_path: Path, content: str, fault: str) -> None:
    with pytest.raises(SetupError, match=fault):
        read_bases(write(tmp_path / "chars.csv", content))


def test_a_label_without_a_row_is_its_own_code_point(tmp_path: Path) -> None:
    chars = write(tmp_path / "chars.csv", f"{HEADER}65258,{HEH},HEH,final,65258_final\n")
    labels = read_labels(write(tmp_path / "map.json", '{"65258_final": 0, "66_latin": 1}'), chars)
    assert (labels.bases, labels.unlisted) == ([HEH, "B"], ["66_latin"])
    with pytest.raises(SetupError, match="'noise' has no row"):
        read_labels(write(tmp_path / "map.json", orjson.dumps({"noise": 0}).decode()), chars)


@pytest.mark.parametrize(
    ("stem", "label"),
    [
        ("66_latin_637", "66_latin"),
        ("48_latin_digit_5", "48_latin_digit"),
        ("65258_final_123", "65258_final"),
        ("66_latin", None),
        ("latin_637", None),
        ("\u0663_latin_\u0663", None),
    ],
)
def test_the_name_of_a_raster_holds_its_label(stem: str, label: str | None) -> None:
    assert label_of_file(stem) == label
