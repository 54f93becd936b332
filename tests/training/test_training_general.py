"""The general forecaster's training: its series, its architecture, its runs."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from vinocast.errors import SetupError
from vinocast.training import checkpoint
from vinocast.training.general import families, series, validation
from vinocast.training.general.graph import build_graph
from vinocast.training.general.learner import GeneralLearner, pinball
from vinocast.training.general.model import (
    CONTEXT,
    CURVE_FILE,
    HORIZON,
    QUANTILES,
    WEIGHTS_FILE,
    GeneralForecaster,
    monotone,
    standardise,
)
from vinocast.training.general.processes import Floats, Rng, cycles, walk, waveforms
from vinocast.training.general.recipe import GeneralRecipe
from vinocast.training.general.run import CHECKPOINT_FILE, train_general

# In f32: a CPU without bf16 takes ten times as long to compute in it.
SMALL = GeneralRecipe(steps=6, batch=8, warm_up=2, evaluate_every=3, bf16=False)


pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_batch_depends_on_seed_and_number_alone() -> None:
    past, future, weight = series.batch(3, 5, 64)
    again = series.batch(3, 5, 64)
    assert past.shape == (64, CONTEXT)
    assert future.shape == (64, HORIZON)
    assert past.dtype == future.dtype == np.float32
    assert np.isfinite(past).all()
    assert np.isfinite(future).all()
    assert np.array_equal(past, again[0])
    assert np.array_equal(future, again[1])
    assert np.array_equal(weight, again[2])
    assert weight.shape == (64, 1)
    assert 0 < weight.min() < weight.max() == 1
    for other in (series.batch(3, 6, 64), series.batch(4, 5, 64)):
        assert not np.array_equal(past, other[0])


@pytest.mark.parametrize("make", families.FAMILIES, ids=lambda make: make.__name__)
def test_a_family_makes_any_number_of_different_series(make: Callable[[Rng, int, int], Floats]) -> None:
    for n in (0, 1, 40):
        x = make(np.random.default_rng(n), n, 608)
        assert x.shape == (n, 608)
        assert np.isfinite(x).all()
    assert (x.std(1) > 0).mean() > 0.9
    assert len(np.unique(x.round(6), axis=0)) > 0.9 * len(x)  # lines are alike in units of their own


def correlation(x: Floats, lag: int) -> Floats:
    """Of each row with itself ``lag`` steps later."""
    centred = x - x.mean(1, keepdims=True)
    result: Floats = (centred[:, lag:] * centred[:, :-lag]).mean(1) / np.maximum(centred.var(1), 1e-9)
    return result


def test_calendars_repeat_after_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "DAYS", {96: 1})
    x = families.calendar(np.random.default_rng(1), 200, 608, noisy=False)
    by_day, by_night = correlation(x, 96), correlation(x, 48)
    assert np.median(by_day) > 0.6
    assert np.median(by_day - by_night) > 0.4


def test_walks_remember_and_counts_count() -> None:
    rng = np.random.default_rng(2)
    assert np.median(correlation(walk(rng, 100, 608), 1)) > 0.95
    counted = families.counts(rng, 100, 608)
    assert (counted >= 0).all()
    assert np.array_equal(counted, np.round(counted))
    rare = families.intermittent(rng, 200, 608)
    assert (rare >= 0).all()
    assert 0.5 < np.median((rare == 0).mean(1)) < 1


def test_volatility_is_positive_or_its_logarithm_and_stays() -> None:
    x = families.volatility(np.random.default_rng(3), 200, 608)
    positive = (x > 0).all(1)
    assert 0.4 < positive.mean() < 0.9
    assert np.median(correlation(x, 1)) > 0.1


def test_waveforms_are_read_at_phases_round_the_clock() -> None:
    table = waveforms(np.random.default_rng(4), 50)
    phase = np.arange(40)[None, :] / 10 + 0.37 + np.zeros((50, 1))
    x = cycles(table, phase)
    assert np.allclose(x[:, :10], x[:, 30:], atol=1e-4)
    assert np.allclose(table.std(1)[table.any(1)], 1, atol=1e-3)


def test_short_contexts_are_padded_and_gaps_are_lines() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((300, CONTEXT)).astype(np.float32)
    short = x.copy()
    weight = series.cut_short(rng, short, 1.0)
    start = (short[:, ::-1] != x[:, ::-1]).argmax(1)  # known points, counted from the newest
    start = np.where((short == x).all(1), CONTEXT, start)
    assert start.min() >= series.SHORTEST
    by_mean = 0
    for row, known in enumerate(start):
        padding = np.unique(short[row, : CONTEXT - known])
        assert len(padding) <= 1
        if len(padding):
            newest = x[row, CONTEXT - known :]
            by_mean += bool(np.isclose(padding[0], newest.mean(), atol=1e-4))
            if np.isclose(padding[0], newest.mean(), atol=1e-4):
                assert np.isclose(weight[row, 0], (known / CONTEXT) ** 0.5, rtol=1e-3)
            assert np.isclose(padding[0], newest.mean(), atol=1e-4) or padding[0] == newest[0]
    assert 0.55 < by_mean / 300 < 0.85
    holed = x.copy()
    series.with_gaps(rng, holed, 1.0)
    changed = holed != x
    assert changed.any(1).mean() > 0.9
    inside = changed[:, :-2] & changed[:, 1:-1] & changed[:, 2:]
    bends = np.abs(np.diff(holed, 2, axis=1))[inside]
    assert np.median(bends) < 1e-5


def test_validation_has_families_of_its_own_and_a_naive_that_is_no_joke() -> None:
    made, again = validation.families(), validation.families()
    names = {family.name for family in made}
    assert len(names) == len(made) >= 6
    assert not names & {make.__name__ for make in families.FAMILIES}
    for one, other in zip(made, again, strict=True):
        assert np.array_equal(one.past, other.past)
        assert np.isfinite(one.past).all()
        assert np.isfinite(one.future).all()
        assert 0.05 < one.naive < 1.3


def test_quantiles_never_cross_whatever_the_head_says() -> None:
    raw = torch.randn(50, HORIZON, len(QUANTILES)) * 30
    quantiles = monotone(raw)
    assert (quantiles.diff(dim=-1) >= 0).all()
    assert torch.equal(quantiles[..., 4], raw[..., 4])


def test_the_pinball_loss_is_the_error_of_a_median_and_least_at_the_quantile() -> None:
    target = torch.randn(4000, 1)
    constant = torch.zeros(4000, 1, len(QUANTILES))
    assert torch.allclose(pinball(constant, target)[..., 4], target.abs())
    right = torch.quantile(target, torch.tensor(QUANTILES)).expand(4000, 1, -1)
    assert pinball(right, target).mean() < pinball(right + 0.2, target).mean()
    assert pinball(right, target).mean() < pinball(right - 0.2, target).mean()


def test_the_model_is_small_and_one_series_does_not_see_another() -> None:
    torch.manual_seed(0)
    model = GeneralForecaster().eval()
    assert sum(parameter.numel() for parameter in model.parameters()) <= 1_000_000  # 4 MB of float32
    x = torch.randn(5, CONTEXT)
    with torch.no_grad():
        together, alone = model(x), model(x[2:3])
    assert together.shape == (5, HORIZON, len(QUANTILES))
    assert torch.allclose(together[2:3], alone, atol=1e-5)
    assert torch.isfinite(model(torch.full((1, CONTEXT), 1e30))).all()


def test_units_do_not_matter_and_a_constant_is_standardised() -> None:
    x = torch.randn(3, CONTEXT)
    standard, mean, deviation = standardise(x)
    other, _, _ = standardise(x * 250 - 1e4)
    assert torch.allclose(standard * deviation + mean, x, atol=1e-5)
    assert torch.allclose(standard, other, atol=2e-3)
    assert torch.equal(standardise(torch.full((1, CONTEXT), 4.0))[0], torch.zeros(1, CONTEXT))


def test_what_followed_the_likest_past_is_where_a_future_token_begins() -> None:
    model = GeneralForecaster().eval()
    analogs = model.analogs
    with torch.no_grad():
        analogs.match.weight.mul_(20)
    t = torch.arange(CONTEXT + HORIZON)
    for period in (13, 50, 97, 288):
        wave = torch.sin(2 * torch.pi * t / period) + 0.5 * torch.sin(4 * torch.pi * t / period + 1)
        with torch.no_grad():
            begun = analogs(wave[None, :CONTEXT].float())[0, :, 12:]
        assert (begun - wave[CONTEXT:]).abs().mean() < 0.15, period


def test_the_served_graph_computes_what_was_trained(rng: np.random.Generator) -> None:
    torch.manual_seed(0)
    model = GeneralForecaster().double()
    walks = rng.standard_normal((64, CONTEXT)).cumsum(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * parameter.std() * torch.randn_like(parameter))
        model(standardise(torch.from_numpy(walks))[0])  # its norms have statistics of their own then
        model.eval()
        standard, mean, deviation = standardise(torch.from_numpy(walks[:5]))
        expected = model(standard).numpy()
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    compiled = ov.Core().compile_model(build_graph(weights), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    served = compiled(walks[:5].astype(np.float32))[0]
    assert np.abs((served - mean.numpy()[..., None]) / deviation.numpy()[..., None] - expected).max() < 1e-4
    assert np.ptp(expected) > 0.5


@pytest.mark.slow
def test_steps_on_one_batch_reduce_its_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    made = series.batch(0, 0, 16)
    monkeypatch.setattr(series, "batch", lambda *_: made)
    run = GeneralLearner(GeneralRecipe(steps=100, batch=16, warm_up=3, bf16=False))
    losses = [run.advance() for _ in range(10)]
    assert losses[-1] < 0.85 * losses[0]


@pytest.mark.slow
def test_a_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    curve = train_general(whole, SMALL, 1)
    stopped = GeneralLearner(SMALL)
    for _ in range(3):
        stopped.advance()
    stopped.evaluate()
    tensors, progress = stopped.state()
    parts.mkdir()
    state = checkpoint.load(whole / CHECKPOINT_FILE)[1]
    checkpoint.save(parts / CHECKPOINT_FILE, tensors, state | {"progress": progress})
    assert train_general(parts, SMALL, 1)["history"] == curve["history"]
    ours, theirs = (checkpoint.load(folder / WEIGHTS_FILE) for folder in (whole, parts))
    assert ours[1] == theirs[1] == {"step": 6, "recipe": state["recipe"]}
    assert all(torch.equal(tensor, theirs[0][name]) for name, tensor in ours[0].items())
    assert (whole / WEIGHTS_FILE).stat().st_size < 4_000_000
    assert json.loads((whole / CURVE_FILE).read_bytes())["step"] == 6
    with pytest.raises(SetupError, match="seed 0, not 1"):
        train_general(whole, GeneralRecipe(seed=1, steps=6, batch=8, warm_up=2, evaluate_every=3, bf16=False), 1)


def test_a_run_begins_with_the_weights_and_the_step_of_another(tmp_path: Path) -> None:
    train_general(tmp_path / "first", SMALL, 1, hours=1e-9)
    weights, state = checkpoint.load(tmp_path / "first" / WEIGHTS_FILE)
    given = tmp_path / "given.safetensors"
    checkpoint.save(given, {name: tensor + 1 for name, tensor in weights.items()}, state | {"step": 4})
    train_general(tmp_path / "second", SMALL, 1, start=given, hours=1e-9)
    taken, state = checkpoint.load(tmp_path / "second" / WEIGHTS_FILE)
    assert state["step"] == 4
    assert all(torch.equal(tensor, weights[name] + 1) for name, tensor in taken.items())
    curve = train_general(tmp_path / "third", SMALL, 1, start=given)
    assert curve["step"] == 6
    assert [evaluation["step"] for evaluation in curve["history"]] == [6]
    longer = GeneralRecipe(steps=9, batch=8, warm_up=2, evaluate_every=3, bf16=False)
    curve = train_general(tmp_path / "later", longer, 1, start=tmp_path / "third" / WEIGHTS_FILE)
    assert [evaluation["step"] for evaluation in curve["history"]] == [6, 9]
    checkpoint.save(given, {"strange": torch.ones(1)}, state)
    with pytest.raises(SetupError, match="holds no weights of a general forecaster"):
        train_general(tmp_path / "fourth", SMALL, 1, start=given)


def test_the_checkpoint_of_another_kind_of_training_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / CHECKPOINT_FILE, {"weights.a": torch.ones(1)}, {"identity": {}, "progress": {}})
    with pytest.raises(SetupError, match="is of another kind of training: name another --output"):
        train_general(tmp_path, SMALL, 1)


def test_a_run_whose_end_cannot_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(SetupError, match=r"No space left on device.*make room, or name another --output"):
        train_general(tmp_path, SMALL, 1, hours=1e-9)


def test_a_new_optimizer_warms_up_within_the_schedule() -> None:
    recipe = GeneralRecipe(steps=1000, warm_up=10, learning_rate=1.0)
    run = GeneralLearner(recipe)
    assert run.rates(0)[0] == pytest.approx(0.1)
    assert run.rates(500)[0] == pytest.approx(0.505)
    run.begin_at(run.best, 500)
    assert run.rates(500)[0] == pytest.approx(0.0505)
    assert run.rates(1000)[0] == pytest.approx(0.01)


@pytest.mark.slow
def test_the_command_writes_a_checkpoint_when_it_is_terminated(tmp_path: Path) -> None:
    options = ["--batch", "8", "--evaluate-every", "2", "--warm-up", "2", "--threads", "1", "--bf16", "false"]
    command = [sys.executable, "-m", "vinocast", "train", "general", "--output", str(tmp_path / "run"), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:  # until the first evaluation is said
            if "step 2 of" in line:
                break
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0
    _, state = checkpoint.load(tmp_path / "run" / CHECKPOINT_FILE)
    reached = state["progress"]["step"]
    assert reached >= 2
    assert f"step {reached} of 12000, validation WQL" in out
    done = subprocess.run([*command, "--hours", "1e-9"], capture_output=True, text=True, timeout=120, check=False)
    assert f"going on from step {reached}" in done.stderr
