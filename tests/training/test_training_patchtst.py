"""The training forward is transformers' own model, computed in less time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import PatchTSTForPrediction
from vinocast.training.patchtst import Dropout, forward, new_model, standardise
from vinocast.training.recipe import Recipe


@pytest.fixture
def model() -> PatchTSTForPrediction:
    """A model whose every weight and statistic matters."""
    model = new_model(Recipe(), channels=7).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            elif tensor.is_floating_point():
                tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.05)
    return model


def test_in_eval_mode_it_is_the_model_of_transformers(model: PatchTSTForPrediction) -> None:
    windows = 50 * torch.randn(3, 512, 7, generator=torch.Generator().manual_seed(2)).cumsum(1) + 1000
    with torch.no_grad():
        expected = model(past_values=windows).prediction_outputs
        series, mean, deviation = standardise(windows.transpose(1, 2).flatten(0, 1))
        forecast = forward(model, series, Dropout())
    expected_series = (expected.transpose(1, 2).flatten(0, 1) - mean) / deviation
    assert expected_series.std() > 0.1
    torch.testing.assert_close(forecast, expected_series, rtol=0, atol=1e-5)


def test_the_architecture_has_granites_616038_values() -> None:
    one, seven = new_model(Recipe(seed=3)).state_dict(), new_model(Recipe(seed=3), channels=7).state_dict()
    assert sum(tensor.numel() for tensor in one.values()) == 616_038
    assert one.keys() == seven.keys()
    assert all(torch.equal(one[name], seven[name]) for name in one)
    other = new_model(Recipe(seed=4)).state_dict()
    assert not torch.equal(one["head.projection.weight"], other["head.projection.weight"])


def test_dropout_keeps_the_mean_and_drops_at_its_rate() -> None:
    dropout = Dropout(np.random.default_rng(0))
    x = torch.ones(64, 43, 128)
    dropped = dropout.elements(x, 0.3)
    assert (dropped == 0).float().mean().item() == pytest.approx(77 / 256, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)
    whole = dropout.series(x, 0.5).flatten(1)
    assert set(whole.mean(1).tolist()) == {0.0, 2.0}
    assert dropout.elements(x, 0) is x
    assert Dropout().elements(x, 0.3) is x


def test_every_rate_of_the_recipe_is_in_force(model: PatchTSTForPrediction) -> None:
    series = torch.randn(4, 512, generator=torch.Generator().manual_seed(2))
    rates = ("positional_dropout", "ff_dropout", "head_dropout", "path_dropout")
    assert [getattr(model.config, rate) for rate in rates] == [0.3, 0.4, 0.3, 0.2]
    with torch.no_grad():
        plain = forward(model, series, Dropout())
        for rate in rates:
            for other in rates:
                setattr(model.config, other, 0.5 if other == rate else 0.0)
            assert not torch.allclose(forward(model, series, Dropout(np.random.default_rng(0))), plain), rate
