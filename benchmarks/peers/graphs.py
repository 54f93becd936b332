"""What the peers serve: the Hugging Face model of a folder, and its stock graph as an IR and as ONNX."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import click
from vinocast.errors import SetupError

from benchmarks.peers.catalogue import PEERS, ROOT, SERVERS
from benchmarks.peers.venvs import ensure_venv

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.peers.catalogue import Graph

EXPORT_SECONDS = 300.0
EXPORT_STOCK = """
import sys
from pathlib import Path
from vinocast.export.families.patchtst.optimum import export_stock
export_stock(sys.argv[1], Path(sys.argv[2]))
"""


class Graphs:
    """Each graph, made when it is first asked for.

    Args:
        source: folder of the Hugging Face model.
        stock: its stock graph as an IR; None to export it, which needs the extra ``convert``.
        venvs: folder of the virtual environments; the one with torch exports ONNX.
        scratch: folder to write to.
    """

    def __init__(self, source: Path, stock: Path | None, venvs: Path, scratch: Path) -> None:
        self._source, self._stock, self._venvs, self._scratch = source, stock, venvs, scratch

    def path(self, graph: Graph) -> Path:
        """Return the path of a graph; raises SetupError when it cannot be made."""
        match graph:
            case "torch":
                return self._source
            case "stock IR":
                return self._stock or self._export("stock.xml", sys.executable, "-c", EXPORT_STOCK)
            case "ONNX":
                venv = self._venvs / "torch"
                ensure_venv(venv, PEERS["torch"].requirements)
                return self._export("stock.onnx", str(venv / "bin" / "python"), "-m", f"{SERVERS}.export_onnx")

    def _export(self, name: str, *command: str) -> Path:
        path = self._scratch / name
        if not path.exists():
            click.echo(f"exporting {name}", err=True)
            arguments = [*command, str(self._source), str(path)]
            try:
                subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True, text=True, timeout=EXPORT_SECONDS)
            except subprocess.CalledProcessError as error:
                said = error.stderr.strip().splitlines()
                raise SetupError(f"{name} cannot be exported: {said[-1] if said else error}") from None
            except subprocess.TimeoutExpired:
                raise SetupError(f"{name} was not exported after {EXPORT_SECONDS:.0f} s") from None
        return path
