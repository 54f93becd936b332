"""Runs of the general forecaster's training, hours long, in parts."""

from __future__ import annotations

import json
import logging
import signal
import time
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import safetensors
import torch
from safetensors import SafetensorError
from tqdm import tqdm

from vinocast.data.atomic import whole_file
from vinocast.errors import SetupError
from vinocast.training import checkpoint
from vinocast.training.general.learner import GeneralEvaluation, GeneralLearner
from vinocast.training.general.model import CURVE_FILE, WEIGHTS_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from vinocast.training.general.recipe import GeneralRecipe

# All that a run needs to go on as if it had not stopped; removed by nobody, since a run may be given more hours.
CHECKPOINT_FILE = "checkpoint.safetensors"
# Seconds between checkpoints.
CHECKPOINT_EVERY = 180.0

log = logging.getLogger(__name__)


def train_general(
    output: Path, recipe: GeneralRecipe, threads: int, start: Path | None = None, hours: float | None = None
) -> dict[str, Any]:
    """Train on synthetic series until the schedule ends, the hours are over, or SIGTERM or SIGINT asks for an end.

    Writes to the folder ``output``, every few minutes and at the end: checkpoint.safetensors, from which the same call
    goes on; weights.safetensors, the averaged weights, which ``start`` of another run may name (its optimizer begins
    anew, its curve goes on); curve.json, the recipe and every evaluation. Shows progress on standard error.

    Returns:
        What curve.json holds.

    Raises:
        SetupError: the folder holds another run, ``start`` cannot be read, or training diverged.
    """
    torch.set_num_threads(threads)
    try:
        output.mkdir(parents=True, exist_ok=True)
        run = GeneralLearner(recipe)
        path = output / CHECKPOINT_FILE
        if path.exists():
            tensors, state = checkpoint.load(path, "recipe", "progress")
            _compare(path, state["recipe"], asdict(recipe))
            run.restore(tensors, state["progress"])
            log.info("going on from step %d of %d", run.progress.step, recipe.steps)
        elif start is not None:
            weights, state = checkpoint.load(start)
            _begin(run, start, weights, state)
        deadline = time.monotonic() + hours * 3600 if hours is not None else float("inf")
        with _ends_asked_for() as asked:
            _train(run, output, lambda: asked() or time.monotonic() > deadline)
        return _save(run, output)
    except (OSError, SafetensorError) as error:
        raise SetupError(f"{output} cannot be written: {error}; make room, or name another --output") from error


def _begin(run: GeneralLearner, start: Path, weights: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
    """Begin where an earlier part ended; its curve goes on where it lies beside its weights."""
    try:
        run.begin_at(weights, int(state["step"]))
        earlier = start.with_name(CURVE_FILE)
        if earlier.exists():
            history = json.loads(earlier.read_bytes())["history"]
            before = (GeneralEvaluation(**entry) for entry in history)
            run.progress.history = [evaluation for evaluation in before if evaluation.step <= run.progress.step]
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise SetupError(f"{start} holds no weights of a general forecaster: {error}") from error
    log.info("beginning at step %d of %d, with the weights of %s", run.progress.step, run.recipe.steps, start)


def _compare(path: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    differences = [
        f"{name} {theirs.get(name)}, not {value}" for name, value in ours.items() if theirs.get(name) != value
    ]
    if differences:
        raise SetupError(f"{path} is of another run ({', '.join(differences)}): name another --output, or remove this")


def _train(run: GeneralLearner, output: Path, ended: Callable[[], bool]) -> None:
    saved = time.monotonic()
    # disable=None: a bar where standard error is a terminal, and lines of the log elsewhere.
    with tqdm(total=run.recipe.steps, initial=run.progress.step, unit="step", disable=None) as bar:
        first, began = run.progress.step, time.monotonic()
        while not (run.finished or ended()):
            run.advance()
            bar.update()
            if run.evaluation_is_due:
                evaluation = run.evaluate()
                bar.set_postfix(loss=evaluation.loss, wql=evaluation.wql, mae=evaluation.mae)
                if bar.disable:
                    pace = (time.monotonic() - began) / (run.progress.step - first)
                    log.info(
                        "step %d of %d: loss %.4f, validation WQL %.4f, MAE %.4f of the naive's; %.1f hours remain",
                        *(run.progress.step, run.recipe.steps, evaluation.loss, evaluation.wql, evaluation.mae),
                        pace * (run.recipe.steps - run.progress.step) / 3600,
                    )
            if time.monotonic() - saved > CHECKPOINT_EVERY:
                _save(run, output)
                saved = time.monotonic()


def _save(run: GeneralLearner, output: Path) -> dict[str, Any]:
    """Write the checkpoint, the averaged weights and the curve, each as a whole."""
    recipe = asdict(run.recipe)
    if run.began:
        tensors, progress = run.state()
        checkpoint.save(output / CHECKPOINT_FILE, tensors, {"recipe": recipe, "progress": progress})
    weights = {name: tensor.contiguous() for name, tensor in run.averaged.state_dict().items()}
    checkpoint.save(output / WEIGHTS_FILE, weights, {"step": run.progress.step, "recipe": recipe})
    curve = {
        "recipe": recipe,
        "step": run.progress.step,
        "tools": {"torch": torch.__version__, "safetensors": safetensors.__version__},
        "history": [asdict(evaluation) for evaluation in run.progress.history],
    }
    with whole_file(output / CURVE_FILE) as part:
        part.write_text(json.dumps(curve) + "\n")
    return curve


@contextmanager
def _ends_asked_for() -> Iterator[Callable[[], bool]]:
    """Within, SIGTERM and SIGINT ask for an end after the step that is under way."""
    asked: list[int] = []
    before = {number: signal.signal(number, lambda number, _: asked.append(number)) for number in _ENDS}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_ENDS = (signal.SIGTERM, signal.SIGINT)
