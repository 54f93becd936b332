"""The command line of ``vinocast infer-chain``, names and defaults as its users know them."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import click

from vinocast.data.bundled import BUNDLED_GLYPHS, bundled_models
from vinocast.errors import SetupError
from vinocast.glyphs.manifest import CHARS_FILE, LABEL_MAP_FILE

NETS = ("phase1_ckpt", "phase2_ckpt", "label_map", "chars_csv")
MEMMAP = ("memmap_grids_file", "memmap_row_ids_file")
MEMMAP_FOLDER = Path("data/grids_memmap")
GLYPH_LABELS = MEMMAP_FOLDER / "glyph_labels.jsonl"
NO_TRANSFORMER = "there is no transformer here, and no context of neighbouring glyphs: --arch cnn judges each by itself"


class MissingPathError(SetupError):
    """A file or folder named on the command line is not there; exit code 2."""


def _option(name: str, text: str = "", **attributes: Any) -> Any:
    """Declare a field with its option."""
    return dataclasses.field(metadata={"option": click.Option([name], help=text, **attributes)})


def _flag(name: str, text: str = "", **attributes: Any) -> Any:
    return _option(name, text, is_flag=True, **attributes)


def _path(name: str, text: str, **attributes: Any) -> Any:
    # Not click's own type, which refuses files that may be written and not read.
    return _option(name, text, type=Path, metavar="PATH", **attributes)


def _number(name: str, default: int | None, text: str = "", metavar: str = "N", **attributes: Any) -> Any:
    return _option(name, text, type=int, default=default, metavar=metavar, **attributes)


@dataclasses.dataclass(frozen=True)
class Options:
    """What a run is asked for; each field is an option.

    A run over grids has no ``rasters_dir`` but the current folder, of which it reads nothing.
    """

    rasters_dir: Path = _path(
        "--rasters_dir", "folder of PNGs, 128x128; where all are named LABEL_ROW.png, --summary tells the accuracy"
    )
    phase1_ckpt: Path | None = _path("--phase1_ckpt", "checkpoint of Phase 1, .pt or .safetensors")
    phase2_ckpt: Path | None = _path("--phase2_ckpt", "checkpoint of Phase 2")
    label_map: Path = _path("--label_map", 'JSON, {"label": index}')
    chars_csv: Path = _path("--chars_csv", "characters by label")
    arch: str = _option("--arch", "kind of Phase 2", type=click.Choice(["cnn", "transformer"]), default="cnn")
    config_yaml: Path | None = _path("--config_yaml", "architecture of Phase 2, over the checkpoint's own config")
    baseline_phase2: bool = _flag("--baseline_phase2", "Phase 2 has the light architecture")
    limit: int = _number("--limit", 0, "stop after N rasters; 0 or less: all of them")
    all_classes: bool = _flag("--all-classes", "--limit counts the rasters of each label")
    shuffle: bool = _flag("--shuffle", "in random order, before --limit cuts")
    seed: int = _number("--seed", 42, "of --shuffle", "SEED")
    use_test_split: bool = _flag("--use-test-split", "only the ids in phase2_test_ids.txt of --splits-dir")
    splits_dir: Path = _path("--splits-dir", "folder of that file", show_default="splits beside the label map")
    batch_size: int = _number("--batch_size", 32, "grids in one Phase 2 of torch, or of --plain")
    phase1_batch_size: int = _number("--phase1_batch_size", 256, "cells in one Phase 1 of torch, or of --plain")
    topk: int = _number("--topk", 5, "labels for each glyph", "K")
    output_json: Path | None = _path("--output_json", "write one JSON line for each glyph")
    quiet: bool = _flag("--quiet", "print no line for each glyph")
    show_grid: bool = _flag("--show_grid", "print the primitive ids of each glyph")
    summary: bool = _flag("--summary", "print the accuracy")
    use_memmap_grids: bool = _flag("--use-memmap-grids", "grids from a file in place of rasters")
    memmap_grids_file: Path = _path(
        "--memmap-grids-file", "raw uint16 or .npy", default=MEMMAP_FOLDER / "grids_uint16.npy"
    )
    memmap_row_ids_file: Path = _path(
        "--memmap-row-ids-file", "ids of its rows", default=MEMMAP_FOLDER / "glyph_row_ids.npy"
    )
    glyph_labels_file: Path | None = _path(
        "--glyph-labels-file", "labels by id", show_default=f"{GLYPH_LABELS}, if it is there"
    )
    plain: bool = _flag("--plain", "all 256 cells through Phase 1, one stage after another")
    stages: bool = _flag("--stages", "print the seconds of each stage")
    use_openvino: bool = _flag("--use-openvino", "compute both phases with OpenVINO")
    openvino_device: str = _option(
        "--openvino-device", "what computes", type=click.Choice(["CPU", "GPU", "AUTO"]), default="CPU"
    )
    openvino_precision: str = _option(
        "--openvino-precision", "of Phase 2", type=click.Choice(["f32", "int8"]), default="f32"
    )
    openvino_cache_dir: Path = _path("--openvino-cache-dir", "converted nets", default=Path("cache/openvino"))
    use_sequence_context: bool = _flag("--use-sequence-context", hidden=True)
    context_window: int | None = _number("--context-window", None, hidden=True)

    @property
    def checkpoints(self) -> tuple[Path, Path] | None:
        """Those of Phase 1 and Phase 2; None where the nets are the bundled ones, which are for OpenVINO alone."""
        if self.phase1_ckpt is None or self.phase2_ckpt is None:
            return None
        return self.phase1_ckpt, self.phase2_ckpt


class _Command(click.Command):
    """Has the headings of its help page in small letters, as users of the script know them."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, " ".join(self.collect_usage_pieces(ctx)), "usage: ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = (parameter.get_help_record(ctx) for parameter in self.get_params(ctx))
        with formatter.section("options"):
            formatter.write_dl([record for record in records if record])


