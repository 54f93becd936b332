"""The C++ client, built once for all its tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cpp_support import CLIENT, STRICT, lacking, run

HEADERS = {"simdjson.h": "libsimdjson-dev", "doctest/doctest.h": "doctest-dev"}


@pytest.fixture(scope="session")
def tools() -> None:
    """What a build needs; without it these tests fail, so that nobody takes them for passed."""
    missing = [program for program in ("cmake", "g++", "make") if shutil.which(program) is None]
    if "g++" not in missing:
        for header, package in HEADERS.items():
            found = subprocess.run(
                ["g++", "-E", "-x", "c++", "-include", header, "/dev/null"], capture_output=True, check=False
            )
            if found.returncode:
                missing.append(package)
    if missing:
        lacking(*missing)


@pytest.fixture(scope="session")
def build(tools: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build with sanitizers, in a folder of its own."""
    folder = tmp_path_factory.mktemp("cpp")
    run("cmake", "-S", CLIENT, "-B", folder, "-DVINOCAST_SANITIZE=address,undefined", STRICT)
    run("cmake", "--build", folder, "--parallel", str(os.cpu_count() or 1))
    return folder
