"""The older guides' way to start the JSON lines service: ``--mode server`` is ``vinocast stdio``.

python scripts/inference_pipeline_integration.py --mode server [options of vinocast stdio]
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("vinocast") is None:  # run from a checkout that is not installed
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "service"))

from vinocast.cli import main as vinocast


def main() -> None:
    """Start ``vinocast stdio`` with the options that are not this door's own."""
    parser = argparse.ArgumentParser(
        description="Serve forecasts as JSON lines on standard input and output.",
        epilog="Every other option is passed on: see 'vinocast stdio --help'.",
    )
    parser.add_argument("--mode", choices=["server"], default="server", help="server: JSON lines (the only mode)")
    _, options = parser.parse_known_args()
    vinocast(["stdio", *options], prog_name="vinocast")


if __name__ == "__main__":
    main()
