"""The program itself: from its command line to its exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import IO, TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from service.errors import SetupError
from service.glyphs.chain import GlyphChain
from service.glyphs.labels import Labels, read_labels
from service.infer_chain import inputs
from service.infer_chain import options as command_line
from service.infer_chain.nets import Nets, load_nets
from service.infer_chain.pipeline import Pipeline, read_rasters
from service.infer_chain.report import Report, Skipped, Stages, say, tell

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from service.glyphs.chain import Phase1

# Rasters by which int8 is calibrated.
CALIBRATION = 256


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return 0 when anything was recognised, 2 for a path that is not there, else 1."""
    try:
        return _run(command_line.parse(arguments))
    except command_line.MissingPathError as error:
        tell(f"[error] {error}")
        return 2
    except BrokenPipeError:
        # Whoever reads has seen enough; Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (SetupError, OSError) as error:
        tell(f"[error] {error}")
        return 1


def _run(options: argparse.Namespace) -> int:
    skipped, stages = Skipped(), Stages()
    labels = read_labels(options.label_map, options.chars_csv)
    index = {name: position for position, name in enumerate(labels.names)}
    stored: NDArray[np.uint16] | None = None
    if options.use_memmap_grids:
        glyphs, stored = inputs.find_grids(options, index, skipped)
    else:
        glyphs = inputs.find_rasters(options, index, skipped)

    def calibration(phase1: Phase1) -> NDArray[np.uint16]:
        first = glyphs[:CALIBRATION]
        if stored is not None:
            return np.asarray(stored[[glyph.row for glyph in first]])
        return GlyphChain(phase1, _no_phase2).grids(read_rasters(options.rasters_dir, first).rasters)

    if not glyphs:
        skipped.say()
        source = options.rasters_dir if stored is None else options.memmap_grids_file
        raise SetupError(f"nothing to recognise in {source}")
    nets = load_nets(options, calibration)
    _check_labels(nets, labels, options)
    say(
        f"[INFO] Starting inference | rasters={len(glyphs)} | device={nets.device} | "
        f"phase1_params={nets.parameters[0]} | phase2_params={nets.parameters[1]}"
    )
    with _output(options.output_json) as output:
        report = Report(labels, options.topk, output, quiet=options.quiet, show_grid=options.show_grid)
        pipeline = Pipeline(nets, report.ranks, options.batch_size, skipped, stages, plain=options.plain)
        start = time.perf_counter()
        batches = pipeline.rasters(options.rasters_dir, glyphs) if stored is None else pipeline.grids(stored, glyphs)
        with tqdm(total=len(glyphs), unit="glyph", disable=None, leave=False) as progress:
            for batch in batches:
                with stages.measure("write"):
                    report.add(batch.glyphs, batch.ranking, batch.grids)
                progress.update(len(batch.glyphs))
        if output:
            output.flush()
        seconds = time.perf_counter() - start
    skipped.say()
    count = report.samples
    say(f"[TIMING] Inference time: {seconds:.3f}s for {count} glyphs ({seconds * 1e3 / max(count, 1):.2f}ms per glyph)")
    if options.stages:
        say(f"[STAGES] {stages}")
    if options.summary:
        say(report.summary())
    if not count:
        raise SetupError("nothing could be recognised: see the messages above")
    say("[DONE] Inference complete.")
    return 0


def _no_phase2(grids: NDArray[np.int64]) -> NDArray[np.float32]:
    raise AssertionError(f"{len(grids)} grids to rank while calibrating")


def _check_labels(nets: Nets, labels: Labels, options: argparse.Namespace) -> None:
    """Compare the labels with the net's; raises SetupError where their numbers differ."""
    if nets.labels != len(labels):
        raise SetupError(
            f"{options.phase2_ckpt}: classifier.4 has {nets.labels} labels, {options.label_map} has {len(labels)}"
        )
    if nets.label_map is not None and len(nets.label_map) != len(labels):
        tell(
            f"[WARN] {options.phase2_ckpt}: its label_map has {len(nets.label_map)} labels; {options.label_map} is used"
        )
    elif nets.label_map is not None and nets.label_map != labels.names:
        other = next(n for n, (a, b) in enumerate(zip(nets.label_map, labels.names, strict=False)) if a != b)
        tell(
            f"[WARN] {options.phase2_ckpt} was trained with another label map than {options.label_map}, which is used: "
            f"index {other} is {nets.label_map[other]!r} there and {labels.names[other]!r} here"
        )
    if labels.unlisted:
        some = ", ".join(labels.unlisted[:5])
        rest = f"{len(labels.unlisted)} in all; the code point of each is taken as its base"
        tell(f"[WARN] {options.chars_csv} has no row of {some}: {rest}")


@contextlib.contextmanager
def _output(path: Path | None) -> Iterator[IO[bytes] | None]:
    if path is None:
        yield None
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("wb")
    except OSError as error:
        raise SetupError(f"--output_json {path}: {error.strerror}") from error
    with file:
        yield file
