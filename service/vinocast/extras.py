"""What a command, a function or a service may lack, and the one line that installs it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Literal

from vinocast import __version__
from vinocast.errors import SetupError

Extra = Literal["convert", "train", "bench", "files", "client", "feed", "frames", "grpc", "otel", "plot", "top"]


def missing_extra(extra: Extra, error: ModuleNotFoundError) -> SetupError:
    """Return the error of what cannot import what an extra brings: what is missing, and how to install it."""
    return SetupError(f"the extra '{extra}' is not installed ({error}): {install_line(extra)}")


def install_line(extra: Extra | None = None) -> str:
    """Return the command that installs an extra, or all that serving needs, into this Python.

    It does so from the checkout that runs, else from a wheel.

    The package is on no index, so a wheel is named by its file.
    """
    brought = f"[{extra}]" if extra else ""
    here, root = Path.cwd(), Path(__file__).resolve().parents[2]
    python = Path(sys.executable)
    program = python.relative_to(here) if python.is_relative_to(here) else python
    if (root / "pyproject.toml").is_file():
        # To pip, a relative name is a package's; only the folder one stands in can be named shortly.
        source = ["--editable", f"{'.' if root == here else root}{brought}"]
    else:
        source = [f"vinocast-{__version__}-py3-none-any.whl{brought}"]
    return shlex.join([str(program), "-m", "pip", "install", *source])
