"""Files and folders that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from vinocast.data.atomic import folder_beside, put_in_place, whole_file


def write_half(path: Path) -> None:
    with whole_file(path) as part:
        part.write_text("half")
        raise ValueError("half way")


def test_a_file_is_replaced_at_the_end_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with whole_file(path) as part, whole_file(path) as another:
        assert part != another
        part.write_text("new")
        another.write_text("of another writer")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_file_as_it_was_and_none_where_there_was_none(tmp_path: Path) -> None:
    path, missing = tmp_path / "file", tmp_path / "missing"
    path.write_text("old")
    for target in (path, missing):
        with pytest.raises(ValueError, match="half way"):
            write_half(target)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_with_all_its_files_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    for name in ("old", "new"):
        with folder_beside(path) as folder:
            (folder / name).touch()
            put_in_place(folder, path)
    assert [file.relative_to(tmp_path) for file in tmp_path.rglob("*")] == [
        Path("deep"),
        Path("deep/folder"),
        Path("deep/folder/new"),
    ]


def test_a_folder_that_cannot_be_replaced_stays(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with folder_beside(path) as folder:
        folder.rmdir()
        with pytest.raises(FileNotFoundError):
            put_in_place(folder, path)
    assert list(tmp_path.iterdir()) == [path]
