"""How far a model and a service have come: which steps there are, and that a model can be let go and loaded again."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from forecast_toys import make_linear
from support import PATIENCE, copy_model, in_threads, wait_until
from vinocast.engine.changes import Change, Reload, Unload
from vinocast.engine.compile import CompiledShape
from vinocast.engine.cpu import CpuBudget, cpu_budget
from vinocast.engine.kinds import AnyServedModel
from vinocast.engine.lifecycle import MODEL_STEPS, SERVICE_STEPS, Lifecycle, ModelState, ServiceState
from vinocast.engine.loader import Loader
from vinocast.engine.profiles import PROFILES
from vinocast.engine.repository import Repository
from vinocast.errors import ModelRefusedError, UnknownModelError
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.kind import FORECASTER, ServedForecaster
from vinocast.kinds import KINDS


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def state(model: AnyServedModel | ServedForecaster) -> ModelState:
    return model.lifecycle.state


@pytest.mark.parametrize("steps", [MODEL_STEPS, SERVICE_STEPS], ids=["model", "service"])
def test_every_state_has_its_steps_and_no_other_is_taken(steps: dict[ModelState, frozenset[ModelState]]) -> None:
    assert set(steps) == set(type(next(iter(steps))))
    for before, after in itertools.product(steps, steps):
        lifecycle = Lifecycle(before, steps)
        taken = lifecycle.become(after, "because")
        assert taken is (after in steps[before])
        assert (lifecycle.state, lifecycle.reason) == ((after, "because") if taken else (before, None))


def test_of_many_threads_one_takes_a_step() -> None:
    lifecycle = Lifecycle(ServiceState.STARTING, SERVICE_STEPS)
    assert sum(in_threads(lambda _: lifecycle.become(ServiceState.READY))) == 1
    assert [lifecycle.become(state) for state in (ServiceState.DRAINING, ServiceState.READY)] == [True, False]


def test_a_model_is_unloaded_and_loaded_again_beside_one_that_answers(models: Path) -> None:
    copy_model(models, "first")
    copy_model(models, "second")
    repository = Repository(models, "first", KINDS)
    loader = Loader(repository)
    first, second = (repository.find(FORECASTER, name) for name in ("first", "second"))
    assert state(second) is ModelState.REGISTERED
    loader.load(PROFILES["native"], cpu_budget(), lambda _: None)
    wait_until(lambda: second.settled, "both models")
    # In a process in which another test has loaded OpenVINO under a cap, the profile is not in force.
    assert state(second) in {ModelState.READY, ModelState.DEGRADED}
    window = np.ones((512, 7), np.float32)
    before, _ = second.loaded().forecast(window, range(7))

    def make(change: Change) -> None:
        loader.change(change, lambda: None)
        wait_until(lambda: change.done, "the change")
        assert change.failed is None

    make(Unload(repository, "second"))
    (empty,) = repository.versions("second")
    assert (state(empty), empty.engine) == (ModelState.UNLOADED, None)
    with pytest.raises(UnknownModelError, match="second is not served: unloaded"):
        repository.find(FORECASTER, "second")
    make(Unload(repository, "second"))  # it is already
    make(Reload(repository, None))  # of all but that
    assert repository.versions("second")[0].is_unloaded
    make(Reload(repository, "second"))
    first.loaded().forecast(window, range(7))
    after, _ = repository.find(FORECASTER, "second").loaded().forecast(window, range(7))
    np.testing.assert_allclose(after, before, rtol=1e-5)
    loader.close()


def test_changes_look_at_what_those_before_have_left(models: Path) -> None:
    make_linear(models / "first")
    make_linear(models / "second")
    repository = Repository(models, "first", KINDS)
    loader = Loader(repository)
    loader.load(PROFILES["native"], cpu_budget(), lambda _: None)

    # All are there before the first is made.
    changes: list[Change] = [Unload(repository, "second"), Reload(repository, None), Unload(repository, "third")]
    make_linear(models / "third")
    changes += [Reload(repository, "third"), Unload(repository, "third"), Reload(repository, "fourth")]
    for change in changes:
        loader.change(change, lambda: None)
    wait_until(lambda: not loader.changes, "the changes", 2 * PATIENCE)
    codes = [change.failed and change.failed.code for change in changes]
    assert codes == [None, None, None, None, None, "unknown_model"]
    assert {model.name: model.is_unloaded for model in repository.models} == {
        "first": False,
        "second": True,
        "third": True,
    }
    loader.close()
    late = Reload(repository, "second")
    loader.change(late, lambda: None)
    wait_until(lambda: late.done, "the last change")
    assert late.failed is not None
    assert late.failed.code == "shutting_down"
    assert repository.versions("second")[0].is_unloaded


def test_a_model_that_is_not_as_was_asked_for_is_degraded_with_the_reason(models: Path) -> None:
    copy_model(models)
    repository = Repository(models, None, KINDS)
    loader = Loader(repository)
    model = repository.find(FORECASTER, None)
    # As many threads as no machine has are asked for, and fewer are there.
    greedy = replace(PROFILES["native"], threads=100_000)
    loader.load(greedy, CpuBudget(frozenset(range(100_000)), None), lambda _: None)
    wait_until(lambda: model.settled, "the model")
    assert model.lifecycle.state is ModelState.DEGRADED
    assert "INFERENCE_NUM_THREADS" in (model.lifecycle.reason or "")
    assert model.refused is None
    loader.close()


def test_a_model_of_which_a_smaller_shape_fails_goes_on_with_what_it_has(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_model(models, "first")
    copy_model(models, "second")
    real = ForecastEngine._self_test

    def fail_for_three(self: ForecastEngine, shape: CompiledShape, count: int) -> None:
        if count == 3 and self.folder.path.name == "first":
            raise ModelRefusedError("the golden vectors do not come out")
        real(self, shape, count)

    monkeypatch.setattr(ForecastEngine, "_self_test", fail_for_three)
    repository = Repository(models, "first", KINDS)
    loader = Loader(repository)
    first, second = (repository.find(FORECASTER, name) for name in ("first", "second"))
    loader.load(PROFILES["native"], cpu_budget(), lambda _: None)
    wait_until(lambda: second.engine and len(second.engine.compiled_counts) == 7, "all shapes of the second")
    assert state(first) is ModelState.DEGRADED
    assert (first.lifecycle.reason or "").endswith("the golden vectors do not come out")
    assert first.loaded().compiled_counts == [1, 2, 7]
    assert first.loaded().forecast(np.ones((512, 7), np.float32), range(3))[0].shape == (96, 3)
    loader.close()
