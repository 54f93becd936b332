"""What the tests of the C++ client share: the folder, the page, and commands that are run to their end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support import ROOT, VINOCAST

CLIENT = ROOT / "deploy" / "cpp"
PAGE = (ROOT / "docs" / "cpp.md").read_text()
# Users have warnings as their compiler gives them; here each is an error.
STRICT = "-DCMAKE_COMPILE_WARNING_AS_ERROR=ON"
PACKAGES = "g++ cmake make libsimdjson-dev doctest-dev clang clang-format"


def run(*command: str | Path, expected: int = 0, stdin: str = "", **environment: str) -> str:
    """Run a command to its end, and return what it printed; fail with that if it does not end as expected."""
    done = subprocess.run(
        [str(part) for part in command],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
        check=False,
        env={**os.environ, "VINOCAST_PROGRAM": str(VINOCAST), **environment},
    )
    assert done.returncode == expected, f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def lacking(*missing: str) -> None:
    """Leave a test out where nobody can install these; the rest still says something, and CI must not leave any out."""
    what = f"missing: {', '.join(missing)}; as root: apt-get install {PACKAGES}"
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)
