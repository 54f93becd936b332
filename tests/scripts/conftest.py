"""The glyph chain that is read with, and the program in this process."""

from __future__ import annotations

from pathlib import Path

import pytest
from chain_support import Run
from glyph_support import GlyphFolder
from vinocast.recognition.command import main


@pytest.fixture(scope="module")
def glyphs(tmp_path_factory: pytest.TempPathFactory) -> GlyphFolder:
    return GlyphFolder(tmp_path_factory.mktemp("glyphs"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*options: str | Path) -> tuple[int, str, str]:
        code = main(list(map(str, options)))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
