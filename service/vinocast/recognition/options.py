"""The command line of ``vinocast infer-chain``, names and defaults as its users know them."""

from __future__ import annotations

import argparse
from pathlib import Path

from vinocast.data.bundled import BUNDLED_GLYPHS, bundled_models
from vinocast.errors import SetupError
from vinocast.glyphs.manifest import CHARS_FILE, LABEL_MAP_FILE

NETS = ("phase1_ckpt", "phase2_ckpt", "label_map", "chars_csv")
REQUIRED = ("rasters_dir", *NETS)
MEMMAP = ("memmap_grids_file", "memmap_row_ids_file")
GLYPH_LABELS = Path("data/grids_memmap/glyph_labels.jsonl")
NO_TRANSFORMER = "there is no transformer here, and no context of neighbouring glyphs: --arch cnn judges each by itself"


class MissingPathError(SetupError):
    """A file or folder named on the command line is not there; exit code 2."""


def parse(arguments: list[str] | None = None, program: str | None = None) -> argparse.Namespace:
    """Parse and check; raises MissingPathError, and ends the process with code 2 for wrong usage.

    ``bundled`` of what is returned says that no nets were named, and those that come along are meant.
    """
    parser = build_parser(program)
    options = parser.parse_args(arguments)
    if options.arch == "transformer" or options.use_sequence_context or options.context_window is not None:
        parser.error(NO_TRANSFORMER)
    missing = [name for name in NETS if getattr(options, name) is None]
    options.bundled = len(missing) == len(NETS)
    if options.rasters_dir is None and not options.use_memmap_grids:
        parser.error("the following arguments are required: --rasters_dir, or --use-memmap-grids")
    if options.bundled:
        if options.config_yaml is not None or options.baseline_phase2:
            parser.error("--config_yaml and --baseline_phase2 are for a --phase2_ckpt of your own")
        folder = bundled_models() / BUNDLED_GLYPHS
        options.label_map, options.chars_csv, options.use_openvino = folder / LABEL_MAP_FILE, folder / CHARS_FILE, True
    elif missing:
        names = ", ".join(f"--{name}" for name in missing)
        parser.error(f"the following arguments are required: {names}; or name no net, for the bundled one")
    if options.openvino_precision == "int8" and not options.use_openvino:
        parser.error("--openvino-precision int8 needs --use-openvino")
    for name in ("batch_size", "phase1_batch_size", "topk"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}: expected a number above 0, got {getattr(options, name)}")
    if options.glyph_labels_file is None and GLYPH_LABELS.exists():
        options.glyph_labels_file = GLYPH_LABELS
    if options.splits_dir is None:
        options.splits_dir = options.label_map.parent / "splits"
    _check_paths(options)
    return options


def _check_paths(options: argparse.Namespace) -> None:
    optional = ("config_yaml", "glyph_labels_file") if options.use_memmap_grids else ("config_yaml",)
    names = (*(MEMMAP if options.use_memmap_grids else REQUIRED[:1]), *NETS, *optional)
    paths = {name: path for name in names if (path := getattr(options, name)) is not None}
    if options.use_test_split:
        paths["splits_dir"] = options.splits_dir
    for name, path in paths.items():
        if not path.exists():
            raise MissingPathError(f"Missing required path: {name}={path}")


def build_parser(program: str | None = None) -> argparse.ArgumentParser:
    """Return the parser, whose help names the program, by default ``infer_chain.py``."""
    parser = argparse.ArgumentParser(
        prog=program or "infer_chain.py",
        description="Glyph rasters to ranked labels, in two phases. Where no net of your own is named, with the "
        "bundled one on OpenVINO, which needs no PyTorch.",
        allow_abbrev=False,
    )
    for name, text in zip(
        REQUIRED,
        (
            "folder of PNGs, 128x128; where all are named LABEL_ROW.png, --summary tells the accuracy",
            "checkpoint of Phase 1, .pt or .safetensors",
            "checkpoint of Phase 2",
            'JSON, {"label": index}',
            "characters by label",
        ),
        strict=True,
    ):
        parser.add_argument(f"--{name}", type=Path, metavar="PATH", help=text)
    add = parser.add_argument
    add("--arch", choices=("cnn", "transformer"), default="cnn", help="kind of Phase 2")
    add("--config_yaml", type=Path, metavar="PATH", help="architecture of Phase 2, over the checkpoint's own config")
    add("--baseline_phase2", action="store_true", help="Phase 2 has the light architecture")
    add("--limit", type=int, default=0, metavar="N", help="stop after N rasters; 0 or less: all of them")
    add("--all-classes", action="store_true", help="--limit counts the rasters of each label")
    add("--shuffle", action="store_true", help="in random order, before --limit cuts")
    add("--seed", type=int, default=42, help="of --shuffle (default: 42)")
    add("--use-test-split", action="store_true", help="only the ids in phase2_test_ids.txt of --splits-dir")
    add("--splits-dir", type=Path, metavar="PATH", help="(default: splits beside the label map)")
    add("--batch_size", type=int, default=32, metavar="N", help="grids in one Phase 2 of torch, or of --plain")
    add("--phase1_batch_size", type=int, default=256, metavar="N", help="cells in one Phase 1 of torch, or of --plain")
    add("--topk", type=int, default=5, metavar="K", help="labels a glyph (default: 5)")
    add("--output_json", type=Path, metavar="PATH", help="write a JSON line a glyph")
    add("--quiet", action="store_true", help="print no line a glyph")
    add("--show_grid", action="store_true", help="print the primitive ids of each glyph")
    add("--summary", action="store_true", help="print the accuracy")
    add("--use-memmap-grids", action="store_true", help="grids from a file in place of rasters")
    folder = Path("data/grids_memmap")
    add(
        "--memmap-grids-file", type=Path, default=folder / "grids_uint16.npy", metavar="PATH", help="raw uint16 or .npy"
    )
    add(
        "--memmap-row-ids-file", type=Path, default=folder / "glyph_row_ids.npy", metavar="PATH", help="ids of its rows"
    )
    add(
        "--glyph-labels-file", type=Path, metavar="PATH", help=f"labels by id (default: {GLYPH_LABELS}, if it is there)"
    )
    add("--plain", action="store_true", help="all 256 cells through Phase 1, one stage after another")
    add("--stages", action="store_true", help="print the seconds of each stage")
    add("--use-openvino", action="store_true", help="compute both phases with OpenVINO")
    add("--openvino-device", choices=("CPU", "GPU", "AUTO"), default="CPU", help="(default: CPU)")
    add("--openvino-precision", choices=("f32", "int8"), default="f32", help="of Phase 2 (default: f32)")
    add("--openvino-cache-dir", type=Path, default=Path("cache/openvino"), metavar="PATH", help="converted nets")
    add("--use-sequence-context", action="store_true", help=argparse.SUPPRESS)
    add("--context-window", type=int, help=argparse.SUPPRESS)
    return parser
