"""The program itself: from its command line to its exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from typing import IO, TYPE_CHECKING

import click
import numpy as np

from vinocast.errors import SetupError
from vinocast.glyphs.chain import GlyphChain
from vinocast.glyphs.labels import Labels, check_same_labels, read_labels
from vinocast.process.standard_streams import abandon_output, settle_streams
from vinocast.recognition import inputs
from vinocast.recognition.nets import Nets, load_nets
from vinocast.recognition.options import MissingPathError, Options, parse
from vinocast.recognition.pipeline import Pipeline, read_rasters
from vinocast.recognition.results import ResultWriter, Stages
from vinocast.recognition.said import Counted, say, tell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from vinocast.glyphs.chain import Phase1

# Rasters by which int8 is calibrated.
CALIBRATION = 256
# Kinds of suspicion that say that colours are not as expected, each of which makes answers worthless.
COLOURS = ("blank", "faint", "inverted")


def main(arguments: list[str] | None = None, program: str | None = None) -> int:
    """Run the program; return 0 when anything was recognised, 2 for a path that is not there, else 1."""
    settle_streams()
    try:
        return _run(parse(arguments, program))
    except MissingPathError as error:
        tell(f"[error] {error}")
        return 2
    except BrokenPipeError:
        # Whoever reads has seen enough.
        abandon_output()
        return 1
    except (SetupError, OSError) as error:
        abandon_output()
        tell(f"[error] {error}")
        return 1


def _run(options: Options) -> int:
    skipped, doubted = Counted("skipped"), Counted("recognised, but it looks wrong")
    stages = Stages()
    labels = read_labels(options.label_map, options.chars_csv)
    stored: NDArray[np.uint16] | None = None
    if options.use_memmap_grids:
        glyphs, stored = inputs.find_grids(options, set(labels.names), skipped)
    else:
        glyphs = inputs.find_rasters(options, set(labels.names), skipped)

    def calibration(phase1: Phase1) -> NDArray[np.uint16]:
        first = glyphs[:CALIBRATION]
        if stored is not None:
            return np.asarray(stored[[glyph.row for glyph in first]])
        return GlyphChain(phase1, _no_phase2).grids(read_rasters(options.rasters_dir, first).rasters)

    if not glyphs:
        skipped.say()
        source = options.rasters_dir if stored is None else options.memmap_grids_file
        raise SetupError(f"nothing to recognise in {source}")
    with _output(options.output_json) as output:
        nets = load_nets(options, calibration)
        _check_labels(nets, labels, options)
        say(
            f"[INFO] Starting inference | rasters={len(glyphs)} | device={nets.device} | "
            f"phase1_params={nets.parameters[0]} | phase2_params={nets.parameters[1]}"
        )
        writer = ResultWriter(labels, options.topk, output, quiet=options.quiet, show_grid=options.show_grid)
        pipeline = Pipeline(nets, writer.ranks, options.batch_size, skipped, doubted, stages, plain=options.plain)
        start = time.perf_counter()
        batches = pipeline.rasters(options.rasters_dir, glyphs) if stored is None else pipeline.grids(stored, glyphs)
        # A line per glyph shows how far it is; without them, and where somebody looks, a bar does.
        hidden = not (options.quiet and sys.stderr and sys.stderr.isatty())
        with click.progressbar(length=len(glyphs), file=sys.stderr, hidden=hidden) as progress:
            for batch in batches:
                with stages.measure("write"):
                    writer.add(batch.glyphs, batch.ranking, batch.grids)
                progress.update(len(batch.glyphs))
        writer.flush()
        seconds = time.perf_counter() - start
    skipped.say()
    count = writer.recognised
    _say_doubts(doubted, count)
    say(f"[TIMING] Inference time: {seconds:.3f}s for {count} glyphs ({seconds * 1e3 / max(count, 1):.2f}ms per glyph)")
    if options.stages:
        say(f"[STAGES] {stages}")
    if options.summary:
        say(writer.summary())
    if not count:
        raise SetupError("nothing could be recognised: see the messages above")
    say("[DONE] Inference complete.")
    return 0


def _no_phase2(grids: NDArray[np.int64]) -> NDArray[np.float32]:
    raise AssertionError(f"{len(grids)} grids to rank while calibrating")


def _say_doubts(doubted: Counted, count: int) -> None:
    doubted.say()
    wrong = sum(doubted.counts[kind] for kind in COLOURS)
    if 2 * wrong > count:
        tell(
            f"[WARN] {wrong} of {count} are blank or mostly ink: answers are right for white ink (255, or 1 in a mask "
            "of 0 and 1) on black alone; are yours black on white?"
        )


def _check_labels(nets: Nets, labels: Labels, options: Options) -> None:
    """Compare the labels with the net's; raises SetupError where they differ."""
    checkpoint = options.phase2_ckpt or options.label_map.parent
    check_same_labels(nets.label_map, nets.labels, labels.names, checkpoint, options.label_map)
    if nets.label_map is not None and len(nets.label_map) != len(labels):
        tell(
            f"[WARN] {checkpoint}: its label_map has {len(nets.label_map)} labels and its net {nets.labels}; "
            f"{options.label_map} is used"
        )
    if labels.unlisted:
        some = ", ".join(labels.unlisted[:5])
        rest = f"{len(labels.unlisted)} in all; the code point of each, if it has one, is taken as its base"
        tell(f"[WARN] {options.chars_csv} has no row of {some}: {rest}")


@contextlib.contextmanager
def _output(path: Path | None) -> Iterator[IO[bytes] | None]:
    """Open the file of the answers, before the work that would be lost; what it held goes when there is more."""
    if path is None:
        yield None
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not waiting for somebody to read, where it is a pipe.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        reason = "a pipe that nobody reads" if error.errno == errno.ENXIO else error.strerror
        raise SetupError(f"--output_json {path}: {reason}") from error
    os.set_blocking(descriptor, True)
    file = os.fdopen(descriptor, "ab")
    try:
        yield file
    except BaseException:
        # What could not be written would be tried again, and its error would take the place of this one.
        with contextlib.suppress(OSError):
            file.close()
        raise
    file.close()
