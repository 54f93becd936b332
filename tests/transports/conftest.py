"""Services that several rooms of tests ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from guarded import GIVEN, TOKEN, serving
from support import Service


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
