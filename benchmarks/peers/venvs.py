"""A virtual environment for each peer, made with what every Python has: venv and pip."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from vinocast.errors import SetupError

# torch is a gigabyte or, where pip finds the build for GPUs, several.
BUILD_SECONDS = 1200.0


def ensure_venv(folder: Path, requirements: Path) -> None:
    """Make ``folder`` a virtual environment that holds what ``requirements`` pins, unless it is one already.

    Raises SetupError with what pip said last when it cannot be made.
    """
    stamp, wanted = folder / "requirements.sha256", hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    for command in ([sys.executable, "-m", "venv", "--clear", str(folder)], [*pip, "install", "-r", str(requirements)]):
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=BUILD_SECONDS)
        except subprocess.TimeoutExpired:
            raise SetupError(f"its virtual environment was not ready after {BUILD_SECONDS:.0f} s") from None
        except subprocess.CalledProcessError as error:
            said = (error.stderr or error.stdout).strip().splitlines()
            raise SetupError(f"its virtual environment cannot be made: {said[-1] if said else error}") from None
    stamp.write_text(wanted)
