"""Train a forecaster and write it as a Hugging Face folder."""

from __future__ import annotations

import json
import logging
import platform
import shlex
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from tqdm import tqdm
from transformers import PatchTSTForPrediction
from transformers.utils.logging import disable_progress_bar

from vinocast import __version__
from vinocast.data.atomic import whole_file
from vinocast.data.regular import sha256_file
from vinocast.data.windows import windows
from vinocast.errors import SetupError
from vinocast.training import checkpoint
from vinocast.training.patchtst import MINIMUM_VARIANCE
from vinocast.training.regress import ForecasterLearner, validate
from vinocast.training.start import SCRATCH, Start, source_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vinocast.data.splits import Dataset, Split
    from vinocast.data.windows import Windows
    from vinocast.training.recipe import Recipe

CHECKPOINT_FILE = "checkpoint.safetensors"
RECORD_FILE = "training.json"
MODEL_FILE = "model.safetensors"
TOOLS = ("torch", "transformers", "safetensors", "numpy")

log = logging.getLogger(__name__)


def train_forecaster(
    data: Dataset,
    output: Path,
    recipe: Recipe,
    threads: int,
    teacher_models: Sequence[Path] = (),
    start: Start = SCRATCH,
) -> dict[str, Any]:
    """Train on the train rows, choose by the validation rows, and never look at the test rows.

    Writes to the folder ``output``: the best averaged weights as config.json and model.safetensors (float32), and
    training.json. After each validation it writes a checkpoint there, from which the same call goes on after an
    interruption; the end removes it. A call after the end trains nothing. Shows progress on standard error.

    ``teacher_models`` are the folders of earlier runs, for the recipe's teacher to consult. A model that training
    begins with is validated first, and stays the best until training beats it.

    Returns:
        What training.json holds: the command, the recipe, how far training went, the errors on validation in float32.

    Raises:
        SetupError: the folder holds another run or another model, the teacher cannot be read or is not asked for, a
            split has too few rows, or training diverged.
    """
    torch.set_num_threads(threads)
    disable_progress_bar()
    if teacher_models and not recipe.teacher:
        raise SetupError("--teacher-model is given, but --teacher takes no part of the loss from it")
    identity = {"data": data.identity, "recipe": asdict(recipe), **start.identity}
    teachers = [_read_teacher(folder, start) for folder in teacher_models]
    if teachers:
        identity["data"]["teacher_models_sha256"] = [sha256 for _, sha256 in teachers]
    try:
        output.mkdir(parents=True, exist_ok=True)
        finished = _finished(output, identity)
        if finished:
            return finished
        train = split_windows(data, "train", start)
        validation = split_windows(data, "validation", start, recipe.validation_stride)
        run = ForecasterLearner(recipe, train, validation, [model for model, _ in teachers], start)
        _resume(run, output / CHECKPOINT_FILE, identity)
        if start.weights is not None and not run.progress.history:
            run.begin()
        _train(run, output / CHECKPOINT_FILE, identity)
        record = {"command": _command(data, recipe, output, threads, teacher_models, start), **identity}
        record |= _write_model(run, output, data, validation, start)
        with whole_file(output / RECORD_FILE) as part:
            part.write_text(json.dumps(record, indent=2) + "\n")
        (output / CHECKPOINT_FILE).unlink()
    except (OSError, SafetensorError) as error:
        raise SetupError(f"{output} cannot be written: {error}; make room, or name another --output") from error
    return record


def split_windows(data: Dataset, split: Split, start: Start, stride: int = 1) -> Windows:
    """Return the windows of a split, or every ``stride``-th; raises SetupError where it holds none."""
    try:
        return windows(data.rows(split, start.context), start.context, start.horizon, stride)
    except SetupError as error:
        raise SetupError(
            f"{data.name}, {split} split: {error}; give it more rows, or begin with shorter windows"
        ) from error


def _read_teacher(folder: Path, start: Start) -> tuple[PatchTSTForPrediction, str]:
    """Return an earlier run's model, and the hash of its weights."""
    try:
        source = Path(source_folder(str(folder), folder.parent))
        model, sha256 = PatchTSTForPrediction.from_pretrained(source), sha256_file(source / MODEL_FILE)
    except (OSError, ValueError) as error:
        raise SetupError(f"{folder} is no model to learn from: {error}") from error
    if (model.config.context_length, model.config.prediction_length) != (start.context, start.horizon):
        raise SetupError(f"{folder} has windows of other lengths than {start.context} and {start.horizon}")
    return model, sha256