COMMAND = _Command(
    "infer_chain.py",
    params=[field.metadata["option"] for field in dataclasses.fields(Options)],
    help="Glyph rasters to ranked labels, in two phases. Where no net of your own is named, with the bundled one on "
    "OpenVINO, which needs no PyTorch.",
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)


def parse(arguments: list[str] | None = None, program: str | None = None) -> Options:
    """Parse and check; raises MissingPathError, and ends the process with code 2 for wrong usage.

    Where no nets are named, those that come along are meant. ``program`` is its name, by default ``infer_chain.py``.
    """
    try:
        words = sys.argv[1:] if arguments is None else list(arguments)
        context = COMMAND.make_context(program or COMMAND.name, words)
        return _settle(context, **context.params)
    except click.UsageError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as end:  # of a help page
        sys.exit(end.exit_code)


def _settle(context: click.Context, **values: Any) -> Options:
    """Check what was asked for, and choose what was not."""
    if values["arch"] == "transformer" or values["use_sequence_context"] or values["context_window"] is not None:
        context.fail(NO_TRANSFORMER)
    if values["rasters_dir"] is None:
        if not values["use_memmap_grids"]:
            context.fail("the following arguments are required: --rasters_dir, or --use-memmap-grids")
        values["rasters_dir"] = Path()
    missing = [name for name in NETS if values[name] is None]
    if len(missing) == len(NETS):
        if values["config_yaml"] is not None or values["baseline_phase2"]:
            context.fail("--config_yaml and --baseline_phase2 are for a --phase2_ckpt of your own")
        folder = bundled_models() / BUNDLED_GLYPHS
        values |= {"label_map": folder / LABEL_MAP_FILE, "chars_csv": folder / CHARS_FILE, "use_openvino": True}
    elif missing:
        names = ", ".join(f"--{name}" for name in missing)
        context.fail(f"the following arguments are required: {names}; or name no net, for the bundled one")
    if values["openvino_precision"] == "int8" and not values["use_openvino"]:
        context.fail("--openvino-precision int8 needs --use-openvino")
    for name in ("batch_size", "phase1_batch_size", "topk"):
        if values[name] < 1:
            context.fail(f"--{name}: expected a number above 0, got {values[name]}")
    if values["glyph_labels_file"] is None and GLYPH_LABELS.exists():
        values["glyph_labels_file"] = GLYPH_LABELS
    if values["splits_dir"] is None:
        values["splits_dir"] = values["label_map"].parent / "splits"
    _check_paths(values)
    return Options(**values)


def _check_paths(values: dict[str, Any]) -> None:
    names = [*(MEMMAP if values["use_memmap_grids"] else ("rasters_dir",)), *NETS, "config_yaml"]
    names += ["glyph_labels_file"] * values["use_memmap_grids"] + ["splits_dir"] * values["use_test_split"]
    for name in names:
        if values[name] is not None and not values[name].exists():
            raise MissingPathError(f"Missing required path: {name}={values[name]}")
