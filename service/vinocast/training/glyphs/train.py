"""From a folder of fonts to a trained chain, in stages that a second call finds done."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from collections import Counter
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from vinocast import __version__
from vinocast.errors import SetupError
from vinocast.export.glyphs.nets import Phase2Net
from vinocast.export.glyphs.package import convert_glyphs
from vinocast.training import checkpoint
from vinocast.training.glyphs.bundle import write_bundle
from vinocast.training.glyphs.classify import ClassifierLearner, rank
from vinocast.training.glyphs.fonts import belongs
from vinocast.training.glyphs.groups import find_groups
from vinocast.training.glyphs.measure import measure
from vinocast.training.glyphs.prepare import prepare_examples, prepare_primitives, prepare_split

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from vinocast.training.glyphs.charset import Character
    from vinocast.training.glyphs.classify import Examples
    from vinocast.training.glyphs.fonts import Face
    from vinocast.training.glyphs.prepare import Split
    from vinocast.training.glyphs.recipe import Recipe
    from vinocast.training.glyphs.split import HeldOut

PHASE2_FILE = "phase2.safetensors"
BUNDLE = "bundle"
# What the manifest says of the test split; metrics.json has the rest.
HEADLINES = ("top1_grouped", "top1", "top5", "macro_f1")
TOOLS = ("torch", "numpy", "scikit-learn", "pillow", "fonttools", "freetype-py", "uharfbuzz")
TOP = 5

log = logging.getLogger(__name__)


def train_chain(
    fonts: Path,
    output: Path,
    work: Path,
    held_out: HeldOut,
    recipe: Recipe,
    threads: int,
    workers: int,
    command: str | None = None,
) -> dict[str, Any]:
    """Train both phases on the families that are not held out, choose by validation's, measure on test's once.

    Writes a model folder that a service reads to ``output``, with ``command`` in its manifest, and everything between
    to ``work``, where a call that was interrupted goes on.

    Returns:
        What metrics.json holds.

    Raises:
        SetupError: a held-out family is missing, the fonts are too few, a file of ``work`` is another run's or cannot
            be read, or training diverged.
    """
    torch.set_num_threads(threads)
    try:
        work.mkdir(parents=True, exist_ok=True)
        corpus, split = prepare_split(fonts, work, held_out, recipe, workers)
        folder = work / _identity(split, recipe)
        folder.mkdir(exist_ok=True)
        phase1, centres, cells = prepare_primitives(corpus, split, folder, recipe)
        train, _ = prepare_examples(corpus, split.train, split.labels, phase1, training=True)
        validation, validated = prepare_examples(corpus, split.validation, split.labels, phase1, training=False)
        run = ClassifierLearner(recipe, len(split.labels), centres, train, validation)
        _train(run, folder / PHASE2_FILE)

        net = Phase2Net(run.net.architecture, len(split.labels)).eval()
        net.load_state_dict(run.best)
        log.info("looking for labels of one shape")
        groups = find_groups(split.labels, (corpus.load(face, training=True) for face in split.train))
        test, tested = prepare_examples(corpus, split.test, split.labels, phase1, training=False)
        metrics: dict[str, Any] = {
            "protocol": _protocol(split, held_out, train, groups),
            "validation": _figures(
                net, validation, _names(split.validation, validated, held_out.validation), split.labels, groups
            ),
            "test": _figures(net, test, _names(split.test, tested, held_out.test), split.labels, groups),
            "phase1": cells,
            "groups": _named_groups(split.labels, groups),
            "recipe": asdict(recipe),
            "history": [asdict(evaluation) for evaluation in run.progress.history],
            "tools": {"vinocast": __version__, "python": platform.python_version()} | {n: version(n) for n in TOOLS},
        }
        bundle = folder / BUNDLE
        write_bundle(bundle, phase1.state_dict(), run.best, run.net.architecture, split.labels, metrics)
        log.info("exporting to %s", output)
        convert_glyphs(
            bundle,
            output,
            metrics={name: metrics["test"][name] for name in HEADLINES},
            command=command,
            keep_source=True,
        )
    except OSError as error:
        raise SetupError(f"{error.filename or work}: {error.strerror or error}; name other folders") from error
    return metrics


def _identity(split: Split, recipe: Recipe) -> str:
    """Return the name of the folder of a run: whatever is another run has another."""
    return hashlib.sha256(f"{split.identity()}{json.dumps(asdict(recipe))}".encode()).hexdigest()[:16]


def _train(run: ClassifierLearner, path: Path) -> None:
    if path.exists():
        run.restore(*checkpoint.load(path))
        log.info("going on from step %d of %d", run.progress.step, run.recipe.steps)
    # disable=None: a bar where standard error is a terminal, and nothing else.
    with tqdm(total=run.recipe.steps, initial=run.progress.step, unit="step", desc="phase 2", disable=None) as bar:
        while not run.finished:
            run.advance()
            bar.update()
            if run.evaluation_is_due:
                evaluation = run.evaluate()
                checkpoint.save(path, *run.state())
                bar.set_postfix(loss=evaluation.loss, validation=evaluation.top1, best=run.progress.best.top1)
                if bar.disable:
                    log.info("step %(step)d: loss %(loss).4f, validation top-1 %(top1).4f", asdict(evaluation))


def _names(faces: Sequence[Face], owners: NDArray[np.int64], names: Sequence[str]) -> list[str]:
    """Return the name under which the family of each raster is held out."""
    held = [belongs(face.family, names) or face.family for face in faces]
    return [held[owner] for owner in owners.tolist()]


def _figures(
    net: Phase2Net,
    examples: Examples,
    families: Sequence[str],
    labels: Sequence[Character],
    groups: NDArray[np.int64],
) -> dict[str, Any]:
    return measure(rank(net, examples.grids, min(TOP, len(labels))), examples.labels, families, labels, groups)


def _protocol(split: Split, held_out: HeldOut, train: Examples, groups: NDArray[np.int64]) -> dict[str, Any]:
    def faces(of: Sequence[Face]) -> dict[str, list[str]]:
        families = sorted({face.family for face in of})
        return {family: [face.style for face in of if face.family == family] for family in families}

    return {
        "labels": len(split.labels),
        "labels_by_class": dict(Counter(label.char_class for label in split.labels)),
        "groups": len(np.unique(groups)),
        "labels_in_groups_of_several": int((np.bincount(groups, minlength=len(groups))[groups] > 1).sum()),
        "train_rasters": len(train.labels),
        "held_out": {"test": list(held_out.test), "validation": list(held_out.validation)},
        "unused": list(held_out.unused),
        "test_faces": faces(split.test),
        "validation_faces": faces(split.validation),
        "train_faces": faces(split.train),
        "dropped_as_relatives": split.relatives,
        "closest_trained": split.closest,
    }


def _named_groups(labels: Sequence[Character], groups: NDArray[np.int64]) -> list[list[str]]:
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    return [[labels[index].label for index in group.tolist()] for group in members if len(group) > 1]