def _finished(output: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Return the record of the same run when it has ended; refuse a folder that holds another's result."""
    path = output / RECORD_FILE
    if path.exists():
        try:
            record: dict[str, Any] = json.loads(path.read_bytes())
            _compare(path, record, identity)
        except (ValueError, KeyError, TypeError) as error:
            raise SetupError(f"{path} cannot be read ({error}): name another folder with --output") from error
        log.info("%s holds the finished run", output)
        return record
    if (output / MODEL_FILE).exists() and not (output / CHECKPOINT_FILE).exists():
        raise SetupError(f"{output} holds a model from elsewhere: name another folder with --output")
    return None


def _resume(run: ForecasterLearner, path: Path, identity: dict[str, Any]) -> None:
    if not path.exists():
        return
    tensors, state = checkpoint.load(path, "identity", "progress")
    _compare(path, state["identity"], identity)
    run.restore(tensors, state["progress"])
    log.info("going on from step %d of %d", run.progress.step, run.recipe.steps)


def _compare(path: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    differences = [
        f"{name} {theirs['recipe'].get(name)}, not {value}"
        for name, value in ours["recipe"].items()
        if theirs["recipe"].get(name) != value
    ]
    differences += ["other data"] * (theirs["data"] != ours["data"])
    differences += ["another model to begin with"] * (theirs.get("init") != ours.get("init"))
    if differences:
        raise SetupError(f"{path} is of another run ({', '.join(differences)}): name another --output, or remove this")


def _train(run: ForecasterLearner, path: Path, identity: dict[str, Any]) -> None:
    # disable=None: a bar where standard error is a terminal, and nothing else.
    with tqdm(total=run.recipe.steps, initial=run.progress.step, unit="step", disable=None) as bar:
        while not run.finished:
            run.advance()
            bar.update()
            if run.evaluation_is_due:
                evaluation = run.evaluate()
                tensors, progress = run.state()
                checkpoint.save(path, tensors, {"identity": identity, "progress": progress})
                bar.set_postfix(loss=evaluation.loss, validation_mse=evaluation.mse, best=run.progress.best.mse)
                if bar.disable:
                    log.info(
                        "step %(step)d: loss %(loss).4f, validation MSE %(mse).4f, MAE %(mae).4f", asdict(evaluation)
                    )


def _write_model(
    run: ForecasterLearner, output: Path, data: Dataset, validation: Windows, start: Start
) -> dict[str, Any]:
    """Write the best weights and return how they came about and how they do."""
    run.averaged.load_state_dict(run.best)
    mse, mae = validate(run.averaged, validation, bf16=False)
    model = start.model(run.recipe, channels=len(data.columns)).eval()
    model.load_state_dict(run.best)
    # Trained on values of deviation 1, asked with those of the file: what the scaler adds to a variance stays as small
    # beside them. Never more than the model began with, which would blur series smaller than these.
    floor = MINIMUM_VARIANCE * float(np.square(data.deviation).min())
    if floor < start.floor:
        model.config.minimum_scale = floor
    model.save_pretrained(output)
    # safetensors makes files that nobody but their owner can read.
    (output / MODEL_FILE).chmod((output / "config.json").stat().st_mode)
    return {
        "steps": run.progress.step,
        "best": asdict(run.progress.best),
        "validation": {"windows": len(validation.pasts), "mse": mse, "mae": mae},
        "tools": {"vinocast": __version__, "python": platform.python_version()}
        | {name: version(name) for name in TOOLS},
        "history": [asdict(evaluation) for evaluation in run.progress.history],
    }


def _command(
    data: Dataset, recipe: Recipe, output: Path, threads: int, teacher_models: Sequence[Path], start: Start
) -> str:
    """Return the command with every option written out, so that it means the same whatever the defaults become."""
    words = ["vinocast", "train", "forecast", *data.options, "--output", output.name, "--threads", str(threads)]
    if start.weights is not None:
        words += ["--init", str(start.name)]
    else:
        words += ["--context-length", str(start.context), "--prediction-length", str(start.horizon)]
    for folder in teacher_models:
        words += ["--teacher-model", folder.name]
    for name, value in asdict(recipe).items():
        words += [f"--{name.replace('_', '-')}", str(value).lower()]
    return shlex.join(words)
