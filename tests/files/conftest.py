"""The models that answer files."""

from __future__ import annotations

from pathlib import Path

import pytest
import vinocast
from file_support import write_models
from vinocast.data.bundled import BUNDLED_GENERAL


@pytest.fixture(scope="module")
def model() -> vinocast.Forecaster:
    return vinocast.load(BUNDLED_GENERAL)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))
