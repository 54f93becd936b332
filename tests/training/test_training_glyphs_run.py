"""What a run of ``vinocast train glyphs`` learns from, what it is measured by, and that it can be gone on with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from vinocast.export.glyphs.nets import Phase1Net
from vinocast.glyphs.cells import pack_cells, split_cells, unpack_cells
from vinocast.training import checkpoint
from vinocast.training.glyphs.charset import Character, candidates
from vinocast.training.glyphs.classify import ClassifierLearner, Examples, first_embedding, rate
from vinocast.training.glyphs.corpus import FaceRasters
from vinocast.training.glyphs.groups import find_groups, to_pixels
from vinocast.training.glyphs.measure import measure
from vinocast.training.glyphs.primitives import identify, nearest, to_grids
from vinocast.training.glyphs.recipe import Recipe


def character(codepoint: int) -> Character:
    return next(candidate for candidate in candidates() if candidate.codepoint == codepoint)


pytestmark = pytest.mark.usefixtures("one_thread")


def test_grids_hold_what_phase_1_says_and_0_where_a_cell_is_empty() -> None:
    torch.manual_seed(0)
    net = Phase1Net().eval()
    pixels = (np.random.default_rng(0).random((3, 128, 128)) < 0.02).astype(np.uint8)
    cells = pack_cells(split_cells(pixels))
    known = np.unique(cells[cells != 0])
    grids = to_grids(cells, known, identify(net, known))
    with torch.no_grad():
        expected = net(torch.from_numpy(unpack_cells(cells).astype(np.float32)).reshape(-1, 1, 8, 8)).argmax(1).numpy()
    assert (grids.reshape(-1) == np.where(cells.reshape(-1) == 0, 0, expected)).all()
    assert 0 < (cells == 0).sum() < cells.size

    centres = unpack_cells(known[:5]).astype(np.float32)
    assert nearest(np.append(known[:5], np.uint64(0)), centres).tolist() == [1, 2, 3, 4, 5, 0]


def test_labels_of_one_shape_are_grouped_by_the_majority_of_fonts() -> None:
    pictures = np.zeros((4, 128, 128), np.uint8)
    pictures[0, :100, :40] = pictures[1, :98, :43] = pictures[2, :100, :40] = pictures[3, :40, :100] = 1
    pictures[2, 110:120, 0:10] = 1  # a dot that the first has not
    cells = pack_cells(split_cells(pictures))
    codes = np.array([0x41, 0x42, 0x43, 0x44], np.int32)
    face = FaceRasters(codes, np.zeros(4, np.int16), cells)
    unlike = FaceRasters(codes, np.zeros(4, np.int16), cells[[0, 3, 2, 1]])
    labels = [character(int(code)) for code in codes]
    assert find_groups(labels, [face, face, unlike]).tolist() == [0, 0, 2, 3]
    assert find_groups(labels, [face, unlike, face, unlike]).tolist() == [0, 1, 2, 3]
    assert (to_pixels(cells) == pictures.astype(np.bool_)).all()


def test_measures_are_counted_by_label_group_class_and_family() -> None:
    labels = [character(code) for code in (0x41, 0x42, 0x31)]
    groups = np.array([0, 0, 2])
    ranked = np.array([[0, 1], [0, 1], [2, 0], [1, 2]])
    truth = np.array([0, 1, 2, 2])
    found = measure(ranked, truth, ["a", "a", "b", "b"], labels, groups)
    assert (found["top1"], found["top5"], found["top1_grouped"]) == (0.5, 1.0, 0.75)
    assert found["by_family"]["a"] == {"rasters": 2, "top1": 0.5, "top5": 1.0, "top1_grouped": 1.0, "top5_grouped": 1.0}
    assert found["by_class"]["latin"]["macro_f1"] == pytest.approx((2 / 3 + 0) / 2, abs=1e-6)
    assert found["by_class"]["latin_digit"]["macro_f1"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["by_class"]["latin"]["macro_f1_grouped"] == pytest.approx(4 / 5)
    assert found["confusions"] == [{"label": "49_latin_digit", "taken_for": "66_latin", "times": 1, "of": 2}]


def begin(seed: int = 0) -> ClassifierLearner:
    rng = np.random.default_rng(1)
    prototypes = rng.integers(0, 20, (6, 256))
    labels = np.arange(60) % 6
    examples = Examples(prototypes[labels].astype(np.uint16), labels)
    recipe = Recipe(seed=seed, variant="tiny", steps=8, batch=12, evaluate_every=4, bf16=False, learning_rate=3e-3)
    return ClassifierLearner(recipe, 6, rng.random((20, 64), np.float32), examples, examples)


def advance(run: ClassifierLearner, steps: int) -> ClassifierLearner:
    for _ in range(steps):
        run.advance()
        if run.evaluation_is_due:
            run.evaluate()
    return run


def test_a_run_that_goes_on_does_what_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole = advance(begin(), 8)
    checkpoint.save(tmp_path / "half", *advance(begin(), 4).state())
    resumed = begin()
    resumed.restore(*checkpoint.load(tmp_path / "half"))
    advance(resumed, 4)
    assert resumed.finished
    assert resumed.progress == whole.progress
    assert all(torch.equal(tensor, resumed.best[name]) for name, tensor in whole.best.items())
    other = advance(begin(seed=1), 8)
    assert not torch.equal(other.best["classifier.4.weight"], whole.best["classifier.4.weight"])


def test_training_learns_and_the_rate_rises_and_falls() -> None:
    run = begin()
    losses = [run.advance() for _ in range(8)]
    assert losses[-1] < losses[0]
    rates = [rate(Recipe(steps=100, warm_up=0.1, learning_rate=1.0), step) for step in range(100)]
    assert rates[0] == 0.1
    assert rates[9] == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[99] < 1e-3
    embedding = first_embedding(np.random.default_rng(0).random((1023, 64), np.float32), 48)
    assert embedding.shape == (1024, 48)
    assert embedding.std().item() == pytest.approx(1, abs=0.05)
