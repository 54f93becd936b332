"""Services that several rooms of tests ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from guarded import GIVEN, TOKEN, serving
from standards_asked import RANDOM
from support import (
    CHANNELS,
    PATIENCE,
    HttpService,
    Service,
    change_manifest,
    copy_model,
    fix_hashes,
)
from vinocast.forecast.manifest import QUANTILES_FILE, open_forecaster
from vinocast.forecast.quantiles import QuantileTable


@pytest.fixture(scope="module")
def anywhere() -> Iterator[int]:
    """The port of a service on every interface, without a token."""
    with serving("0.0.0.0", "--insecure") as (port, _):
        yield port


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("secrets") / "the token"
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.fixture(scope="module")
def guarded(token_file: Path) -> Iterator[tuple[int, Service]]:
    """A service on every interface, with a token, names and an origin, that says all it can."""
    names = ["--allowed-hosts", "vino.example,*.inner.example", "--allowed-origins", GIVEN]
    with serving("0.0.0.0", "--token-file", token_file, *names, "--log-level", "debug") as started:
        yield started


@pytest.fixture(scope="module")
def sure_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpService]:
    """A service whose model knows how sure it is."""
    models = tmp_path_factory.mktemp("models")
    folder = copy_model(models)
    residuals = np.sort(RANDOM.standard_normal((len(CHANNELS) + 1, 96, 5)), axis=-1).astype(np.float32)
    table = QuantileTable(np.array([0, 0.1, 0.5, 0.9, 1]), residuals[:-1], residuals[-1])
    (folder / QUANTILES_FILE).write_bytes(table.packed())
    change_manifest(folder, files=open_forecaster(folder).manifest.files | {QUANTILES_FILE: ""})
    fix_hashes(folder)
    with HttpService("--models", models) as running:
        yield running


@pytest.fixture(scope="module")
def sure_client(sure_service: HttpService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sure_service.url, timeout=PATIENCE) as connected:
        yield connected
