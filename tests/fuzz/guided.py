"""A decoder under a fuzzer that follows which code each input reaches: ``python -m fuzz.guided NAME FOLDER OPTION…``.

The options are libFuzzer's. It ends with another code than 0 at the first fault, which it writes into the folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["vinocast", "PIL"]):
    from fuzz.decoders import DECODERS
    from fuzz.seeds import seeds


def main() -> None:
    """Run one decoder until the options say enough."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    corpus = folder / name
    corpus.mkdir(parents=True, exist_ok=True)
    for place, seed in enumerate(seeds(name)):
        (corpus / f"seed-{place}").write_bytes(seed)
    atheris.Setup([sys.argv[0], str(corpus), f"-artifact_prefix={folder}/{name}-", *sys.argv[3:]], DECODERS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
